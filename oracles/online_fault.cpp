#include "oracles/online_fault.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLeastF32 = 0x1p-149;  // what exp() gives below is 0 in f32

struct State {
  double max = -kInfinity, sum = 0;
  bool any = false;
  std::vector<double> acc;
};

double power(double factor, int times) { return times == 0 ? 1 : times == 1 ? factor : factor * factor; }

void absorb(const RowTerms& t, const std::vector<double>& z, const OnlineFault& f, std::int64_t begin, std::int64_t end,
            State& s) {
  double top = -kInfinity;
  for (std::int64_t j = begin; j < end; ++j) top = std::max(top, z[static_cast<std::size_t>(j)]);
  if (top == -kInfinity) return;
  if (top > s.max) {
    double factor = s.max == -kInfinity ? 0 : std::exp(s.max - top);
    if (factor < f.flush_factor) factor = 0;
    const bool missed = f.missed_every > 0 && begin % f.missed_every == 0;
    const double acc = s.max == -kInfinity ? 1 : power(factor, missed ? 0 : f.rescale_acc);
    s.sum *= s.max == -kInfinity ? 1 : power(factor, f.rescale_sum);
    for (double& a : s.acc) a *= acc;
    s.max = top;
  }
  const double max = narrowed(s.max, f.max);
  for (std::int64_t j = begin; j < end; ++j) {
    const double x = z[static_cast<std::size_t>(j)];
    if (x == -kInfinity) continue;
    s.any = true;
    double p = std::max(std::exp(x - max), f.least_weight);
    if (p < kLeastF32) p = 0;
    const bool dropped = p < f.drop;
    if (!(dropped && f.drop_whole)) s.sum += p;
    if (dropped) continue;
    const float* v = t.value(j);
    for (std::size_t e = 0; e < s.acc.size(); ++e) s.acc[e] += p * static_cast<double>(v[e]);
  }
}

}  // namespace

std::vector<double> online_row(const RowTerms& t, const std::vector<double>& z, const OnlineFault& f) {
  const std::int64_t n = t.n_kv, tile = std::max<std::int64_t>(f.tile, 1);
  const std::int64_t length = std::max<std::int64_t>((n + f.chunks - 1) / f.chunks, 1);
  State blank;
  blank.acc.assign(static_cast<std::size_t>(t.d_v), 0.0);
  if (f.has_initial_max) blank.max = f.initial_max;
  std::vector<State> parts;
  for (std::int64_t begin = 0; begin < n; begin += length) {
    State s = blank;
    const std::int64_t end = std::min(begin + length, n);
    for (std::int64_t at = begin; at < end; at += tile) absorb(t, z, f, at, std::min(at + tile, end), s);
    if (f.sink_per_chunk && t.sink > -kInfinity && s.any) s.sum += std::exp(t.sink - s.max);
    if (s.any) parts.push_back(std::move(s));
  }
  std::vector<double> out = blank.acc;
  if (parts.empty()) return out;
  if (f.merged_chunks > 0) parts.resize(std::min(parts.size(), static_cast<std::size_t>(f.merged_chunks)));
  double max = -kInfinity, sum = 0;
  for (const State& s : parts) max = std::max(max, s.max);
  if (t.sink > max && !f.sink_per_chunk) max = t.sink;
  for (const State& s : parts) {
    const double factor = std::exp(s.max - max);
    const double norm = f.normalised_merge && s.sum > 0 ? s.sum : 1;
    sum += (f.merge_sum ? factor : 1) * s.sum / norm;
    for (std::size_t e = 0; e < out.size(); ++e) out[e] += (f.merge_acc ? factor : 1) * s.acc[e] / norm;
  }
  if (t.sink > -kInfinity && !f.sink_per_chunk) sum += std::exp(t.sink - max);
  for (double& o : out) o /= sum;
  return out;
}

}  // namespace attest
