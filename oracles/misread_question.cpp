#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "oracles/misreading.h"

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Cap = std::function<double(double)>;

class Question {
 public:
  Question(const MisreadingContext& c, const GuessSink& sink)
      : c_(c), t_(c.terms), p_(*c.inputs.inputs().problem), sink_(sink) {}

  void guess() {
    softcap();
    if (c_.inputs.inputs().mask.present()) {
      mask();
      alibi();
    } else if (p_.n_q == p_.n_kv) {
      visible("taken for causal, without a mask", [&](std::int64_t j) { return j <= t_.row.query; });
    }
    sinks();
    scale();
    heads();
    dimensions();
  }

 private:
  void offer(std::string_view suspect, std::string words, const RowTerms& t, double freedom = 0) {
    sink_({suspect, std::move(words), weighted_values(t, logits(t), t.sink), freedom});
  }
  void capped(const char* words, const Cap& cap) {
    std::vector<double> z = logits(t_);
    for (std::size_t j = 0; j < z.size(); ++j) {
      if (z[j] != -kInfinity) z[j] = cap(t_.scale * t_.dot[j]) + t_.slope * t_.mask[j];
    }
    sink_({"softcap", words, weighted_values(t_, z, t_.sink), 0});
  }
  void softcap();
  void mask();
  void visible(const char* words, const std::function<bool(std::int64_t)>& sees);
  void mask_of(const char* words, std::int64_t query, std::int64_t head, std::int64_t seq, std::int64_t shift = 0);
  void alibi();
  void sinks();
  void scale();
  void heads();
  void dimensions();
  RowTerms read(const RowReading& reading) const {
    return read_row_terms(c_.inputs.inputs(), t_.row, c_.inputs.score_correction(), reading, c_.columns);
  }

  const MisreadingContext& c_;
  const RowTerms& t_;
  const AttentionProblem& p_;
  const GuessSink& sink_;
};

void Question::softcap() {
  if (!(t_.softcap > 0)) return;
  const double cap = t_.softcap;
  capped("the softcap is left out", [](double x) { return x; });
  capped("clamped to +-softcap instead of tanh", [&](double x) { return std::clamp(x, -cap, cap); });
  capped("the softcap is applied twice", [&](double x) { return cap * std::tanh(std::tanh(x / cap)); });
  capped("tanh without the factor softcap", [&](double x) { return std::tanh(x / cap); });
  capped("tanh of the score, not of score / softcap", [&](double x) { return cap * std::tanh(x); });
  const auto fraction = [](double y, double a, double b) { return y * (a + y * y) / (a + b * y * y); };
  capped("tanh by a short fraction", [&](double x) { return cap * std::clamp(fraction(x / cap, 27, 9), -1.0, 1.0); });
  capped("tanh by a short fraction, beyond 1 too", [&](double x) { return cap * fraction(x / cap, 27, 9); });
  capped("tanh by a (3, 2) fraction", [&](double x) { return cap * std::clamp(fraction(x / cap, 15, 6), -1.0, 1.0); });
  capped("tanh to half precision", [&](double x) { return cap * narrowed(std::tanh(x / cap), Narrow::f16); });
  std::vector<double> z = logits(t_);
  for (std::size_t j = 0; j < z.size(); ++j) {
    if (z[j] != -kInfinity) z[j] = cap * std::tanh((t_.scale * t_.dot[j] + t_.slope * t_.mask[j]) / cap);
  }
  sink_({"softcap", "the softcap is applied after the mask", weighted_values(t_, z, t_.sink), 0});
  // Columns that pad the last tile and hold a sentinel before the softcap.
  const std::vector<double> right = logits(t_);
  for (const std::int64_t tile : {16, 32, 64, 128}) {
    const std::int64_t padding = (tile - p_.n_kv % tile) % tile;
    for (const double weight : {-cap, 0.0}) {
      if (padding == 0) continue;
      RowTerms more = t_;
      more.sink = std::max(t_.sink, weight) +
                  std::log(std::exp(t_.sink - std::max(t_.sink, weight)) +
                           static_cast<double>(padding) * std::exp(weight - std::max(t_.sink, weight)));
      const std::string words = fmt::format("columns that pad the last tile of {} keys have weight", tile);
      sink_({"tail", words, weighted_values(more, right, more.sink), 0.7});
      // With the values of the tile before still behind them.
      RowTerms stale = t_;
      std::vector<double> padded = right;
      for (std::int64_t j = p_.n_kv; j < p_.n_kv + padding && j >= tile; ++j) {
        stale.v.insert(stale.v.end(), t_.value(j - tile), t_.value(j - tile) + t_.d_v);
        padded.push_back(weight);
      }
      sink_({"tail", words, weighted_values(stale, padded, t_.sink), 0.7});
    }
  }
}

