#include "oracles/error_budget.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <tuple>

#include "oracles/decoded_keys.h"
#include "oracles/score_budget.h"
#include "oracles/value_budget.h"

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::size_t kExactTies = 16;  // more ties than that are bounded by absolute values

struct KvHead {
  std::int64_t seq, head_k, head_v;
  auto operator<=>(const KvHead&) const = default;
};

KvHead kv_head(const AttentionProblem& p, const Row& row) {
  return {row.seq / (p.n_seq / p.n_seq_kv), row.head / (p.n_head / p.n_head_kv), row.head / (p.n_head / p.n_head_v)};
}

void read_row(const TensorView& t, std::int64_t i1, std::int64_t i2, std::int64_t i3, float* to) {
  if (t.contiguous_rows()) return decode_row(t.dtype, t.row(i1, i2, i3), to, t.ne[0]);
  for (std::int64_t e = 0; e < t.ne[0]; ++e) to[e] = element(t, e, i1, i2, i3);
}

// One row on its way: its rules, its query, its keys, then what follows from them.
struct Work {
  Work(const EmulatedInputs& emulated, const ArithmeticContract& contract, bool generic, const Row& which);

  BudgetRules rules;
  Row row;
  AlignedVector<float> q;
  AlignedVector<double> q_wide;
  std::vector<std::int32_t> tied;  // elements of Q near a rounding tie
  std::vector<float> steps;        // their quantisation steps
  RowScores scores;
  ScoreBudget weights;
  std::optional<ValueBudget> values;
  bool alive() const { return values.has_value(); }
};

Work::Work(const EmulatedInputs& emulated, const ArithmeticContract& contract, bool generic, const Row& which)
    : row(which) {
  const AttentionInputs& in = emulated.inputs();
  const AttentionProblem& p = *in.problem;
  rules.contract = contract;
  rules.scale = static_cast<double>(p.scale);
  rules.softcap = static_cast<double>(p.softcap);
  rules.d_k = p.d_k;
  rules.n_kv = p.n_kv;
  rules.alibi = p.max_bias > 0 ? static_cast<double>(row.head + 2) * kUnitF32 : 0;
  rules.generic = generic;

  const std::size_t stride = budget_padded(static_cast<std::size_t>(p.d_k));
  q.assign(stride, 0.0F);
  read_row(in.q, row.query, row.head, row.seq, q.data());
  q_wide.assign(q.begin(), q.end());
  if (!emulated.tie_steps().empty()) {
    const auto base = static_cast<std::size_t>(((row.seq * p.n_head + row.head) * p.n_q + row.query) * p.d_k);
    for (std::int64_t k = 0; k < p.d_k; ++k) {
      const float step = emulated.tie_steps()[base + static_cast<std::size_t>(k)];
      if (!(step > 0)) continue;
      tied.push_back(static_cast<std::int32_t>(k));
      steps.push_back(step);
    }
  }
  scores.exact_ties = tied.size() <= kExactTies;

  const double slope = alibi_slope(p, row.head);
  std::vector<float> mask;
  if (in.mask.present()) {
    mask.resize(static_cast<std::size_t>(p.n_kv));
    read_row(in.mask, row.query, row.head % in.mask.ne[2], row.seq % in.mask.ne[3], mask.data());
  }
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    const double m = mask.empty() ? 0.0 : static_cast<double>(mask[static_cast<std::size_t>(j)]);
    if (m == -kInfinity) continue;
    scores.key.push_back(static_cast<std::int32_t>(j));
    scores.mask.push_back(mask.empty() ? 0.0 : slope * m);
  }
  if (in.sinks.present()) scores.sink = static_cast<double>(element(in.sinks, row.head, 0, 0, 0));
}

// Rows of one KV head, worked out together.
class Batch {
 public:
  Batch(const EmulatedInputs& emulated, const KvHead& head, std::deque<Work>& rows)
      : emulated_(emulated),
        in_(emulated.inputs()),
        rows_(rows),
        needed_(union_of_keys(rows, in_.problem->n_kv)),
        k_(in_.k, head.head_k, head.seq, needed_),
        v_(in_.v, head.head_v, head.seq, needed_) {}

  void run() {
    score();
    for (std::int64_t b = 0; b < v_.blocks(); ++b)
      each_alive([block = v_.block(b)](Work& w) { w.values->add_columns(block); });
    each_alive([](Work& w) {
      if (!w.values->finite()) w.values.reset();
    });
    check_range();
    centre();
    for (std::int64_t b = 0; b < v_.blocks(); ++b) {
      const DecodedBlock v = v_.block(b);
      const DecodedBlock k = jacobian_ ? k_.block(b) : DecodedBlock{};
      each_alive([&](Work& w) { w.values->add_values(v, jacobian_ ? &k : nullptr); });
    }
  }

