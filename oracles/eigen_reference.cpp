#include "oracles/eigen_reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <tuple>
#include <type_traits>

#include "oracles/eigen_kernels.h"
#include "oracles/sketch_draft.h"

namespace attest {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kKeyBlock = 512;              // keys decoded at a time: K and V blocks stay in the L2 cache
constexpr std::int64_t kMaxRowBlock = 256;           // enough rows to hide the decoding of K and V
constexpr std::int64_t kMaxBlockBytes = 64LL << 20;  // of S and the mask rows of a row block

// Where a query row finds everything; rows with the same first three read the same K and V.
struct Place {
  std::int64_t s_kv, h_k, h_v, query, mask_seq, mask_head;
  std::size_t index;  // in the request
  auto operator<=>(const Place&) const = default;
  bool same_kv(const Place& o) const { return std::tie(s_kv, h_k, h_v) == std::tie(o.s_kv, o.h_k, o.h_v); }
  bool same_mask(const Place& o) const {
    return std::tie(query, mask_seq, mask_head) == std::tie(o.query, o.mask_seq, o.mask_head);
  }
};

// ALiBi as one geometric sequence: heads past the last power of two take its midpoints.
double slope_of(const AttentionProblem& p, std::int64_t head) {
  if (!(p.max_bias > 0)) return 1;
  const auto n2 = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(p.n_head)));
  const double position = head < n2 ? static_cast<double>(head + 1) : static_cast<double>(head - n2) + 0.5;
  return std::exp2(-static_cast<double>(p.max_bias) * position / static_cast<double>(n2));
}

void read_row(const TensorView& t, std::int64_t i1, std::int64_t i2, std::int64_t i3, float* row) {
  if (t.contiguous_rows()) {
    decode_row(t.dtype, t.row(i1, i2, i3), row, t.ne[0]);
  } else {
    for (std::int64_t e = 0; e < t.ne[0]; ++e) row[e] = element(t, e, i1, i2, i3);
  }
}

// The largest magnitude as bits: 0x7f800000 and above where an element is not finite.
std::uint32_t magnitude_bits(const float* x, std::int64_t n) {
  std::int32_t most = 0;
  for (std::int64_t e = 0; e < n; ++e) {
    const std::int32_t bits = std::bit_cast<std::int32_t>(x[e]) & 0x7fffffff;
    most = bits > most ? bits : most;
  }
  return static_cast<std::uint32_t>(most);
}

template <class Scalar>
class Reference {
 public:
  Reference(const AttentionInputs& in, std::span<const Row> rows, const ScoreCorrection& correction, RowValues& out,
            BudgetSketch* sketch)
      : in_(in), p_(*in.problem), rows_(rows), correction_(correction), out_(out), sketch_(sketch) {
    extra_ = correction.q.present() ? correction.q.ne[0] : 0;
    depth_ = p_.d_k + extra_;
  }

  void run() {
    std::vector<Place> places;
    places.reserve(rows_.size());
    for (std::size_t r = 0; r < rows_.size(); ++r) places.push_back(place_of(r));
    std::sort(places.begin(), places.end());  // neighbouring queries together: a causal mask leaves them few keys
    const auto per_row = std::max<std::int64_t>(p_.n_kv, 1) * static_cast<std::int64_t>(sizeof(Scalar) + sizeof(float));
    const auto limit = static_cast<std::size_t>(std::clamp<std::int64_t>(kMaxBlockBytes / per_row, 1, kMaxRowBlock));
    for (std::size_t from = 0; from < places.size();) {
      std::size_t to = from + 1;
      while (to < places.size() && to - from < limit && places[to].same_kv(places[from])) ++to;
      run_block(std::span(places).subspan(from, to - from));
      from = to;
    }
  }

 private:
  static constexpr bool kSketches = std::is_same_v<Scalar, double>;

  Place place_of(std::size_t r) const {
    const auto [s, h, i] = rows_[r];
    return {s / (p_.n_seq / p_.n_seq_kv),
            h / (p_.n_head / p_.n_head_kv),
            h / (p_.n_head / p_.n_head_v),
            i,
            in_.mask.present() ? s % in_.mask.ne[3] : 0,
            in_.mask.present() ? h % in_.mask.ne[2] : 0,
            r};
  }

