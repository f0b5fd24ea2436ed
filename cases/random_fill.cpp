#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cases/random_fill.cpp"
#include "cases/random_fill.h"

#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace attest::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F32 = hn::ScalableTag<float>;
using U32 = hn::RebindToUnsigned<F32>;
using I32 = hn::RebindToSigned<F32>;
using Words = hn::Vec<U32>;
constexpr F32 f32;
constexpr U32 u32;
constexpr I32 i32;

Words hash(Words x, Words key) {
  x = hn::Xor(x, hn::ShiftRight<16>(x));
  x = hn::Xor(hn::Mul(x, hn::Set(u32, 0x21f0aaadU)), key);
  x = hn::Xor(x, hn::ShiftRight<15>(x));
  x = hn::Mul(x, hn::Set(u32, 0x735a2d97U));
  return hn::Xor(x, hn::ShiftRight<15>(x));
}

// The word of column e is the hash of e * kStep + offset.
constexpr std::uint32_t kStep = 0x9e3779b9U;
Words columns() { return hn::Mul(hn::Iota(u32, 0), hn::Set(u32, kStep)); }

}  // namespace

void uniform(RandomRow random, float* HWY_RESTRICT row, std::uint32_t n) {
  const auto lanes = static_cast<std::uint32_t>(hn::Lanes(f32));
  const auto key = hn::Set(u32, random.high());
  auto x = hn::Add(columns(), hn::Set(u32, random.low()));
  const auto step = hn::Set(u32, lanes * kStep);
  std::uint32_t e = 0;
  for (; e + lanes <= n; e += lanes, x = hn::Add(x, step)) {
    const auto drawn = hn::BitCast(i32, hn::ShiftRight<8>(hash(x, key)));
    const auto value = hn::ConvertTo(f32, hn::Sub(drawn, hn::Set(i32, 1 << 23)));
    hn::StoreU(hn::Mul(value, hn::Set(f32, 0x1p-23F)), f32, row + e);
  }
  for (; e < n; ++e) row[e] = random.uniform(e);
}

void normal(RandomRow random, float deviation, float* HWY_RESTRICT row, std::uint32_t n) {
  const auto lanes = static_cast<std::uint32_t>(hn::Lanes(f32));
  const auto low = hn::Set(u32, random.low()), high = hn::Set(u32, random.high()), other = hn::Set(u32, ~random.low());
  const auto bytes = hn::Set(u32, 0x00ff00ffU), size = hn::Set(u32, 0xffffU);
  const auto pair = [&](Words word) { return hn::Add(hn::And(word, bytes), hn::And(hn::ShiftRight<8>(word), bytes)); };
  auto x = columns();
  const auto step = hn::Set(u32, lanes * kStep);
  std::uint32_t e = 0;
  for (; e + lanes <= n; e += lanes, x = hn::Add(x, step)) {
    const auto a = hash(hn::Add(x, low), high), b = hash(hn::Add(x, high), other);
    const auto pairs = hn::Add(pair(a), pair(b));
    const auto sum = hn::Add(hn::And(pairs, size), hn::ShiftRight<16>(pairs));
    const auto dither = hn::And(hn::Xor(a, hn::ShiftRight<3>(b)), hn::Set(u32, 0xfffU));
    const auto drawn = hn::BitCast(i32, hn::Add(hn::ShiftLeft<12>(sum), dither));
    const auto bell = hn::ConvertTo(f32, hn::Sub(drawn, hn::Set(i32, 1020 * 4096 + 2048)));
    hn::StoreU(hn::Mul(hn::Mul(bell, hn::Set(f32, RandomRow::kBellScale)), hn::Set(f32, deviation)), f32, row + e);
  }
  for (; e < n; ++e) row[e] = random.normal(e) * deviation;
}

}  // namespace attest::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attest {

HWY_EXPORT(uniform);
HWY_EXPORT(normal);

void fill_uniform(const RandomRow& random, float* row, std::uint32_t n) {
  HWY_DYNAMIC_DISPATCH(uniform)(random, row, n);
}

void fill_normal(const RandomRow& random, float deviation, float* row, std::uint32_t n) {
  HWY_DYNAMIC_DISPATCH(normal)(random, deviation, row, n);
}

}  // namespace attest
#endif
