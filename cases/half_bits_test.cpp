#include "cases/half_bits.h"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>

#include "cases/dtype.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace attest {
namespace {

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

// Floats that tell roundings apart: both neighbours of every point halfway between two values of a 16-bit type, the
// points themselves, and a walk through all exponents with a stride prime to every mantissa pattern.
void for_each_telling_float(int dropped_bits, const std::function<void(float)>& visit) {
  const std::uint32_t half_step = 1U << (dropped_bits - 1);
  for (std::uint64_t high = 0; high < (1ULL << (32 - dropped_bits)); ++high) {
    const auto word = static_cast<std::uint32_t>(high << dropped_bits);
    for (const std::uint32_t offset : {0U, 1U, half_step - 1, half_step, half_step + 1, 2 * half_step - 1})
      visit(std::bit_cast<float>(word + offset));
  }
  for (std::uint64_t word = 0; word <= 0xffffffffULL; word += 4099)
    visit(std::bit_cast<float>(static_cast<std::uint32_t>(word)));
  // f16's subnormals drop more bits: halfway points m + 1/2 in units of 2^-24, one ulp to either side.
  for (int m = 0; m < 1024; ++m) {
    const float tie = (static_cast<float>(m) + 0.5F) * 0x1p-24F;
    for (const float value : {std::nextafter(tie, 0.0F), tie, std::nextafter(tie, 1.0F)}) {
      visit(value);
      visit(-value);
    }
  }
}

TEST(HalfBits, EveryF16DecodesAsEigen) {
  for (std::uint32_t h = 0; h <= 0xffff; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float ours = f16_to_f32(half);
    const float theirs = Eigen::half_impl::half_to_float(Eigen::half_impl::raw_uint16_to_half(half));
    if (std::isnan(theirs)) {
      // The payload stays, the quiet bit is set.
      ASSERT_EQ(bits_of(ours), bits_of(theirs) | 0x00400000U) << h;
    } else {
      ASSERT_EQ(bits_of(ours), bits_of(theirs)) << h;
    }
  }
}

TEST(HalfBits, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t h = 0; h <= 0xffff; ++h) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(h));
    const std::uint32_t expected = std::isnan(value) ? (h & 0x8000U) | 0x7e00U : h;
    ASSERT_EQ(f32_to_f16(value), expected);
  }
}

TEST(HalfBits, F16RoundsAsEigen) {
  for_each_telling_float(13, [](float value) {
    const std::uint16_t ours = f32_to_f16(value);
    const std::uint16_t theirs = Eigen::half_impl::float_to_half_rtne(value).x;
    if (std::isnan(value)) {
      ASSERT_EQ(ours & 0x7fffU, 0x7e00U) << std::hexfloat << value;
    } else {
      ASSERT_EQ(ours, theirs) << std::hexfloat << value;
    }
  });
}

TEST(HalfBits, F16OverflowsAtHalfAStepBeyondTheLargest) {
  EXPECT_EQ(f32_to_f16(65504.0F), 0x7bff);
  EXPECT_EQ(f32_to_f16(std::nextafter(65520.0F, 0.0F)), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0F), 0x7c00);
  EXPECT_EQ(f32_to_f16(-65520.0F), 0xfc00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25F), 0x0000);  // tie, even is zero
  EXPECT_EQ(f32_to_f16(std::nextafter(0x1p-25F, 1.0F)), 0x0001);
}

TEST(HalfBits, EveryBf16DecodesAndSurvivesTheRoundTrip) {
  for (std::uint32_t h = 0; h <= 0xffff; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float ours = bf16_to_f32(half);
    const auto theirs = static_cast<float>(Eigen::numext::bit_cast<Eigen::bfloat16>(half));
    ASSERT_EQ(bits_of(ours), bits_of(theirs)) << h;
    ASSERT_EQ(f32_to_bf16(ours), std::isnan(ours) ? h | 0x40U : h) << h;
  }
}

TEST(HalfBits, Bf16RoundsAsEigen) {
  for_each_telling_float(16, [](float value) {
    const std::uint16_t ours = f32_to_bf16(value);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(ours))) << std::hexfloat << value;
    } else {
      ASSERT_EQ(ours, Eigen::bfloat16_impl::float_to_bfloat16_rtne<false>(value).value) << std::hexfloat << value;
    }
  });
}

#if defined(__x86_64__)
// clang 14 has no name for it: bit 29 of leaf 1, usable where AVX is.
bool processor_has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __builtin_cpu_supports("avx") != 0 && __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx >> 29 & 1U) != 0;
}
__attribute__((target("f16c"))) float f16c_decode(std::uint16_t half) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
}
__attribute__((target("f16c"))) std::uint16_t f16c_encode(float value) {
  const __m128i packed = _mm_cvtps_ph(_mm_set_ss(value), _MM_FROUND_TO_NEAREST_INT);
  return static_cast<std::uint16_t>(_mm_extract_epi16(packed, 0));
}

TEST(HalfBits, F16IsWhatTheProcessorSays) {
  if (!processor_has_f16c()) GTEST_SKIP() << "this processor has no F16C";
  for (std::uint32_t h = 0; h <= 0xffff; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    ASSERT_EQ(bits_of(f16_to_f32(half)), bits_of(f16c_decode(half))) << h;
  }
  for_each_telling_float(13, [](float value) {
    if (std::isnan(value)) return;
    ASSERT_EQ(f32_to_f16(value), f16c_encode(value)) << std::hexfloat << value;
  });
}
#endif

}  // namespace
}  // namespace attest