void Question::mask_of(const char* words, std::int64_t query, std::int64_t head, std::int64_t seq, std::int64_t shift) {
  const TensorView& m = c_.inputs.inputs().mask;
  if (query < 0 || query >= p_.n_q) return;
  const std::int64_t h = head % m.ne[2], s = seq % m.ne[3];
  if (query == t_.row.query && h == t_.row.head % m.ne[2] && s == t_.row.seq % m.ne[3] && shift == 0) return;
  RowTerms t = t_;
  for (std::int64_t j = 0; j < p_.n_kv; ++j) {
    const std::int64_t from = j + shift;
    t.mask[static_cast<std::size_t>(j)] =
        from < 0 || from >= p_.n_kv ? -kInfinity : static_cast<double>(element(m, from, query, h, s));
  }
  offer("mask", words, t);
}

void Question::visible(const char* words, const std::function<bool(std::int64_t)>& sees) {
  RowTerms t = t_;
  for (std::int64_t j = 0; j < p_.n_kv; ++j) {
    double& m = t.mask[static_cast<std::size_t>(j)];
    m = !sees(j) ? -kInfinity : m == -kInfinity ? 0 : m;
  }
  offer("mask", words, t);
}

void Question::mask() {
  const auto with = [&](const char* words, const std::function<double(double)>& change) {
    RowTerms t = t_;
    for (double& m : t.mask) m = change(m);
    offer("mask", words, t);
  };
  const double scale = t_.scale;
  with("the mask is ignored", [](double) { return 0.0; });
  with("finite biases of the mask are ignored", [](double m) { return m == -kInfinity ? m : 0.0; });
  with("large finite biases hide", [](double m) { return m <= -1e4 ? -kInfinity : m; });
  for (const double bias : {-65504.0, -1e4}) {
    RowTerms t = t_;
    for (double& m : t.mask) m = std::max(m, bias);
    std::vector<double> z = logits(t);  // the sum of score and bias is f32: a step of 2^-8 at 65504
    for (double& x : z) x = static_cast<double>(static_cast<float>(x));
    sink_({"mask", "hidden keys get a finite bias", weighted_values(t, z, t.sink), 0.7});
  }
  with("biases are clamped to -100", [](double m) { return m == -kInfinity ? m : std::max(m, -100.0); });
  with("biases are clamped to -1000", [](double m) { return m == -kInfinity ? m : std::max(m, -1000.0); });
  with("the mask is multiplied by the scale", [&](double m) { return m == -kInfinity ? m : m * scale; });
  const Row& r = t_.row;
  mask_of("the mask of the query before", r.query - 1, r.head, r.seq);
  mask_of("the mask of the query after", r.query + 1, r.head, r.seq);
  mask_of("the mask of another tile of 64 queries", r.query % 64, r.head, r.seq);
  mask_of("the mask of query 0", 0, r.head, r.seq);
  mask_of("every head uses the mask plane of head 0", r.query, 0, r.seq);
  mask_of("mask planes go by KV head", r.query, r.head / (p_.n_head / p_.n_head_kv), r.seq);
  mask_of("mask planes go by head modulo the KV heads", r.query, r.head % p_.n_head_kv, r.seq);
  mask_of("the sequence picks the head's mask plane", r.query, r.seq, r.seq);
  mask_of("every sequence uses the mask plane of sequence 0", r.query, r.head, 0);
  mask_of("the mask is one key off", r.query, r.head, r.seq, 1);
  mask_of("the mask is one key off", r.query, r.head, r.seq, -1);
  const std::int64_t diagonal = p_.n_kv - p_.n_q + r.query;
  visible("causal from the top left", [&](std::int64_t j) { return j <= r.query; });
  visible("causal from the bottom right", [&](std::int64_t j) { return j <= diagonal; });
  visible("anti-causal", [&](std::int64_t j) { return j >= diagonal; });
  for (const std::int64_t tile : {16, 32, 64, 128}) {
    // A hidden key at a tile's edge is seen; whole tiles are skipped by what other rows see.
    for (const std::int64_t at : {std::int64_t{0}, tile - 1}) {
      RowTerms t = t_;
      for (std::int64_t j = at; j < p_.n_kv; j += tile) {
        double& m = t.mask[static_cast<std::size_t>(j)];
        if (m == -kInfinity) m = 0;
      }
      offer("mask", fmt::format("hidden keys at the edge of a tile of {} are seen", tile), t, 0.7);
    }
    const TensorView& m = c_.inputs.inputs().mask;
    for (const std::int64_t block :
         {std::int64_t{1}, std::int64_t{8}, std::int64_t{16}, std::int64_t{32}, std::int64_t{64}}) {
      RowTerms first = t_, corners = t_;
      const std::int64_t q0 = r.query / block * block, q1 = std::min(q0 + block, p_.n_q) - 1;
      for (std::int64_t j = 0; j < p_.n_kv; j += tile) {
        bool seen_first = false, seen_last = false;
        const std::int64_t end = std::min(j + tile, p_.n_kv);
        for (std::int64_t k = j; k < end; ++k) {
          seen_first |= element(m, k, q0, r.head % m.ne[2], r.seq % m.ne[3]) != -std::numeric_limits<float>::infinity();
          seen_last |= element(m, k, q1, r.head % m.ne[2], r.seq % m.ne[3]) != -std::numeric_limits<float>::infinity();
        }
        for (std::int64_t k = j; k < end; ++k) {
          if (!seen_first) first.mask[static_cast<std::size_t>(k)] = -kInfinity;
          if (!seen_first && !seen_last) corners.mask[static_cast<std::size_t>(k)] = -kInfinity;
        }
      }
      offer("mask", "tiles of keys are skipped by what a neighbouring query sees", first, 3);
      offer("mask", "tiles of keys are skipped by what a neighbouring query sees", corners, 3);
    }
  }
}

