#include "oracles/row_terms.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cases/contract.h"

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void read(const TensorView& t, std::int64_t i1, std::int64_t i2, std::int64_t i3, float* to, std::int64_t n) {
  if (t.contiguous_rows() && n == t.ne[0]) return decode_row(t.dtype, t.row(i1, i2, i3), to, n);
  for (std::int64_t e = 0; e < n; ++e) to[e] = element(t, e, i1, i2, i3);
}

// Four significant bits, smallest step 2^-9, largest value 448 (OCP FP8 E4M3).
double to_e4m3(double value) {
  const double magnitude = std::abs(value);
  if (!(magnitude < kInfinity) || magnitude == 0) return value;
  const int exponent = std::max(std::ilogb(magnitude), -6);
  const double step = std::ldexp(1.0, exponent - 3);
  return std::copysign(std::min(std::nearbyint(magnitude / step) * step, 448.0), value);
}

}  // namespace

double narrowed(double value, Narrow to) {
  switch (to) {
    case Narrow::f16:
      return static_cast<double>(f16_to_f32(f32_to_f16(static_cast<float>(value))));
    case Narrow::bf16:
      return static_cast<double>(bf16_to_f32(f32_to_bf16(static_cast<float>(value))));
    case Narrow::e4m3:
      return to_e4m3(value);
    default:
      return value;
  }
}

RowTerms read_row_terms(const AttentionInputs& in, const Row& row, const ScoreCorrection& correction,
                        const RowReading& reading, std::int64_t columns) {
  const AttentionProblem& p = *in.problem;
  const auto or_right = [](std::int64_t asked, std::int64_t right) { return asked >= 0 ? asked : right; };
  const std::int64_t seq = or_right(reading.seq_kv, row.seq / (p.n_seq / p.n_seq_kv));
  const std::int64_t head_k = or_right(reading.head_k, row.head / (p.n_head / p.n_head_kv));
  const std::int64_t head_v = or_right(reading.head_v, row.head / (p.n_head / p.n_head_v));
  RowTerms t;
  t.row = row;
  t.n_kv = p.n_kv;
  t.d_v = columns > 0 ? std::min(columns, p.d_v) : p.d_v;
  t.scale = static_cast<double>(p.scale);
  t.softcap = static_cast<double>(p.softcap);
  t.slope = alibi_slope(p, row.head);
  t.sink = in.sinks.present() ? static_cast<double>(element(in.sinks, row.head, 0, 0, 0)) : -kInfinity;
  const auto n = static_cast<std::size_t>(p.n_kv);
  t.dot.assign(n, 0);
  t.mask.assign(n, 0);
  t.v.resize(n * static_cast<std::size_t>(t.d_v));
  std::vector<float> q(static_cast<std::size_t>(p.d_k)), k(q.size()), extra_q, extra_k, mask(n);
  read(in.q, row.query, row.head, row.seq, q.data(), p.d_k);
  if (correction.q.present()) {
    extra_q.resize(static_cast<std::size_t>(correction.q.ne[0]));
    extra_k.resize(extra_q.size());
    read(correction.q, row.query, row.head, row.seq, extra_q.data(), correction.q.ne[0]);
  }
  if (in.mask.present()) {
    read(in.mask, row.query, row.head % in.mask.ne[2], row.seq % in.mask.ne[3], mask.data(), p.n_kv);
    t.mask.assign(mask.begin(), mask.end());
  }
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    read(in.k, j, head_k, seq, k.data(), p.d_k);
    double dot = 0;
    for (std::size_t e = 0; e < q.size(); ++e) {
      if (e == static_cast<std::size_t>(reading.skip_first) && reading.skip_end > reading.skip_first) {
        e = static_cast<std::size_t>(reading.skip_end);
        if (e >= q.size()) break;
      }
      dot += static_cast<double>(q[e]) * narrowed(static_cast<double>(k[e]), reading.k);
    }
    if (!extra_q.empty()) {
      read(correction.k, j, head_k, seq, extra_k.data(), correction.k.ne[0]);
      for (std::size_t e = 0; e < extra_q.size(); ++e) {
        dot += static_cast<double>(extra_q[e]) * static_cast<double>(extra_k[e]);
      }
    }
    t.dot[static_cast<std::size_t>(j)] = dot;
    // Rows of block types cannot be cut.
    if (t.d_v == p.d_v || !is_quantised(p.v_type)) {
      read(in.v, j, head_v, seq, t.v.data() + j * t.d_v, t.d_v);
    } else {
      std::vector<float> whole(static_cast<std::size_t>(p.d_v));
      read(in.v, j, head_v, seq, whole.data(), p.d_v);
      std::copy_n(whole.begin(), t.d_v, t.v.begin() + j * t.d_v);
    }
  }
  return t;
}

std::vector<double> logits(const RowTerms& t) {
  std::vector<double> z(t.dot.size(), -kInfinity);
  for (std::size_t j = 0; j < z.size(); ++j) {
    if (t.mask[j] == -kInfinity) continue;
    const double x = t.scale * t.dot[j];
    z[j] = (t.softcap > 0 ? t.softcap * std::tanh(x / t.softcap) : x) + t.slope * t.mask[j];
  }
  return z;
}

std::vector<double> weighted_values(const RowTerms& t, const std::vector<double>& z, double sink) {
  std::vector<double> out(static_cast<std::size_t>(t.d_v), 0.0);
  double top = -kInfinity;
  for (const double x : z) top = std::max(top, x);
  if (top == -kInfinity) return out;
  top = std::max(top, sink);
  double sum = std::exp(sink - top);
  for (std::size_t j = 0; j < z.size(); ++j) {
    if (z[j] == -kInfinity) continue;
    const double p = std::exp(z[j] - top);
    sum += p;
    const float* v = t.value(static_cast<std::int64_t>(j));
    for (std::size_t e = 0; e < out.size(); ++e) out[e] += p * static_cast<double>(v[e]);
  }
  for (double& o : out) o /= sum;
  return out;
}

std::vector<double> f32_units(const RowTerms& t) {
  const std::vector<double> z = logits(t);
  double top = t.sink, sum = 0, spread = 0;
  for (const double x : z) top = std::max(top, x);
  std::vector<double> units(static_cast<std::size_t>(t.d_v), 0.0);
  if (t.sink > -kInfinity) sum = std::exp(t.sink - top);
  for (std::size_t j = 0; j < z.size(); ++j) {
    const double p = z[j] > -kInfinity ? std::exp(z[j] - top) : 0;
    if (p == 0) continue;
    sum += p;
    spread += p * std::abs(t.scale * t.dot[j]);
    const float* v = t.value(static_cast<std::int64_t>(j));
    for (std::size_t e = 0; e < units.size(); ++e) units[e] += p * std::abs(static_cast<double>(v[e]));
  }
  if (sum == 0) {  // no visible key: whatever comes out is made of V
    for (const float x : t.v) {
      if (std::isfinite(x)) units[0] = std::max(units[0], std::abs(static_cast<double>(x)));
    }
    units.assign(units.size(), kUnitF32 * units[0] + 1e-37);
    return units;
  }
  for (double& u : units) u = kUnitF32 * (2 + spread / sum) * u / sum + 1e-37;
  return units;
}

}  // namespace attest
