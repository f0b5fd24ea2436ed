#include <algorithm>
#include <cmath>
#include <limits>

#include "oracles/budget_kernels.h"
#include "oracles/error_budget.h"

namespace attest {
namespace {

constexpr double kU = kUnitF32;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kInward = 0.98;  // more than the f32 sums and a rounded log-sum-exp can be off by
constexpr std::size_t kFewestKeys = 64, kOneKeyIn = 8;

void read_row(const TensorView& t, std::int64_t i1, std::int64_t i2, std::int64_t i3, float* to) {
  if (t.contiguous_rows()) return decode_row(t.dtype, t.row(i1, i2, i3), to, t.ne[0]);
  for (std::int64_t e = 0; e < t.ne[0]; ++e) to[e] = element(t, e, i1, i2, i3);
}

bool hidden(float mask) { return mask == -std::numeric_limits<float>::infinity(); }

struct HeavyKeys {
  std::size_t visible = 0;
  std::vector<std::int32_t> key;
  std::vector<double> mask;
};

// Scores in f32 from a pass over K: good enough to tell which keys weigh most.
std::vector<float> rough_logits(const AttentionInputs& in, const Row& row, const std::vector<float>& mask,
                                double slope) {
  const AttentionProblem& p = *in.problem;
  const std::size_t stride = budget_padded(static_cast<std::size_t>(p.d_k));
  AlignedVector<float> q(stride, 0.0F), k(stride, 0.0F);
  read_row(in.q, row.query, row.head, row.seq, q.data());
  const AlignedVector<double> q_wide(q.begin(), q.end());
  const std::int32_t only = 0;
  std::vector<float> z(mask.size(), -std::numeric_limits<float>::infinity());
  for (std::size_t j = 0; j < mask.size(); ++j) {
    if (hidden(mask[j])) continue;
    read_row(in.k, static_cast<std::int64_t>(j), row.head / (p.n_head / p.n_head_kv), row.seq / (p.n_seq / p.n_seq_kv),
             k.data());
    double x;
    float a, b2;
    budget_dots({k.data(), stride, &only, 1}, q.data(), q_wide.data(), {&x, &a, &b2});
    x *= static_cast<double>(p.scale);
    if (p.softcap > 0) x = static_cast<double>(p.softcap) * std::tanh(x / static_cast<double>(p.softcap));
    z[j] = static_cast<float>(x + slope * static_cast<double>(mask[j]));
  }
  return z;
}

HeavyKeys heavy_keys(const AttentionInputs& in, const Row& row, std::span<const float> logits) {
  const AttentionProblem& p = *in.problem;
  const double slope = alibi_slope(p, row.head);
  std::vector<float> mask(static_cast<std::size_t>(p.n_kv), 0.0F);
  if (in.mask.present()) read_row(in.mask, row.query, row.head % in.mask.ne[2], row.seq % in.mask.ne[3], mask.data());
  HeavyKeys out;
  for (std::size_t j = 0; j < mask.size(); ++j)
    if (!hidden(mask[j])) out.key.push_back(static_cast<std::int32_t>(j));
  out.visible = out.key.size();
  const std::size_t wanted = std::max(kFewestKeys, out.visible / kOneKeyIn);
  if (out.visible > wanted) {
    std::vector<float> rough;
    if (logits.empty()) logits = rough = rough_logits(in, row, mask, slope);
    const auto weight = [&](std::int32_t j) {
      const float z = logits[static_cast<std::size_t>(j)];
      return std::isnan(z) ? -std::numeric_limits<float>::infinity() : z;
    };
    std::nth_element(out.key.begin(), out.key.begin() + static_cast<std::ptrdiff_t>(wanted), out.key.end(),
                     [&](std::int32_t a, std::int32_t b) { return weight(a) > weight(b); });
    out.key.resize(wanted);
    std::sort(out.key.begin(), out.key.end());
  }
  for (const std::int32_t j : out.key)
    out.mask.push_back(in.mask.present() ? slope * static_cast<double>(mask[static_cast<std::size_t>(j)]) : 0.0);
  return out;
}

}  // namespace

// Every term is a part of the sums in error-budget.md: the heaviest keys, no rescale, |M| = 0.
void ErrorBudget::lower_bound(const Row& row, std::span<const double> reference, double log_sum_exp,
                              std::span<double> out, std::span<const float> logits) const {
  std::fill(out.begin(), out.end(), 0.0);
  const AttentionInputs& in = inputs_->inputs();
  const AttentionProblem& p = *in.problem;
  const ArithmeticContract& c = contract_;
  const HeavyKeys keys = heavy_keys(in, row, logits);
  if (keys.key.empty() || !std::isfinite(log_sum_exp)) return;

  const std::size_t n = keys.key.size(), d = static_cast<std::size_t>(p.d_k), d_v = out.size();
  const std::size_t stride_k = budget_padded(d), stride_v = budget_padded(d_v);
  AlignedVector<float> q(stride_k, 0.0F), k(n * stride_k, 0.0F), v(n * stride_v, 0.0F), o(stride_v, 0.0F);
  read_row(in.q, row.query, row.head, row.seq, q.data());
  std::vector<std::int32_t> list(n);
  for (std::size_t i = 0; i < n; ++i) {
    list[i] = static_cast<std::int32_t>(i);
    const std::int64_t seq = row.seq / (p.n_seq / p.n_seq_kv);
    read_row(in.k, keys.key[i], row.head / (p.n_head / p.n_head_kv), seq, &k[i * stride_k]);
    read_row(in.v, keys.key[i], row.head / (p.n_head / p.n_head_v), seq, &v[i * stride_v]);
  }
  for (std::size_t e = 0; e < d_v; ++e) o[e] = static_cast<float>(reference[e]);
  const AlignedVector<double> q_wide(q.begin(), q.end());
  std::vector<double> x(n);
  std::vector<float> a(n), b2(n), weight(n), deviation(n), variance(n);
  budget_dots({k.data(), stride_k, list.data(), n}, q.data(), q_wide.data(), {x.data(), a.data(), b2.data()});

  const double scale = static_cast<double>(p.scale), softcap = static_cast<double>(p.softcap);
  const double width = static_cast<double>(p.d_k), visible = static_cast<double>(keys.visible);
  double largest = 0;
  std::vector<double> v_j(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (inputs_->rounding() == QRounding::q8_1) x[i] += inputs_->dot_correction(row, keys.key[i]).value;
    x[i] *= scale;
    const double t = softcap > 0 ? std::tanh(x[i] / softcap) : 0, slope = (1 - t) * (1 + t);
    const double phi = softcap > 0 ? softcap * t : x[i], z = phi + keys.mask[i], size = std::abs(x[i]);
    const double sum = std::abs(scale) * static_cast<double>(a[i]);
    const double square = scale * scale * static_cast<double>(b2[i]);
    const double dx = (width + 2) * c.u_qk * sum + c.u_q * sum + c.u_s * size;
    const double arithmetic = kU * (std::abs(phi) + std::abs(keys.mask[i]) + softcap);
    const double shift = softcap > 0 ? std::min(dx * slope, 2 * softcap) : dx;
    const double dev = shift + c.u_z * std::abs(z) + c.u_m * std::abs(keys.mask[i]) + c.eps_exp + 4 * arithmetic;
    v_j[i] = slope * slope *
                 (c.u_qk * c.u_qk / 3 * ((width / 2 + 2) * square + (width / 3 + 1) * size * size) +
                  c.u_s * c.u_s * size * size / 3) +
             (c.u_z * c.u_z * z * z + c.eps_exp * c.eps_exp) / 3 + arithmetic * arithmetic;
    double w = std::exp(z - log_sum_exp);
    if (!(w >= 0x1p-45 / visible) || !(w <= 1.001) || !std::isfinite(v_j[i])) w = v_j[i] = 0;
    weight[i] = static_cast<float>(w);
    deviation[i] = static_cast<float>(w * std::min(dev, 1.0));
    v_j[i] *= w * w;
    largest = std::max(largest, v_j[i]);
  }
  for (std::size_t i = 0; i < n && largest > 0; ++i) variance[i] = static_cast<float>(v_j[i] / largest);

  AlignedVector<float> sums(12 * stride_v, 0.0F);
  const auto part = [&](std::size_t term) { return sums.data() + term * stride_v; };
  budget_values(
      {v.data(), stride_v, list.data(), n},
      {weight.data(), deviation.data(), variance.data(), weight.data(), o.data(), 0, false, true, false},
      {part(0), part(1), part(2), part(3), part(4), part(5), part(6), part(7), part(8), part(9), part(10), part(11)});
  const double chunks = static_cast<double>(std::max<std::int64_t>(c.chunks, 1));
  const bool narrow = c.u_acc > 0x1p-16;
  for (std::size_t e = 0; e < d_v; ++e) {
    const auto sum = [&](std::size_t term) { return static_cast<double>(part(term)[e]); };
    const double size = std::abs(reference[e]);
    const double det = sum(0) + c.u_p * sum(5) + (narrow ? 1 : visible + 2 * chunks + 4) * c.u_acc * size +
                       ((visible + 2 * chunks + 6) * c.u_l + c.u_out + 3 * kU) * size + c.omega_out;
    const double variance_sum =
        sum(1) * largest + c.u_p * c.u_p / 3 * sum(6) +
        (c.u_acc * c.u_acc / 3 * (chunks + 2) + c.u_l * c.u_l / 3 + c.u_out * c.u_out + 4 * kU * kU) * size * size;
    const double stat = 8 * std::sqrt(variance_sum) + 2 * kU * size + c.omega_out;
    const double bound = kInward * std::min(det, stat);
    out[e] = bound < kInfinity ? bound : 0;
  }
}

}  // namespace attest