  static void finish(const Work& work, std::int64_t d_v, RowBudget& out);

 private:
  static std::vector<std::uint8_t> union_of_keys(const std::deque<Work>& rows, std::int64_t n_kv) {
    std::vector<std::uint8_t> needed(static_cast<std::size_t>(n_kv), 0);
    for (const Work& work : rows)
      for (const std::int32_t key : work.scores.key) needed[static_cast<std::size_t>(key)] = 1;
    return needed;
  }

  template <class F>
  void each_alive(F&& f) {
    for (Work& work : rows_)
      if (work.alive()) f(work);
  }

  void score();
  void score_block(Work& work, std::size_t& next, const DecodedBlock& k);
  void check_range();
  void centre();

  const EmulatedInputs& emulated_;
  const AttentionInputs& in_;
  std::deque<Work>& rows_;
  std::vector<std::uint8_t> needed_;
  DecodedKeys k_, v_;
  bool jacobian_ = false;
  std::vector<std::int32_t> list_;  // scratch
};

void Batch::score_block(Work& work, std::size_t& next, const DecodedBlock& k) {
  RowScores& s = work.scores;
  list_.clear();
  const std::size_t begin = next;
  for (; next < s.key.size() && s.key[next] < k.end; ++next)
    list_.push_back(static_cast<std::int32_t>(s.key[next] - k.first));
  if (list_.empty()) return;
  budget_dots({k.data, k.stride, list_.data(), list_.size()}, work.q.data(), work.q_wide.data(),
              {s.x.data() + begin, s.a.data() + begin, s.b2.data() + begin});
  for (std::size_t i = 0; i < list_.size() && !work.tied.empty(); ++i) {
    const float* key = k.data + static_cast<std::size_t>(list_[i]) * k.stride;
    double sum = 0;
    for (std::size_t t = 0; t < work.tied.size(); ++t)
      sum += static_cast<double>(work.steps[t]) * static_cast<double>(std::abs(key[work.tied[t]]));
    s.tie[begin + i] = static_cast<float>(sum * std::abs(work.rules.scale));
  }
}

void Batch::score() {
  for (Work& work : rows_) {
    const std::size_t n = work.scores.key.size();
    work.scores.x.resize(n);
    work.scores.a.resize(n);
    work.scores.b2.resize(n);
    if (!work.tied.empty()) work.scores.tie.resize(n);
    if (emulated_.rounding() == QRounding::q8_1) work.scores.slack.resize(n);
  }
  std::vector<std::size_t> next(rows_.size(), 0);
  for (std::int64_t b = 0; b < k_.blocks(); ++b) {
    const DecodedBlock k = k_.block(b);
    for (std::size_t r = 0; r < rows_.size(); ++r) score_block(rows_[r], next[r], k);
  }
  for (Work& work : rows_) {
    if (work.scores.key.empty()) continue;
    for (std::size_t i = 0; i < work.scores.slack.size(); ++i) {
      const EmulatedInputs::DotCorrection correction = emulated_.dot_correction(work.row, work.scores.key[i]);
      work.scores.x[i] += correction.value;
      // The minimum's part of a block, m s, and the codes' part, which is its counterpart up to x, are each rounded as
      // products and in two sums over blocks: 2 blocks + 4 roundings of |m s| at most, in place of a dot's d + 2; the
      // squares of two sums over blocks on average, in place of d/2 + 2.
      const double width = static_cast<double>(work.rules.d_k);
      const double blocks = width / 32;
      work.scores.a[i] += static_cast<float>(correction.size * (2 * blocks + 4) / (width + 2));
      work.scores.b2[i] += static_cast<float>(correction.size2 * 2 * (blocks + 2) / (width / 2 + 2));
      work.scores.slack[i] = static_cast<float>(correction.slack * std::abs(work.rules.scale));
    }
    for (double& x : work.scores.x) x *= work.rules.scale;
    work.weights = score_budget(work.scores, work.rules);
    if (work.weights.finite) work.values.emplace(work.rules, work.scores, work.weights, in_.problem->d_v);
  }
}

void Batch::check_range() {
  bool doubt = false;
  each_alive([&](Work& w) { doubt |= w.values->peak_in_doubt(); });
  for (std::int64_t b = 0; doubt && b < v_.blocks(); ++b) {
    const DecodedBlock v = v_.block(b);
    each_alive([&](Work& w) {
      if (w.values->peak_in_doubt()) w.values->add_peak(v);
    });
  }
}

