#include "backends/cpu/simd.h"

// A few instruction sets say it all: fewer targets, shorter builds. Vector lengths must divide kTileRows / 2.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backends/cpu/simd.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which sets the target these are compiled for.
#include <hwy/highway.h>

#include <cstring>
#include <limits>

#include "backends/cpu/simd_math-inl.h"
#include "backends/cpu/simd_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace attest::cpu::HWY_NAMESPACE {

// Loaders: `Lanes` f32 values from element i of a row of bytes.
struct LoadF32 {
  static constexpr std::int64_t kBytes = 4;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* row, std::int64_t i) {
    return hn::LoadU(d, reinterpret_cast<const float*>(row) + i);
  }
};

struct LoadBf16 {
  static constexpr std::int64_t kBytes = 2;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* row, std::int64_t i) {
    const hn::Rebind<std::uint16_t, D> d16;
    const hn::RebindToUnsigned<D> d32;
    const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(row) + i));
    return hn::BitCast(d, hn::ShiftLeft<16>(bits));
  }
};

struct LoadF16 {
  static constexpr std::int64_t kBytes = 2;
  template <class D>
  static HWY_INLINE hn::Vec<D> load(D d, const std::byte* row, std::int64_t i) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
    const hn::Rebind<hwy::float16_t, D> d16;
    return hn::PromoteTo(d, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(row) + i));
#else
    // Highway's emulation knows neither infinity nor NaN. Moving exponent and mantissa to their places in an f32 and
    // multiplying by 2^112 is exact for all finite halves; the largest exponent becomes the largest f32 exponent.
    const hn::Rebind<std::uint16_t, D> d16;
    const hn::RebindToUnsigned<D> d32;
    const auto h = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(row) + i));
    const auto sign = hn::ShiftLeft<16>(hn::And(h, hn::Set(d32, 0x8000U)));
    const auto magnitude = hn::ShiftLeft<13>(hn::And(h, hn::Set(d32, 0x7fffU)));
    const auto finite = hn::BitCast(d32, hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112F)));
    const auto special = hn::Or(magnitude, hn::Set(d32, 0x7f800000U));
    const auto value = hn::IfThenElse(hn::Gt(magnitude, hn::Set(d32, 0x0f7fffffU)), special, finite);
    return hn::BitCast(d, hn::Or(value, sign));
#endif
  }
};

// One element at the end of a row, without reading past it.
template <class Load>
HWY_INLINE float load_one(const std::byte* row, std::int64_t i) {
  alignas(16) std::byte bytes[16] = {};
  std::memcpy(bytes, row + i * Load::kBytes, static_cast<std::size_t>(Load::kBytes));
  return hn::GetLane(Load::load(hn::CappedTag<float, 4>(), bytes, 0));
}

template <class Load>
HWY_INLINE float dot(const float* q, const std::byte* row, std::int64_t n) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::MulAdd(hn::LoadU(d, q + i), Load::load(d, row, i), s0);
    s1 = hn::MulAdd(hn::LoadU(d, q + i + lanes), Load::load(d, row, i + lanes), s1);
    s2 = hn::MulAdd(hn::LoadU(d, q + i + 2 * lanes), Load::load(d, row, i + 2 * lanes), s2);
    s3 = hn::MulAdd(hn::LoadU(d, q + i + 3 * lanes), Load::load(d, row, i + 3 * lanes), s3);
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::MulAdd(hn::LoadU(d, q + i), Load::load(d, row, i), s0);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  for (; i < n; ++i) sum += q[i] * load_one<Load>(row, i);
  return sum;
}

float dot_f32(const float* q, const std::byte* row, std::int64_t n) { return dot<LoadF32>(q, row, n); }
float dot_f16(const float* q, const std::byte* row, std::int64_t n) { return dot<LoadF16>(q, row, n); }
float dot_bf16(const float* q, const std::byte* row, std::int64_t n) { return dot<LoadBf16>(q, row, n); }

template <class Load>
HWY_INLINE void axpy(float w, const std::byte* row, float* acc, std::int64_t n) {
  const F32 d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto weight = hn::Set(d, w);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(hn::MulAdd(weight, Load::load(d, row, i), hn::LoadU(d, acc + i)), d, acc + i);
  for (; i < n; ++i) {
    const auto value = hn::Set(one, load_one<Load>(row, i));
    hn::StoreU(hn::MulAdd(hn::Set(one, w), value, hn::LoadU(one, acc + i)), one, acc + i);
  }
}

void axpy_f32(float w, const std::byte* row, float* acc, std::int64_t n) { axpy<LoadF32>(w, row, acc, n); }
void axpy_f16(float w, const std::byte* row, float* acc, std::int64_t n) { axpy<LoadF16>(w, row, acc, n); }
void axpy_bf16(float w, const std::byte* row, float* acc, std::int64_t n) { axpy<LoadBf16>(w, row, acc, n); }

