// exp and tanh in f32 for any vector length; included once per instruction set.

#if defined(ATTEST_CPU_SIMD_MATH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTEST_CPU_SIMD_MATH_INL
#undef ATTEST_CPU_SIMD_MATH_INL
#else
#define ATTEST_CPU_SIMD_MATH_INL
#endif

#include <hwy/highway.h>

#include <limits>

HWY_BEFORE_NAMESPACE();
namespace attest::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

// exp(x) = 2^n exp(r), |r| <= ln2 / 2; exp(r) = 1 + r + r^2 p(r) with p fitted to 0.05 ulp (weighted minimax). Below
// 2^-126 the result is 0, above the largest float infinity, NaN stays NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_f32(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V lo = hn::Set(d, -87.33654F), hi = hn::Set(d, 88.722839F);
  const V n = hn::Round(hn::Mul(hn::Min(hn::Max(x, lo), hi), hn::Set(d, 1.44269504F)));
  const V clamped = hn::Min(hn::Max(x, lo), hi);
  // ln2 in two parts; n times the first is exact.
  V r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1F), clamped);
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20F), r);
  V p = hn::Set(d, 0x1.6a2430p-10F);
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.1239e4p-7F));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.5558f2p-5F));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.555492p-3F));
  p = hn::MulAdd(p, r, hn::Set(d, 0x1.fffffcp-2F));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), hn::Set(d, 1.0F));
  // 2^n in two factors: n = 128 has no float of its own.
  const auto ni = hn::ConvertTo(di, n);
  const auto half = hn::ShiftRight<1>(ni);
  const auto bias = hn::Set(di, 127);
  const V two_a = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const V two_b = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(ni, half), bias)));
  V y = hn::Mul(hn::Mul(p, two_a), two_b);
  y = hn::IfThenElse(hn::Lt(x, lo), hn::Zero(d), y);
  y = hn::IfThenElse(hn::Gt(x, hi), hn::Set(d, std::numeric_limits<float>::infinity()), y);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

// tanh(x): x + x^3 p(x^2) up to 0.625 (0.07 ulp, so that small arguments keep their relative accuracy), beyond it
// 1 - 2 / (exp(2|x|) + 1) with the sign of x.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V tanh_f32(D d, V x) {
  const V a = hn::Abs(x), one = hn::Set(d, 1.0F), two = hn::Set(d, 2.0F);
  const V x2 = hn::Mul(x, x);
  V p = hn::Set(d, -0x1.75e1cep-8F);
  p = hn::MulAdd(p, x2, hn::Set(d, 0x1.52269cp-6F));
  p = hn::MulAdd(p, x2, hn::Set(d, -0x1.b83c5ap-5F));
  p = hn::MulAdd(p, x2, hn::Set(d, 0x1.110726p-3F));
  p = hn::MulAdd(p, x2, hn::Set(d, -0x1.555532p-2F));
  const V small = hn::MulAdd(hn::Mul(p, x2), x, x);
  const V large = hn::Sub(one, hn::Div(two, hn::Add(exp_f32(d, hn::Mul(two, a)), one)));
  return hn::IfThenElse(hn::Lt(a, hn::Set(d, 0.625F)), small, hn::CopySign(large, x));
}

}  // namespace attest::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
