#include "oracles/budget_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "oracles/budget_kernels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace attest {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using F64 = hn::ScalableTag<double>;
using Half = hn::Rebind<float, F64>;  // as many floats as F64 has lanes
// A vector of floats is two of doubles, but for the scalar target, where both have one lane.
constexpr bool kTwoHalves = HWY_TARGET != HWY_SCALAR;

std::size_t padded(std::size_t n) {
  const std::size_t unit = hn::Lanes(F32()) < 16 ? 16 : hn::Lanes(F32());
  return (n + unit - 1) / unit * unit;
}

void dots(const KeyBlock& keys, const float* HWY_RESTRICT q, const double* HWY_RESTRICT q_wide, const DotStats& out) {
  const F32 f32;
  const F64 f64;
  const Half half;
  const std::size_t lanes = hn::Lanes(f32);
  [[maybe_unused]] const std::size_t wide = hn::Lanes(f64);
  for (std::size_t i = 0; i < keys.count; ++i) {
    const float* HWY_RESTRICT k = keys.data + static_cast<std::size_t>(keys.rows[i]) * keys.stride;
    auto a = hn::Zero(f32);
    auto b2 = hn::Zero(f32);
    auto x0 = hn::Zero(f64);
    auto x1 = hn::Zero(f64);
    for (std::size_t c = 0; c < keys.stride; c += lanes) {
      const auto t = hn::Mul(hn::Load(f32, q + c), hn::Load(f32, k + c));
      a = hn::Add(a, hn::Abs(t));
      b2 = hn::MulAdd(t, t, b2);
      x0 = hn::MulAdd(hn::Load(f64, q_wide + c), hn::PromoteTo(f64, hn::Load(half, k + c)), x0);
      if constexpr (kTwoHalves) {
        x1 = hn::MulAdd(hn::Load(f64, q_wide + c + wide), hn::PromoteTo(f64, hn::Load(half, k + c + wide)), x1);
      }
    }
    out.x[i] = hn::GetLane(hn::SumOfLanes(f64, hn::Add(x0, x1)));
    out.a[i] = hn::GetLane(hn::SumOfLanes(f32, a));
    out.b2[i] = hn::GetLane(hn::SumOfLanes(f32, b2));
  }
}

void columns(const KeyBlock& values, const double* HWY_RESTRICT p, const ColumnStats& out) {
  const F32 f32;
  const F64 f64;
  const Half half;
  const std::size_t lanes = hn::Lanes(f32);
  [[maybe_unused]] const std::size_t wide = hn::Lanes(f64);
  for (std::size_t e = 0; e < values.stride; e += lanes) {
    auto o0 = hn::Load(f64, out.o + e);
    auto o1 = hn::Zero(f64);
    if constexpr (kTwoHalves) o1 = hn::Load(f64, out.o + e + wide);
    auto a = hn::Load(f32, out.a + e);
    auto top = hn::Load(f32, out.max + e);
    auto bottom = hn::Load(f32, out.min + e);
    for (std::size_t i = 0; i < values.count; ++i) {
      const float* HWY_RESTRICT v = values.data + static_cast<std::size_t>(values.rows[i]) * values.stride + e;
      const auto weight = hn::Set(f64, p[i]);
      const auto x = hn::Load(f32, v);
      o0 = hn::MulAdd(weight, hn::PromoteTo(f64, hn::Load(half, v)), o0);
      if constexpr (kTwoHalves) o1 = hn::MulAdd(weight, hn::PromoteTo(f64, hn::Load(half, v + wide)), o1);
      a = hn::MulAdd(hn::Set(f32, static_cast<float>(p[i])), hn::Abs(x), a);
      top = hn::Max(top, x);
      bottom = hn::Min(bottom, x);
    }
    hn::Store(o0, f64, out.o + e);
    if constexpr (kTwoHalves) hn::Store(o1, f64, out.o + e + wide);
    hn::Store(a, f32, out.a + e);
    hn::Store(top, f32, out.max + e);
    hn::Store(bottom, f32, out.min + e);
  }
}

