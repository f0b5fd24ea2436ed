#include "oracles/narrow_row.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct State {
  double max = -kInfinity, sum = 0;
  std::vector<double> acc;
};

class NarrowRun {
 public:
  NarrowRun(const RowTerms& terms, const NarrowArithmetic& arithmetic) : t_(terms), a_(arithmetic) {}

  std::vector<double> run();

 private:
  void score();
  void rescale(State& s, double max);
  void absorb(State& s, std::int64_t begin, std::int64_t end);
  void merge(State& total, const State& s) const;

  const RowTerms& t_;
  const NarrowArithmetic& a_;
  std::vector<double> z_, tile_;
  double norm_ = 1;  // row sum over exp(-max of the whole row), where weights are normalised first
};

void NarrowRun::score() {
  z_.assign(t_.dot.size(), -kInfinity);
  const double slope = narrowed(t_.slope, a_.slope);
  for (std::size_t j = 0; j < z_.size(); ++j) {
    if (t_.mask[j] == -kInfinity) continue;
    const double x = narrowed(t_.scale * t_.dot[j], a_.score);
    const double capped = t_.softcap > 0 ? t_.softcap * std::tanh(x / t_.softcap) : x;
    z_[j] = narrowed(capped + narrowed(slope * t_.mask[j], a_.bias), a_.logit);
  }
}

void NarrowRun::rescale(State& s, double max) {
  if (s.max != -kInfinity) {
    const double factor = std::exp(s.max - max);
    s.sum = narrowed(s.sum * factor, a_.sum);
    const double rounded = narrowed(factor, a_.factor);
    for (double& x : s.acc) x = a_.rescale_rounds ? narrowed(x * rounded, a_.acc) : x * rounded;
  }
  s.max = max;
}

void NarrowRun::absorb(State& s, std::int64_t begin, std::int64_t end) {
  double top = -kInfinity;
  for (std::int64_t j = begin; j < end; ++j) top = std::max(top, z_[static_cast<std::size_t>(j)]);
  if (top == -kInfinity) return;
  if (top > s.max) rescale(s, top);
  std::vector<double>& acc = a_.tile_product ? tile_ : s.acc;
  if (a_.tile_product) tile_.assign(s.acc.size(), 0.0);
  for (std::int64_t j = begin; j < end; ++j) {
    const double z = z_[static_cast<std::size_t>(j)];
    if (z == -kInfinity) continue;
    const double p = std::exp(z - s.max);
    s.sum = narrowed(s.sum + p, a_.sum);
    const double weight = a_.p_normalised ? narrowed(p / norm_, a_.p) * norm_ : narrowed(p, a_.p);
    const float* v = t_.value(j);
    const Narrow step = a_.tile_product ? Narrow::wide : a_.acc;
    for (std::size_t e = 0; e < acc.size(); ++e) {
      acc[e] = narrowed(acc[e] + weight * narrowed(static_cast<double>(v[e]), a_.v), step);
    }
  }
  if (!a_.tile_product) return;
  for (std::size_t e = 0; e < s.acc.size(); ++e) s.acc[e] = narrowed(s.acc[e] + tile_[e], a_.acc);
}

void NarrowRun::merge(State& total, const State& s) const {
  if (s.max == -kInfinity) return;
  const double max = std::max(total.max, s.max), mine = std::exp(s.max - max);
  const double before = total.max == -kInfinity ? 0.0 : std::exp(total.max - max);
  total.sum = total.sum * before + s.sum * mine;
  for (std::size_t e = 0; e < s.acc.size(); ++e) {
    total.acc[e] = total.acc[e] * before + narrowed(s.acc[e], a_.partial) * mine;
  }
  total.max = max;
}

std::vector<double> NarrowRun::run() {
  score();
  const auto d_v = static_cast<std::size_t>(t_.d_v);
  const std::int64_t n = t_.n_kv, chunks = std::max<std::int64_t>(a_.chunks, 1);
  const std::int64_t tile = std::max<std::int64_t>(a_.tile, 1);
  const std::int64_t length = std::max<std::int64_t>((n + chunks - 1) / chunks, 1);
  if (a_.p_normalised) {
    double top = -kInfinity, sum = 0;
    for (const double z : z_) top = std::max(top, z);
    for (const double z : z_) sum += z == -kInfinity ? 0 : std::exp(z - top);
    norm_ = sum + (t_.sink == -kInfinity ? 0 : std::exp(t_.sink - top));
  }
  State total;
  total.acc.assign(d_v, 0.0);
  for (std::int64_t begin = 0; begin < n; begin += length) {
    const std::int64_t end = std::min(begin + length, n);
    State s;
    s.acc.assign(d_v, 0.0);
    for (std::int64_t at = begin; at < end; at += tile) absorb(s, at, std::min(at + tile, end));
    if (chunks == 1) {
      total = std::move(s);
    } else {
      merge(total, s);
    }
  }
  std::vector<double> out(d_v, 0.0);
  if (total.max == -kInfinity) return out;
  if (t_.sink != -kInfinity) {
    const double sink = narrowed(t_.sink, a_.sink);
    if (sink > total.max) rescale(total, sink);
    total.sum += std::exp(sink - total.max);
  }
  for (std::size_t e = 0; e < d_v; ++e) out[e] = narrowed(total.acc[e] / total.sum, a_.out);
  return out;
}

}  // namespace

NarrowArithmetic order_of(const ArithmeticContract& contract, std::int64_t n_kv) {
  NarrowArithmetic a;
  a.tile = std::clamp<std::int64_t>(contract.tile, 1, std::max<std::int64_t>(n_kv, 1));
  a.chunks = std::max<std::int64_t>(contract.chunks, 1);
  a.p_normalised = contract.p_normalised;
  return a;
}

std::vector<double> narrow_row(const RowTerms& terms, const NarrowArithmetic& arithmetic) {
  return NarrowRun(terms, arithmetic).run();
}

}  // namespace attest