void Question::alibi() {
  if (!(p_.max_bias > 0)) return;
  const auto slope = [&](const char* words, double value) {
    if (value == t_.slope) return;
    RowTerms t = t_;
    t.slope = value;
    offer("alibi", words, t);
  };
  const auto h = static_cast<double>(t_.row.head), n = static_cast<double>(p_.n_head);
  const double bias = static_cast<double>(p_.max_bias);
  const auto below = static_cast<double>(std::bit_floor(static_cast<std::uint64_t>(p_.n_head)));
  const auto above = static_cast<double>(std::bit_ceil(static_cast<std::uint64_t>(p_.n_head)));
  slope("ALiBi is ignored: slopes are 1", 1);
  slope("slopes as if the head count were a power of two", std::exp2(-bias * (h + 1) / n));
  slope("slopes of the first base only", std::exp2(-bias * (h + 1) / below));
  slope("slopes by the power of two above the head count", std::exp2(-bias * (h + 1) / above));
  AttentionProblem wide = p_;
  for (const std::int64_t other : {t_.row.head - 1, t_.row.head + 1}) {
    if (other >= 0 && other < p_.n_head) slope("the slope of a neighbouring head", alibi_slope(wide, other));
  }
  slope("exponent one too small", std::exp2(-bias * h / below));
  const std::int64_t ratio = p_.n_head / p_.n_head_kv;
  slope("slopes go by KV head", alibi_slope(p_, t_.row.head / ratio * ratio));
  slope("slopes go by the KV head's index", alibi_slope(p_, t_.row.head / ratio));
  slope("slopes of head 0", alibi_slope(p_, 0));
}

void Question::sinks() {
  const TensorView& s = c_.inputs.inputs().sinks;
  if (!s.present()) return;
  const auto sink = [&](const char* words, double value) {
    if (value == t_.sink) return;
    RowTerms t = t_;
    t.sink = value;
    offer("sink", words, t);
  };
  const auto of = [&](std::int64_t head) { return static_cast<double>(element(s, head, 0, 0, 0)); };
  sink("the sink is left out", -kInfinity);
  sink("sinks go by KV head", of(t_.row.head / (p_.n_head / p_.n_head_kv)));
  sink("sinks go by head modulo the KV heads", of(t_.row.head % p_.n_head_kv));
  sink("every head uses the sink of head 0", of(0));
  sink("the sink of the next head", of((t_.row.head + 1) % p_.n_head));
  sink("the sink is multiplied by the scale", t_.sink * t_.scale);
  sink("the sink weighs twice", t_.sink + std::log(2.0));
  sink("the sink weighs half", t_.sink - std::log(2.0));
  if (t_.softcap > 0) sink("the sink is capped", t_.softcap * std::tanh(t_.sink / t_.softcap));
}

