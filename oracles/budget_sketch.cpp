#include "oracles/budget_sketch.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "oracles/budget_sketch.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace attest {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using SketchF32 = hn::ScalableTag<float>;
using SketchF64 = hn::ScalableTag<double>;

// Two vectors of columns at a time: one alone would wait for its own sums.
void partial_sums(const SketchRun& run, const float* HWY_RESTRICT start, const SketchSums& sums) {
  const SketchF32 f32;
  const std::size_t lanes = hn::Lanes(f32);
  std::size_t e = 0;
  for (; e + 2 * lanes <= run.stride; e += 2 * lanes) {
    auto n0 = hn::Load(f32, start + e), n1 = hn::Load(f32, start + e + lanes);
    auto a0 = hn::Load(f32, sums.a + e), a1 = hn::Load(f32, sums.a + e + lanes);
    auto s0 = hn::Load(f32, sums.n + e), s1 = hn::Load(f32, sums.n + e + lanes);
    for (std::size_t i = 0; i < run.count; ++i) {
      if (!(run.p[i] > kSketchNegligible)) continue;
      const float* HWY_RESTRICT v = run.v + i * run.stride + e;
      const auto p = hn::Set(f32, run.p[i]);
      const auto t0 = hn::Mul(p, hn::Load(f32, v)), t1 = hn::Mul(p, hn::Load(f32, v + lanes));
      n0 = hn::Add(n0, t0);
      n1 = hn::Add(n1, t1);
      a0 = hn::Add(a0, hn::Abs(t0));
      a1 = hn::Add(a1, hn::Abs(t1));
      s0 = hn::Add(s0, hn::Abs(n0));
      s1 = hn::Add(s1, hn::Abs(n1));
    }
    hn::Store(a0, f32, sums.a + e);
    hn::Store(a1, f32, sums.a + e + lanes);
    hn::Store(s0, f32, sums.n + e);
    hn::Store(s1, f32, sums.n + e + lanes);
  }
  for (; e < run.stride; e += lanes) {
    auto n = hn::Load(f32, start + e), a = hn::Load(f32, sums.a + e), s = hn::Load(f32, sums.n + e);
    for (std::size_t i = 0; i < run.count; ++i) {
      if (!(run.p[i] > kSketchNegligible)) continue;
      const auto t = hn::Mul(hn::Set(f32, run.p[i]), hn::Load(f32, run.v + i * run.stride + e));
      n = hn::Add(n, t);
      a = hn::Add(a, hn::Abs(t));
      s = hn::Add(s, hn::Abs(n));
    }
    hn::Store(a, f32, sums.a + e);
    hn::Store(s, f32, sums.n + e);
  }
}

void gaps(const SketchRun& run, const float* HWY_RESTRICT dot, const float* HWY_RESTRICT o, const SketchSums& sums) {
  const SketchF32 f32;
  const std::size_t lanes = hn::Lanes(f32);
  std::size_t e = 0;
  for (; e + 2 * lanes <= run.stride; e += 2 * lanes) {
    const auto o0 = hn::Load(f32, o + e), o1 = hn::Load(f32, o + e + lanes);
    auto g0 = hn::Zero(f32), g1 = g0, d0 = g0, d1 = g0;
    for (std::size_t i = 0; i < run.count; ++i) {
      const float* HWY_RESTRICT v = run.v + i * run.stride + e;
      const auto p = hn::Set(f32, run.p[i]), w = hn::Set(f32, dot[i]);
      const auto gap0 = hn::Sub(hn::Load(f32, v), o0), gap1 = hn::Sub(hn::Load(f32, v + lanes), o1);
      const auto t0 = hn::Mul(p, gap0), t1 = hn::Mul(p, gap1), x0 = hn::Mul(w, gap0), x1 = hn::Mul(w, gap1);
      g0 = hn::MulAdd(t0, t0, g0);
      g1 = hn::MulAdd(t1, t1, g1);
      d0 = hn::MulAdd(x0, x0, d0);
      d1 = hn::MulAdd(x1, x1, d1);
    }
    hn::Store(g0, f32, sums.gap2 + e);
    hn::Store(g1, f32, sums.gap2 + e + lanes);
    hn::Store(d0, f32, sums.dot2 + e);
    hn::Store(d1, f32, sums.dot2 + e + lanes);
  }
  for (; e < run.stride; e += lanes) {
    const auto centre = hn::Load(f32, o + e);
    auto g = hn::Zero(f32), d = g;
    for (std::size_t i = 0; i < run.count; ++i) {
      const auto gap = hn::Sub(hn::Load(f32, run.v + i * run.stride + e), centre);
      const auto t = hn::Mul(hn::Set(f32, run.p[i]), gap), x = hn::Mul(hn::Set(f32, dot[i]), gap);
      g = hn::MulAdd(t, t, g);
      d = hn::MulAdd(x, x, d);
    }
    hn::Store(g, f32, sums.gap2 + e);
    hn::Store(d, f32, sums.dot2 + e);
  }
}