template <class Load>
HWY_INLINE void decode(const std::byte* row, float* dst, std::int64_t n) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(Load::load(d, row, i), d, dst + i);
  for (; i < n; ++i) dst[i] = load_one<Load>(row, i);
}

void decode_f16(const std::byte* row, float* dst, std::int64_t n) { decode<LoadF16>(row, dst, n); }
void decode_bf16(const std::byte* row, float* dst, std::int64_t n) { decode<LoadBf16>(row, dst, n); }

// 34 bytes per block: an f16 factor, then 32 signed bytes. Factor (11 bits) times code (8 bits) is exact in f32.
void decode_q8_0(const std::byte* row, float* dst, std::int64_t n) {
  const F32 d;
  const hn::Rebind<std::int32_t, F32> d32;
  const hn::Rebind<std::int8_t, F32> d8;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < n; i += 32, row += 34) {
    const auto factor = hn::Set(d, load_one<LoadF16>(row, 0));
    const auto* codes = reinterpret_cast<const std::int8_t*>(row + 2);
    for (std::int64_t k = 0; k < 32; k += lanes) {
      hn::StoreU(hn::Mul(factor, hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, codes + k)))), d, dst + i + k);
    }
  }
}

// dst[i] = f(src[i]); the tail goes through the same f, one lane at a time.
template <class F>
HWY_INLINE void map(const float* src, float* dst, std::int64_t n, F f) {
  const F32 d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(f(d, hn::LoadU(d, src + i)), d, dst + i);
  for (; i < n; ++i) hn::StoreU(f(one, hn::LoadU(one, src + i)), one, dst + i);
}

struct ScaleBy {
  float factor;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hn::Mul(x, hn::Set(d, factor));
  }
};
struct DivideBy {
  float by;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hn::Div(x, hn::Set(d, by));
  }
};
struct CapTo {
  float cap;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return hn::Mul(hn::Set(d, cap), tanh_f32(d, hn::Div(x, hn::Set(d, cap))));
  }
};
struct Exp {
  template <class D, class V>
  HWY_INLINE V operator()(D d, V x) const {
    return exp_f32(d, x);
  }
};

void scale(float factor, float* x, std::int64_t n) { map(x, x, n, ScaleBy{factor}); }
void divide(const float* x, float by, std::byte* dst, std::int64_t n) {
  map(x, reinterpret_cast<float*>(dst), n, DivideBy{by});
}
void softcap(float cap, float* x, std::int64_t n) { map(x, x, n, CapTo{cap}); }
void exp(float* x, std::int64_t n) { map(x, x, n, Exp{}); }
float exp_one(float x) { return hn::GetLane(exp_f32(One(), hn::Set(One(), x))); }
float tanh_one(float x) { return hn::GetLane(tanh_f32(One(), hn::Set(One(), x))); }

void bias(float slope, const float* mask, float* x, std::int64_t n) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float hidden = -std::numeric_limits<float>::infinity();
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto m = hn::LoadU(d, mask + i);
    const auto biased = hn::Add(hn::LoadU(d, x + i), hn::Mul(hn::Set(d, slope), m));
    hn::StoreU(hn::IfThenElse(hn::Eq(m, hn::Set(d, hidden)), m, biased), d, x + i);
  }
  for (; i < n; ++i) x[i] = mask[i] == hidden ? hidden : x[i] + slope * mask[i];
}

const Primitives* table() {
  static const Primitives primitives = [] {
    Primitives p;
    p.target = hwy::TargetName(HWY_TARGET);
    p.fma = HWY_NATIVE_FMA != 0;
    p.dot_f32 = dot_f32;
    p.dot_f16 = dot_f16;
    p.dot_bf16 = dot_bf16;
    p.axpy_f32 = axpy_f32;
    p.axpy_f16 = axpy_f16;
    p.axpy_bf16 = axpy_bf16;
    p.decode_f16 = decode_f16;
    p.decode_bf16 = decode_bf16;
    p.decode_q8_0 = decode_q8_0;
    p.scale = scale;
    p.divide = divide;
    p.softcap = softcap;
    p.bias = bias;
    p.exp = exp;
    p.exp_one = exp_one;
    p.tanh_one = tanh_one;
    p.scores = scores;
    p.column_max = column_max;
    p.column_exp = column_exp;
    p.column_sum = column_sum;
    p.values = values;
    p.lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
    return p;
  }();
  return &primitives;
}

}  // namespace attest::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attest::cpu {

HWY_EXPORT(table);

const Primitives& primitives() { return *HWY_DYNAMIC_DISPATCH(table)(); }

}  // namespace attest::cpu
#endif