template <bool kStagnation, bool kExtra, bool kFrozen>
void value_terms(const KeyBlock& values, const ValueWeights& weights, const ValueTerms& terms) {
  const F32 f32;
  const auto u = hn::Set(f32, weights.u_acc);
  const auto four = hn::Set(f32, 4.0F);
  for (std::size_t e = 0; e < values.stride; e += hn::Lanes(f32)) {
    const auto o = hn::Load(f32, weights.o + e);
    auto score = hn::Load(f32, terms.score + e);
    auto variance = hn::Load(f32, terms.variance + e);
    auto n = hn::Load(f32, terms.n + e);
    auto n_squared = hn::Load(f32, terms.n_squared + e);
    auto stagnation = hn::Load(f32, terms.stagnation + e);
    auto p_abs = hn::Load(f32, terms.p_abs + e);
    auto p_squared = hn::Load(f32, terms.p_squared + e);
    auto product = hn::Load(f32, terms.product + e);
    auto v_abs = hn::Load(f32, terms.v_abs + e);
    auto v_squared = hn::Load(f32, terms.v_squared + e);
    auto common = hn::Load(f32, terms.common + e);
    auto beta = hn::Load(f32, terms.beta + e);
    for (std::size_t i = 0; i < values.count; ++i) {
      const float* HWY_RESTRICT row = values.data + static_cast<std::size_t>(values.rows[i]) * values.stride;
      const auto v = hn::Load(f32, row + e);
      const auto p = hn::Set(f32, weights.p[i]);
      const auto diff = hn::Sub(v, o);
      const auto gap = hn::Abs(diff);
      score = hn::MulAdd(hn::Set(f32, weights.w[i]), gap, score);
      variance = hn::MulAdd(hn::Set(f32, weights.s[i]), hn::Mul(gap, gap), variance);
      const auto pv = hn::Mul(p, v);
      if constexpr (!kFrozen) n = hn::Add(n, pv);
      n_squared = hn::MulAdd(n, n, n_squared);
      if constexpr (kStagnation) {
        const auto lost = hn::Mul(u, hn::Abs(n));
        const auto size = hn::Abs(pv);
        stagnation = hn::Add(stagnation, hn::IfThenElseZero(hn::Lt(size, hn::Mul(four, lost)), hn::Min(size, lost)));
      }
      if constexpr (kExtra) {
        const auto size = hn::Abs(v);
        const auto most = hn::Mul(p, hn::Max(size, gap));
        p_abs = hn::Add(p_abs, most);
        p_squared = hn::MulAdd(most, most, p_squared);
        product = hn::MulAdd(pv, pv, product);
        v_abs = hn::Add(v_abs, size);
        v_squared = hn::MulAdd(v, v, v_squared);
        common = hn::MulAdd(hn::Set(f32, weights.g[i]), diff, common);
        beta = hn::MulAdd(u, hn::Add(hn::Abs(n), beta), beta);
      }
    }
    hn::Store(score, f32, terms.score + e);
    hn::Store(variance, f32, terms.variance + e);
    hn::Store(n, f32, terms.n + e);
    hn::Store(n_squared, f32, terms.n_squared + e);
    if constexpr (kStagnation) hn::Store(stagnation, f32, terms.stagnation + e);
    if constexpr (kExtra) {
      hn::Store(p_abs, f32, terms.p_abs + e);
      hn::Store(p_squared, f32, terms.p_squared + e);
      hn::Store(product, f32, terms.product + e);
      hn::Store(v_abs, f32, terms.v_abs + e);
      hn::Store(v_squared, f32, terms.v_squared + e);
      hn::Store(common, f32, terms.common + e);
      hn::Store(beta, f32, terms.beta + e);
    }
  }
}

void values(const KeyBlock& block, const ValueWeights& weights, const ValueTerms& terms) {
  if (weights.frozen) return value_terms<true, true, true>(block, weights, terms);
  if (weights.extra) return value_terms<true, true, false>(block, weights, terms);
  if (weights.stagnation) return value_terms<true, false, false>(block, weights, terms);
  value_terms<false, false, false>(block, weights, terms);
}

void jacobian(const KeyBlock& keys, const KeyBlock& block, const float* weight, const float* HWY_RESTRICT o,
              const std::int32_t* columns_of_k, std::size_t n_columns, float* HWY_RESTRICT out) {
  const F32 f32;
  for (std::size_t e = 0; e < block.stride; e += hn::Lanes(f32)) {
    const auto centre = hn::Load(f32, o + e);
    for (std::size_t i = 0; i < block.count; ++i) {
      const float* v = block.data + static_cast<std::size_t>(block.rows[i]) * block.stride;
      const float* k = keys.data + static_cast<std::size_t>(keys.rows[i]) * keys.stride;
      const auto t = hn::Mul(hn::Set(f32, weight[i]), hn::Sub(hn::Load(f32, v + e), centre));
      for (std::size_t c = 0; c < n_columns; ++c) {
        float* at = out + c * block.stride + e;
        hn::Store(hn::MulAdd(hn::Set(f32, k[columns_of_k[c]]), t, hn::Load(f32, at)), f32, at);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace attest
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attest {

HWY_EXPORT(padded);
HWY_EXPORT(dots);
HWY_EXPORT(columns);
HWY_EXPORT(values);
HWY_EXPORT(jacobian);

std::size_t budget_padded(std::size_t n) { return HWY_DYNAMIC_DISPATCH(padded)(n); }

void budget_dots(const KeyBlock& keys, const float* q, const double* q_wide, const DotStats& out) {
  HWY_DYNAMIC_DISPATCH(dots)(keys, q, q_wide, out);
}

void budget_columns(const KeyBlock& block, const double* p, const ColumnStats& out) {
  HWY_DYNAMIC_DISPATCH(columns)(block, p, out);
}

void budget_values(const KeyBlock& block, const ValueWeights& weights, const ValueTerms& terms) {
  HWY_DYNAMIC_DISPATCH(values)(block, weights, terms);
}

void budget_jacobian(const KeyBlock& keys, const KeyBlock& block, const float* weight, const float* o,
                     const std::int32_t* columns_of_k, std::size_t n_columns, float* out) {
  HWY_DYNAMIC_DISPATCH(jacobian)(keys, block, weight, o, columns_of_k, n_columns, out);
}

}  // namespace attest
#endif