double largest(const double* HWY_RESTRICT x, std::size_t n) {
  const SketchF64 f64;
  const std::size_t lanes = hn::Lanes(f64);
  auto most0 = hn::Zero(f64), most1 = most0;
  const auto larger = [](auto a, auto b) { return hn::IfThenElse(hn::Gt(a, b), a, b); };
  std::size_t j = 0;
  for (; j + 2 * lanes <= n; j += 2 * lanes) {
    most0 = larger(hn::Abs(hn::LoadU(f64, x + j)), most0);
    most1 = larger(hn::Abs(hn::LoadU(f64, x + j + lanes)), most1);
  }
  double most = hn::GetLane(hn::MaxOfLanes(f64, hn::Max(most0, most1)));
  for (; j < n; ++j) most = std::abs(x[j]) > most ? std::abs(x[j]) : most;
  return most;
}

void bound(const float* HWY_RESTRICT a, const float* HWY_RESTRICT n, const float* HWY_RESTRICT gap2,
           const float* HWY_RESTRICT dot2, const double* HWY_RESTRICT o, const SketchWeights& w, std::size_t d_v,
           float* HWY_RESTRICT out) {
  const SketchF64 f64;
  const hn::Rebind<float, SketchF64> half;
  const std::size_t lanes = hn::Lanes(half);
  const auto one = [&](std::size_t e, auto size) {
    const auto load = [&](const float* from) { return hn::Load(half, from + e); };
    const auto times = [&](float c, auto x) { return hn::Mul(hn::Set(half, c), x); };
    const auto gap = hn::Sqrt(load(gap2)), dot = hn::Sqrt(load(dot2)), partial = load(n), total = load(a);
    auto det = times(w.acc_a, total);
    if (w.recursion) det = hn::Min(det, times(w.acc_n, partial));
    det = hn::Add(det, hn::Add(times(w.det_a, total), times(w.det_o, size)));
    det = hn::Add(det, hn::Add(times(w.det_gap, gap), times(w.det_dot, dot)));
    auto best = det;
    if (w.statistical) {
      const auto sn = times(w.var_n, partial), sg = times(w.var_gap, gap), sd = times(w.var_dot, dot),
                 so = times(w.var_o, size);
      const auto sigma = hn::Sqrt(hn::MulAdd(sn, sn, hn::MulAdd(sg, sg, hn::MulAdd(sd, sd, hn::Mul(so, so)))));
      best = hn::Min(best, hn::Add(sigma, times(w.stat_o, size)));
    }
    return times(w.inward, hn::Add(best, hn::Set(half, w.floor)));
  };
  std::size_t e = 0;
  for (; e + lanes <= d_v; e += lanes)
    hn::StoreU(one(e, hn::Abs(hn::DemoteTo(half, hn::LoadU(f64, o + e)))), half, out + e);
  if (e == d_v) return;
  HWY_ALIGN double rest[HWY_MAX_BYTES / sizeof(double)] = {};
  HWY_ALIGN float bounds[HWY_MAX_BYTES / sizeof(double)] = {};
  for (std::size_t i = 0; e + i < d_v; ++i) rest[i] = o[e + i];
  hn::Store(one(e, hn::Abs(hn::DemoteTo(half, hn::Load(f64, rest)))), half, bounds);
  for (std::size_t i = 0; e + i < d_v; ++i) out[e + i] = bounds[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace attest
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attest {

HWY_EXPORT(partial_sums);
HWY_EXPORT(gaps);
HWY_EXPORT(largest);
HWY_EXPORT(bound);

BudgetSketch::BudgetSketch(std::size_t rows, std::int64_t d_v)
    : stride_(budget_padded(static_cast<std::size_t>(d_v))), rows_(rows), data_(rows * kSums * stride_, 0.0F) {}

SketchSums BudgetSketch::sums(std::size_t i) {
  float* from = data_.data() + i * kSums * stride_;
  return {from, from + stride_, from + 2 * stride_, from + 3 * stride_};
}

BudgetSketch::Sampling BudgetSketch::sampling(std::int64_t n_keys) {
  if (n_keys <= 64) return {64, 64};
  return {64, 16};
}

void sketch_partial_sums(const SketchRun& run, const float* start, const SketchSums& sums) {
  HWY_DYNAMIC_DISPATCH(partial_sums)(run, start, sums);
}

void sketch_gaps(const SketchRun& run, const float* dot, const float* o, const SketchSums& sums) {
  HWY_DYNAMIC_DISPATCH(gaps)(run, dot, o, sums);
}

double largest_magnitude(const double* x, std::size_t n) { return HWY_DYNAMIC_DISPATCH(largest)(x, n); }

void sketch_bound(const BudgetSketch& sketch, std::size_t row, const double* o, const SketchWeights& weights,
                  std::size_t d_v, float* out) {
  const float* a = sketch.sums(row);
  const std::size_t stride = sketch.stride();
  HWY_DYNAMIC_DISPATCH(bound)(a, a + stride, a + 2 * stride, a + 3 * stride, o, weights, d_v, out);
}

}  // namespace attest
#endif
