#include "oracles/scalar_oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// t[:, i1, i2, i3] as f32, whatever the storage type and strides.
void read_row(const TensorView& t, std::int64_t i1, std::int64_t i2, std::int64_t i3, std::vector<float>& row) {
  row.resize(static_cast<std::size_t>(t.ne[0]));
  if (t.contiguous_rows()) return decode_row(t.dtype, t.row(i1, i2, i3), row.data(), t.ne[0]);
  for (std::int64_t e = 0; e < t.ne[0]; ++e) row[static_cast<std::size_t>(e)] = element(t, e, i1, i2, i3);
}

// Eight partial sums: one alone would spend its time waiting for the previous addition.
double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double part[8] = {};
  for (std::size_t e = 0; e < a.size(); ++e) part[e % 8] += static_cast<double>(a[e]) * static_cast<double>(b[e]);
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

struct VisibleKey {
  std::int64_t j;
  double z;  // logit, then weight
};

}  // namespace

void scalar_oracle(const AttentionInputs& in, const Row& row, std::span<double> out,
                   const ScoreCorrection& correction) {
  const AttentionProblem& p = *in.problem;
  const auto [s, h, i] = row;
  const std::int64_t s_kv = s / (p.n_seq / p.n_seq_kv);
  const std::int64_t h_k = h / (p.n_head / p.n_head_kv), h_v = h / (p.n_head / p.n_head_v);
  const double slope = alibi_slope(p, h), softcap = static_cast<double>(p.softcap);
  const double sink = in.sinks.present() ? static_cast<double>(element(in.sinks, h, 0, 0, 0)) : -kInfinity;
  std::vector<float> q, k, v, q_correction, mask(static_cast<std::size_t>(p.n_kv));
  read_row(in.q, i, h, s, q);
  if (correction.q.present()) read_row(correction.q, i, h, s, q_correction);
  if (in.mask.present()) read_row(in.mask, i, h % in.mask.ne[2], s % in.mask.ne[3], mask);

  // Scores. A key hidden by -inf is not a key: nothing of it is read.
  std::vector<VisibleKey> keys;
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    const double m = static_cast<double>(mask[static_cast<std::size_t>(j)]);
    if (m == -kInfinity) continue;
    read_row(in.k, j, h_k, s_kv, k);
    double x = dot(q, k);
    if (correction.q.present()) {
      read_row(correction.k, j, h_k, s_kv, k);
      x += dot(q_correction, k);
    }
    x *= static_cast<double>(p.scale);
    if (softcap > 0) x = softcap * std::tanh(x / softcap);
    keys.push_back({j, x + slope * m});
  }

  // Softmax: the maximum, the weights, their sum. The sink is one more logit with V = 0.
  double maximum = sink, sum = 0;
  for (const VisibleKey& key : keys) maximum = std::max(maximum, key.z);
  for (VisibleKey& key : keys) {
    key.z = std::exp(key.z - maximum);
    sum += key.z;
  }
  if (in.sinks.present()) sum += std::exp(sink - maximum);

  // Weighted sum of V. A row that sees no key stays 0.
  std::fill(out.begin(), out.end(), 0.0);
  for (const VisibleKey& key : keys) {
    read_row(in.v, key.j, h_v, s_kv, v);
    for (std::size_t e = 0; e < out.size(); ++e) out[e] += key.z / sum * static_cast<double>(v[e]);
  }
}

RowValues scalar_oracle(const AttentionInputs& inputs, std::span<const Row> rows, const ScoreCorrection& correction) {
  const auto d_v = static_cast<std::size_t>(inputs.problem->d_v);
  RowValues values(rows.size() * d_v);
  for (std::size_t r = 0; r < rows.size(); ++r)
    scalar_oracle(inputs, rows[r], std::span(values).subspan(r * d_v, d_v), correction);
  return values;
}

}  // namespace attest
