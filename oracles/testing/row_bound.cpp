#include "oracles/testing/row_bound.h"

#include <algorithm>
#include <cmath>

namespace attest::testing {
namespace {

struct Key {
  std::int64_t j;  // -1: the sink
  double z, magnitude, p = 0;
};

}  // namespace

RowBound row_bound(const AttentionInputs& in, const Row& row, double unit) {
  const AttentionProblem& p = *in.problem;
  const auto [s, h, i] = row;
  const std::int64_t s_kv = s / (p.n_seq / p.n_seq_kv);
  const std::int64_t h_k = h / (p.n_head / p.n_head_kv), h_v = h / (p.n_head / p.n_head_v);
  const double slope = alibi_slope(p, h), scale = static_cast<double>(p.scale), cap = static_cast<double>(p.softcap);
  const auto d_k = static_cast<std::size_t>(p.d_k), d_v = static_cast<std::size_t>(p.d_v);

  RowBound bound{std::vector<double>(d_v, 0.0), 0};
  std::vector<float> q(d_k), k(d_k), v(d_v);
  decode_row(DType::f32, in.q.row(i, h, s), q.data(), p.d_k);
  std::vector<Key> keys;
  double maximum = -INFINITY;
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    const double m =
        in.mask.present() ? static_cast<double>(element(in.mask, j, i, h % in.mask.ne[2], s % in.mask.ne[3])) : 0;
    if (m == -INFINITY) continue;
    decode_row(in.k.dtype, in.k.row(j, h_k, s_kv), k.data(), p.d_k);
    double x = 0, a = 0;
    for (std::size_t c = 0; c < d_k; ++c) {
      const double product = scale * static_cast<double>(q[c]) * static_cast<double>(k[c]);
      x += product;
      a += std::abs(product);
    }
    const double phi = cap > 0 ? cap * std::tanh(x / cap) : x;
    // The dot, then tanh (absolute: an ulp of 1 times the cap), slope (its exponent is rounded) and mask.
    const double magnitude = (static_cast<double>(d_k) + 4) * a + 8 * (std::abs(x) + std::abs(phi) + cap) +
                             (8 + 2 * static_cast<double>(p.max_bias)) * std::abs(slope * m);
    keys.push_back({j, phi + slope * m, magnitude});
    maximum = std::max(maximum, keys.back().z);
  }
  if (keys.empty()) return bound;
  if (in.sinks.present()) {
    const double sink = static_cast<double>(element(in.sinks, h, 0, 0, 0));
    if (sink > -INFINITY) keys.push_back({-1, sink, 8 * std::abs(sink)});
    maximum = std::max(maximum, sink);
  }

  double sum = 0;
  for (Key& key : keys) sum += key.p = std::exp(key.z - maximum);
  std::vector<double> o(d_v), total(d_v), largest(d_v), score(d_v);
  std::vector<std::vector<float>> rows(keys.size(), std::vector<float>(d_v));
  for (std::size_t t = 0; t < keys.size(); ++t) {
    keys[t].p /= sum;
    if (keys[t].j >= 0) decode_row(in.v.dtype, in.v.row(keys[t].j, h_v, s_kv), rows[t].data(), p.d_v);
    for (std::size_t e = 0; e < d_v; ++e) {
      const auto value = static_cast<double>(rows[t][e]);
      o[e] += keys[t].p * value;
      total[e] += keys[t].p * std::abs(value);
      largest[e] = std::max(largest[e], std::abs(value));
    }
  }
  for (std::size_t t = 0; t < keys.size(); ++t) {
    const Key& key = keys[t];
    const double error = unit * (key.magnitude + 4 * (std::abs(key.z) + std::abs(maximum)) + 8);
    bound.largest_score_error = std::max(bound.largest_score_error, error);
    for (std::size_t e = 0; e < d_v; ++e) score[e] += key.p * error * std::abs(static_cast<double>(rows[t][e]) - o[e]);
  }
  // Weights below the oracle's floor (1e-290 in f64, 1e-35 in f32) are dropped.
  const double floor = unit < 1e-10 ? 1e-290 : 1e-35;
  const auto n = static_cast<double>(keys.size());
  for (std::size_t e = 0; e < d_v; ++e) {
    bound.element[e] = 1.1 * score[e] + (2 * n + 16) * unit * total[e] + 2 * n * floor * largest[e];
  }
  return bound;
}

}  // namespace attest::testing