  // Mask rows of the block (each once), and the range [first_, last_) of keys that any of its rows sees.
  void read_masks(std::span<const Place> block) {
    const std::int64_t n_kv = p_.n_kv;
    first_ = in_.mask.present() ? n_kv : 0;
    last_ = in_.mask.present() ? 0 : n_kv;
    mask_row_.assign(block.size(), 0);
    dead_.assign(block.size(), n_kv == 0);
    visible_.assign(block.size(), n_kv);
    if (!in_.mask.present()) return;
    mask_.resize(block.size() * static_cast<std::size_t>(n_kv));
    std::size_t used = 0;
    for (std::size_t r = 0; r < block.size(); ++r) {
      if (r > 0 && block[r].same_mask(block[r - 1])) {
        mask_row_[r] = mask_row_[r - 1];
        dead_[r] = dead_[r - 1];
        visible_[r] = visible_[r - 1];
        continue;
      }
      float* mask = mask_.data() + used * static_cast<std::size_t>(n_kv);
      mask_row_[r] = used++;
      read_row(in_.mask, block[r].query, block[r].mask_head, block[r].mask_seq, mask);
      std::int64_t first = 0, last = n_kv;
      while (first < last && mask[first] == kHidden) ++first;
      while (first < last && mask[last - 1] == kHidden) --last;
      dead_[r] = first == last;
      visible_[r] = n_kv - std::count(mask, mask + n_kv, kHidden);
      if (first == last) continue;
      first_ = std::min(first_, first);
      last_ = std::max(last_, last);
    }
  }

  const float* mask_of(std::size_t r) const {
    return in_.mask.present() ? mask_.data() + mask_row_[r] * static_cast<std::size_t>(p_.n_kv) : nullptr;
  }

  void run_block(std::span<const Place> block) {
    read_masks(block);
    const auto n_rows = static_cast<std::int64_t>(block.size());
    const auto d_v = static_cast<std::size_t>(p_.d_v);
    o_.assign(block.size() * d_v, 0);
    if (first_ < last_) {
      read_queries(block);
      width_ = (last_ - first_ + 15) / 16 * 16;
      largest_ = 0;
      s_.resize(block.size() * static_cast<std::size_t>(width_));
      for (std::int64_t j = first_; j < last_; j += kKeyBlock) score_keys(block[0], n_rows, j);
      if constexpr (kSketches) {
        if (sketch_ != nullptr) draft_.begin(block.size(), last_ - first_, p_.d_v);
      }
      for (std::size_t r = 0; r < block.size(); ++r) soften(block[r], r);
      for (std::int64_t j = first_; j < last_; j += kKeyBlock) add_values(block, j);
      if constexpr (kSketches) {
        if (sketch_ != nullptr) finish_sketch(block);
      }
    }
    if (sketch_ != nullptr && first_ >= last_) {
      for (std::size_t r = 0; r < block.size(); ++r) sketch_->row(block[r].index).visible = visible_[r];
    }
    for (std::size_t r = 0; r < block.size(); ++r) {
      std::copy_n(o_.begin() + static_cast<std::ptrdiff_t>(r * d_v), d_v,
                  out_.begin() + static_cast<std::ptrdiff_t>(block[r].index * d_v));
    }
  }

  void read_queries(std::span<const Place> block) {
    q_.resize(block.size() * static_cast<std::size_t>(depth_));
    row_.resize(static_cast<std::size_t>(depth_));
    for (std::size_t r = 0; r < block.size(); ++r) {
      const auto [s, h, i] = rows_[block[r].index];
      read_row(in_.q, i, h, s, row_.data());
      if (extra_ > 0) read_row(correction_.q, i, h, s, row_.data() + p_.d_k);
      std::copy(row_.begin(), row_.end(), q_.begin() + static_cast<std::ptrdiff_t>(r) * depth_);
    }
  }

  void score_keys(const Place& place, std::int64_t n_rows, std::int64_t from) {
    const std::int64_t n = std::min(kKeyBlock, last_ - from);
    kv_.resize(static_cast<std::size_t>(n * depth_));
    for (std::int64_t j = 0; j < n; ++j) {
      float* key = kv_.data() + j * depth_;
      read_row(in_.k, from + j, place.h_k, place.s_kv, key);
      if (extra_ > 0) read_row(correction_.k, from + j, place.h_k, place.s_kv, key + p_.d_k);
    }
    kernels_.scores(q_.data(), n_rows, kv_.data(), n, depth_, s_.data() + (from - first_), width_);
  }

  void soften(const Place& place, std::size_t r) {
    const std::int64_t n = last_ - first_, head = rows_[place.index].head;
    Scalar* s = s_.data() + static_cast<std::int64_t>(r) * width_;
    if (dead_[r]) {
      std::fill_n(s, n, Scalar(0));
      if constexpr (kSketches) {
        if (sketch_ != nullptr) {
          draft_.add_scores(r, s, 0, 0);
          draft_.add_weights(r, s);
        }
      }
      return;
    }
    LogitTerms<Scalar> terms;
    terms.scale = static_cast<Scalar>(p_.scale);
    terms.softcap = static_cast<Scalar>(p_.softcap);
    terms.slope = static_cast<Scalar>(slope_of(p_, head));
    terms.mask = in_.mask.present() ? mask_of(r) + first_ : nullptr;
    const float sink = in_.sinks.present() ? element(in_.sinks, head, 0, 0, 0) : kHidden;
    terms.sink = in_.sinks.present() ? &sink : nullptr;
    if constexpr (kSketches) {
      if (sketch_ != nullptr) {
        draft_.add_scores(r, s, terms.scale, terms.softcap);
        kernels_.softmax(s, n, terms);
        return draft_.add_weights(r, s);
      }
    }
    kernels_.softmax(s, n, terms);
  }

