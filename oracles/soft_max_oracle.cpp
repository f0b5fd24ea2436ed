#include "oracles/soft_max_oracle.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double mask_at(const AttentionInputs& in, const Row& row, std::int64_t j) {
  if (!in.mask.present()) return 0;
  return static_cast<double>(element(in.mask, j, row.query, row.head % in.mask.ne[2], row.seq % in.mask.ne[3]));
}

double sink_of(const AttentionInputs& in, const Row& row) {
  return in.sinks.present() ? static_cast<double>(element(in.sinks, row.head, 0, 0, 0)) : -kInfinity;
}

}  // namespace

void soft_max_oracle(const AttentionInputs& in, const Row& row, std::span<double> out) {
  const AttentionProblem& p = *in.problem;
  const double slope = alibi_slope(p, row.head), sink = sink_of(in, row);
  double maximum = sink, sum = 0;
  bool dead = true;
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    double& z = out[static_cast<std::size_t>(j)];
    const double m = mask_at(in, row, j);
    z = -kInfinity;
    if (m == -kInfinity) continue;
    z = static_cast<double>(p.scale) * static_cast<double>(element(in.q, j, row.query, row.head, row.seq)) + slope * m;
    maximum = std::max(maximum, z);
    dead = false;
  }
  if (dead) return std::fill(out.begin(), out.end(), 0.0);
  for (double& z : out) {
    z = std::exp(z - maximum);
    sum += z;
  }
  sum += std::exp(sink - maximum);
  for (double& z : out) z /= sum;
}

void soft_max_eigen(const AttentionInputs& in, const Row& row, std::span<double> out) {
  using Array = Eigen::Array<double, Eigen::Dynamic, 1>;
  const AttentionProblem& p = *in.problem;
  const auto n = static_cast<Eigen::Index>(p.n_kv);
  const Eigen::Map<const Eigen::Array<float, Eigen::Dynamic, 1>> scores(
      reinterpret_cast<const float*>(in.q.row(row.query, row.head, row.seq)), n);
  Array mask = Array::Zero(n);
  for (Eigen::Index j = 0; j < n; ++j) mask[j] = mask_at(in, row, j);
  const auto hidden = mask == -kInfinity;
  Array z =
      hidden.select(-kInfinity, scores.cast<double>() * static_cast<double>(p.scale) + mask * alibi_slope(p, row.head));
  Eigen::Map<Array> weights(out.data(), n);
  if (n == 0 || hidden.all()) {
    weights.setZero();
    return;
  }
  const double sink = sink_of(in, row), top = z.maxCoeff();
  // ln(sum exp) first, with the sink folded in by the logistic function: another route than the oracle's.
  const double log_sum = top + std::log((z - top).exp().sum());
  const double log_all = sink == -kInfinity ? log_sum
                         : sink > log_sum   ? sink + std::log1p(std::exp(log_sum - sink))
                                            : log_sum + std::log1p(std::exp(sink - log_sum));
  weights = hidden.select(0.0, (z - log_all).exp());
}

std::vector<double> soft_max_budget(const AttentionInputs& in, const Row& row, std::span<const double> weights,
                                    const ArithmeticContract& c) {
  const AttentionProblem& p = *in.problem;
  const double slope = alibi_slope(p, row.head), sink = sink_of(in, row);
  const double u = std::max(kUnitF32, c.u_z), rescales = c.chunks > 1 || c.tile < p.n_kv ? 1 : 0;
  const double alibi = p.max_bias > 0 ? static_cast<double>(row.head + 2) * kUnitF32 : 0;
  const auto n = static_cast<std::size_t>(p.n_kv);
  std::vector<double> z(n, -kInfinity), d(n, 0), budget(n, 0);
  double maximum = sink;
  for (std::size_t j = 0; j < n; ++j) {
    const auto key = static_cast<std::int64_t>(j);
    const double m = mask_at(in, row, key);
    if (m == -kInfinity) continue;
    const double x =
        static_cast<double>(p.scale) * static_cast<double>(element(in.q, key, row.query, row.head, row.seq));
    z[j] = x + slope * m;
    d[j] = std::max(kUnitF32, c.u_s) * std::abs(x) + (c.u_m + alibi) * std::abs(slope * m) + u * std::abs(z[j]);
    maximum = std::max(maximum, z[j]);
  }
  if (!(maximum > -kInfinity)) return budget;
  const double rest = (1 + rescales) * c.eps_exp + (2 + rescales) * kUnitF32;
  double low = 0, high = 0, l = 0, mass = 0;
  for (std::size_t j = 0; j < n; ++j) {
    if (z[j] == -kInfinity) continue;
    d[j] += 2 * u * (std::abs(z[j]) + std::abs(maximum)) + rest;
    low += weights[j] * std::exp(-d[j]);
    high += weights[j] * std::exp(std::min(d[j], 700.0));
    mass += weights[j];
    l += std::exp(z[j] - maximum);
  }
  if (sink != -kInfinity) {
    const double own = 2 * u * (std::abs(sink) + std::abs(maximum)) + rest, weight = std::max(0.0, 1 - mass);
    low += weight * std::exp(-own);
    high += weight * std::exp(own);
    l += std::exp(sink - maximum);
  }
  const double sum_unit = (static_cast<double>(n) + rescales + 6) * c.u_l + c.u_out + 2 * kUnitF32;
  const double floor = (1 + rescales) * 0x1p-126 / l + 0x1p-126;
  for (std::size_t j = 0; j < n; ++j) {
    if (z[j] == -kInfinity) continue;  // exactly 0
    const double up = low > 0 ? std::exp(std::min(d[j], 700.0)) / low : kInfinity;
    const double most = weights[j] * std::max(up - 1, 1 - std::exp(-d[j]) / high) + weights[j] * up * sum_unit;
    // A weight lies between 0 and 1 whatever happens.
    budget[j] = std::min(weights[j] > 0 ? most + floor : floor, 1.0);
  }
  return budget;
}

}  // namespace attest