void Batch::centre() {
  // Far from 1 the squares of f32 sums would overflow or vanish: bring V near 1 by a power of two.
  double largest = 0;
  each_alive([&](Work& w) { largest = std::max(largest, w.values->largest_value()); });
  const bool near_one = largest == 0 || (largest < 0x1p20 && largest > 0x1p-20);
  const double unit = near_one ? 1.0 : std::ldexp(1.0, -std::ilogb(largest));
  v_.multiply(unit);
  each_alive([&](Work& w) {
    std::vector<std::int32_t> columns;
    if (w.rules.contract.u_q > 0 && w.weights.inadmissible == Inadmissible::no) {
      columns.resize(static_cast<std::size_t>(w.rules.d_k));
      std::iota(columns.begin(), columns.end(), 0);
    } else if (w.scores.exact_ties) {
      columns = w.tied;
    }
    jacobian_ |= !columns.empty();
    w.values->centre(unit, std::move(columns));
  });
}

void Batch::finish(const Work& work, std::int64_t d_v, RowBudget& out) {
  out.row = work.row;
  out.visible = static_cast<std::int64_t>(work.scores.key.size());
  out.dead = out.visible == 0;
  out.inadmissible = work.weights.inadmissible;
  const auto n = static_cast<std::size_t>(d_v);
  if (!work.alive()) {  // dead: the answer is 0 without error; not finite: no ratio
    const double budget = out.dead ? 0 : kInfinity;
    out.log_sum_exp = -kInfinity;
    out.range = !out.dead;
    out.reference.assign(n, 0.0);
    for (auto* b : {&out.det, &out.stat8, &out.stat14, &out.suspect, &out.fail}) b->assign(n, budget);
    out.dominant.assign(n, BudgetTerm::none);
    return;
  }
  out.log_sum_exp = work.weights.max + std::log(work.weights.l);
  out.range = work.weights.range || work.values->overflows();
  std::vector<double> sigma, tie;
  if (work.rules.contract.u_q > 0) {
    for (std::int64_t k = 0; k < work.rules.d_k; ++k)
      sigma.push_back(work.rules.contract.u_q * std::abs(work.q_wide[static_cast<std::size_t>(k)]) / std::sqrt(3.0));
    tie.assign(sigma.size(), 0.0);
  } else if (work.scores.exact_ties) {
    tie.assign(work.steps.begin(), work.steps.end());
    sigma.assign(tie.size(), 0.0);
  }
  work.values->finish(sigma, tie, out);
}

}  // namespace

ErrorBudget::ErrorBudget(const EmulatedInputs& inputs, const ArithmeticContract& contract, bool generic_data)
    : inputs_(&inputs), contract_(contract), generic_(generic_data) {
  if (inputs.rounding() != contract.q_rounding)
    throw std::invalid_argument("the emulated inputs do not carry the rounding of Q that the contract declares");
  if (contract_.q_rounding != QRounding::none) contract_.u_q = 0;
  if (contract_.truncating) {
    contract_.u_acc *= 2;
    contract_.u_qk *= 2;
  }
}

RowBudget ErrorBudget::row(const Row& row) const { return std::move(rows(std::span(&row, 1)).front()); }

std::vector<RowBudget> ErrorBudget::rows(std::span<const Row> rows) const {
  const AttentionProblem& p = *inputs_->inputs().problem;
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return kv_head(p, rows[a]) < kv_head(p, rows[b]); });
  constexpr std::int64_t kBytesPerKey = 128, kBatchBytes = std::int64_t{64} << 20, kMostRows = 64;
  const std::int64_t most =
      std::clamp<std::int64_t>(kBatchBytes / (kBytesPerKey * std::max<std::int64_t>(p.n_kv, 1)), 1, kMostRows);
  std::vector<RowBudget> out(rows.size());
  for (std::size_t i = 0; i < order.size();) {
    const KvHead head = kv_head(p, rows[order[i]]);
    std::deque<Work> work;
    const std::size_t begin = i;
    for (; i < order.size() && static_cast<std::int64_t>(work.size()) < most && kv_head(p, rows[order[i]]) == head; ++i)
      work.emplace_back(*inputs_, contract_, generic_, rows[order[i]]);
    Batch batch(*inputs_, head, work);
    batch.run();
    for (std::size_t r = 0; r < work.size(); ++r) Batch::finish(work[r], p.d_v, out[order[begin + r]]);
  }
  return out;
}

std::string_view term_name(BudgetTerm term) {
  constexpr std::string_view kNames[] = {"none",    "q rounding", "dot",        "score store", "mask",
                                         "softcap", "exp",        "p rounding", "accumulator", "row sum",
                                         "rescale", "output",     "stagnation", "hull"};
  static_assert(std::size(kNames) == kBudgetTerms);
  return kNames[static_cast<std::size_t>(term)];
}

std::string_view inadmissible_name(Inadmissible reason) {
  constexpr std::string_view kNames[] = {"", "structured data", "not first order", "softcap saturated",
                                         "truncating accumulators"};
  return kNames[static_cast<std::size_t>(reason)];
}

}  // namespace attest