  // A V row that holds NaN or Inf is kept out of the product, where 0 * NaN would reach rows that do not see its key,
  // and added to the rows that do.
  void add_values(std::span<const Place> block, std::int64_t from) {
    const std::int64_t n = std::min(kKeyBlock, last_ - from), d_v = p_.d_v;
    kv_.resize(static_cast<std::size_t>(n * d_v));
    for (std::int64_t j = 0; j < n; ++j) {
      float* value = kv_.data() + j * d_v;
      read_row(in_.v, from + j, block[0].h_v, block[0].s_kv, value);
      const std::uint32_t magnitude = magnitude_bits(value, d_v);
      if (magnitude < 0x7f800000U) {
        largest_ = std::max(largest_, magnitude);
        continue;
      }
      for (std::size_t r = 0; r < block.size(); ++r) {
        if (dead_[r] || (in_.mask.present() && mask_of(r)[from + j] == kHidden)) continue;
        const auto row = static_cast<std::int64_t>(r);
        const Scalar weight = s_[static_cast<std::size_t>(row * width_ + from - first_ + j)];
        for (std::int64_t e = 0; e < d_v; ++e) {
          o_[static_cast<std::size_t>(row * d_v + e)] += weight * static_cast<Scalar>(value[e]);
        }
      }
      std::fill_n(value, d_v, 0.0F);
    }
    const auto sum = [&](std::int64_t begin, std::int64_t end) {
      if (begin == end) return;
      kernels_.weighted_sum(s_.data() + (from - first_ + begin), static_cast<std::int64_t>(block.size()), width_,
                            kv_.data() + begin * d_v, end - begin, d_v, o_.data());
    };
    std::int64_t summed = 0;
    if constexpr (kSketches) {
      for (std::int64_t at = 0; sketch_ != nullptr && at < n; at += draft_.stretch()) {
        SketchDraft::Run run = draft_.run(from - first_ + at);
        const std::int64_t begin = run.begin - (from - first_);
        sum(summed, begin);
        summed = begin;
        draft_.add_values(run, kv_.data() + begin * d_v);
        for (std::size_t r = 0; r < block.size(); ++r)
          draft_.add_partial_sums(r, o_.data() + static_cast<std::int64_t>(r) * d_v, sketch_->sums(block[r].index));
      }
    }
    sum(summed, n);
  }

  void finish_sketch(std::span<const Place> block) {
    for (std::size_t r = 0; r < block.size(); ++r) {
      BudgetSketch::Row& row = sketch_->row(block[r].index);
      draft_.finish(r, o_.data() + static_cast<std::int64_t>(r) * p_.d_v, row, sketch_->sums(block[r].index));
      row.visible = visible_[r];
      row.largest_value = std::bit_cast<float>(largest_);
    }
  }

  const AttentionInputs& in_;
  const AttentionProblem& p_;
  std::span<const Row> rows_;
  const ScoreCorrection& correction_;
  RowValues& out_;
  BudgetSketch* sketch_;
  const EigenKernels<Scalar>& kernels_ = eigen_kernels<Scalar>();
  std::int64_t extra_, depth_;  // columns added to Q and K by the correction; d_k and these

  std::int64_t first_ = 0, last_ = 0, width_ = 0;  // keys of the current block, rounded up to whole vectors
  std::vector<std::size_t> mask_row_;
  std::vector<bool> dead_;
  std::vector<std::int64_t> visible_;
  std::uint32_t largest_ = 0;  // bits of max |V| of the current block
  SketchDraft draft_;
  std::vector<float> mask_, row_;
  AlignedVector<float> kv_;
  AlignedVector<Scalar> q_, s_, o_;  // s_: S, then P, rows of width_
};

}  // namespace

template <class Scalar>
RowValues eigen_reference(const AttentionInputs& inputs, std::span<const Row> rows, const ScoreCorrection& correction) {
  RowValues out(rows.size() * static_cast<std::size_t>(inputs.problem->d_v));
  Reference<Scalar>(inputs, rows, correction, out, nullptr).run();
  return out;
}

RowValues eigen_reference(const AttentionInputs& inputs, std::span<const Row> rows, const ScoreCorrection& correction,
                          BudgetSketch& sketch) {
  RowValues out(rows.size() * static_cast<std::size_t>(inputs.problem->d_v));
  Reference<double>(inputs, rows, correction, out, &sketch).run();
  return out;
}

template RowValues eigen_reference<double>(const AttentionInputs&, std::span<const Row>, const ScoreCorrection&);
template RowValues eigen_reference<float>(const AttentionInputs&, std::span<const Row>, const ScoreCorrection&);

}  // namespace attest