void Question::scale() {
  const auto scale = [&](const char* words, double value, double freedom) {
    if (value == t_.scale) return;
    RowTerms t = t_;
    t.scale = value;
    offer("scale", words, t, freedom);
  };
  scale("the scale is left out", 1, 0);
  scale("the scale is applied twice", t_.scale * t_.scale, 0);
  scale("the scale is 1/sqrt(d_k), whatever was asked", 1 / std::sqrt(static_cast<double>(p_.d_k)), 0);
  scale("the scale is 1/sqrt(d_v)", 1 / std::sqrt(static_cast<double>(p_.d_v)), 0);
  // A factor near 1, by least squares along dO/d(scale), twice.
  double factor = 1;
  for (int i = 0; i < 3; ++i) {
    RowTerms at = t_, beside = t_;
    at.scale = t_.scale * factor;
    beside.scale = at.scale * (1 + 1e-5);
    const auto here = weighted_values(at, logits(at), at.sink),
               there = weighted_values(beside, logits(beside), at.sink);
    double top = 0, bottom = 0;
    for (std::size_t e = 0; e < here.size(); ++e) {
      const double slope = (there[e] - here[e]) / 1e-5;
      top += slope * (c_.got[e] - here[e]);
      bottom += slope * slope;
    }
    if (bottom > 0) factor *= 1 + std::clamp(top / bottom, -0.5, 0.5);
  }
  if (std::abs(factor - 1) > 1e-5) scale("the scale is a little off", t_.scale * factor, 4);
}

void Question::heads() {
  const std::int64_t h = t_.row.head, s = t_.row.seq;
  const std::int64_t ratio_k = p_.n_head / p_.n_head_kv, ratio_v = p_.n_head / p_.n_head_v;
  const std::int64_t right_k = h / ratio_k, right_v = h / ratio_v, right_s = s / (p_.n_seq / p_.n_seq_kv);
  const auto other = [&](const char* words, std::int64_t k, std::int64_t v, std::int64_t seq) {
    if (k < 0 || v < 0 || k >= p_.n_head_kv || v >= p_.n_head_v || seq < 0 || seq >= p_.n_seq_kv) return;
    if (k == right_k && v == right_v && seq == right_s) return;
    offer("gqa", words, read({.head_k = k, .head_v = v, .seq_kv = seq}), 0);
  };
  const auto padded = [](std::int64_t ratio) {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(ratio)));
  };
  other("KV heads go by head modulo their number", h % p_.n_head_kv, h % p_.n_head_v, right_s);
  other("K heads go by head modulo their number", h % p_.n_head_kv, right_v, right_s);
  other("V heads go by head modulo their number", right_k, h % p_.n_head_v, right_s);
  other("the ratio of heads is rounded up to a power of two", h / padded(ratio_k), h / padded(ratio_v), right_s);
  other("the KV head of the next query head", (h + 1) / ratio_k, (h + 1) / ratio_v, right_s);
  other("the K head of the next query head", (h + 1) / ratio_k, right_v, right_s);
  other("the V head of the next query head", right_k, (h + 1) / ratio_v, right_s);
  other("every head reads KV head 0", 0, 0, right_s);
  other("V heads go by K's number of heads", right_k, right_k, right_s);
  other("K heads go by V's number of heads", right_v, right_v, right_s);
  other("every sequence reads KV sequence 0", right_k, right_v, 0);
  other("KV sequences go by modulo", right_k, right_v, s % p_.n_seq_kv);
}

void Question::dimensions() {
  const std::int64_t d = p_.d_k;
  const auto without = [&](const char* suspect, std::string words, std::int64_t first, double freedom) {
    if (first <= 0 || first >= d) return;
    offer(suspect, std::move(words), read({.skip_first = first, .skip_end = d}), freedom);
  };
  for (const std::int64_t lanes : {4, 8, 16, 32, 64}) {
    without("tail", "q.k leaves out the last dimensions", d - d % lanes == d ? 0 : d - d % lanes, 1.6);
  }
  without("tail", "q.k leaves out the last dimension", d - 1, 0);
  if (is_quantised(p_.k_type)) without("quant", "the last block of K is left out", d - info(p_.k_type).block, 0);
}

}  // namespace

void guess_question(const MisreadingContext& context, const GuessSink& sink) { Question(context, sink).guess(); }

}  // namespace attest
