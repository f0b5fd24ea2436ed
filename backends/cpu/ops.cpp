#include "backends/cpu/ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "backends/cpu/ops-inl.h"

namespace attest::cpu {
namespace {

// To nearest even by the adder's own rounding of a double; NaN stays NaN.
std::uint16_t to_f16(float value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double x = std::fabs(static_cast<double>(value));
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00);
  if (x >= 65520.0) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (x < 0x1p-14) return static_cast<std::uint16_t>(sign | static_cast<int>(std::nearbyint(x * 0x1p24)));
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);                        // [0.5, 1)
  const int digits = static_cast<int>(std::nearbyint(fraction * 2048.0));  // 1024 .. 2048
  return static_cast<std::uint16_t>(sign | (((exponent + 13) << 10) + digits));
}

std::uint16_t to_bf16(float value) {
  if (std::isnan(value)) return 0x7fc0;
  if (std::isinf(value)) return std::signbit(value) ? 0xff80 : 0x7f80;
  // Twice 65536 steps of 2^-133 below the normal numbers: exact in double, rounded to a multiple of 2^16 of f32's bits.
  int exponent = 0;
  const double x = std::fabs(static_cast<double>(value));
  std::frexp(x, &exponent);
  const int unit = std::max(exponent - 8, -133);
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  std::uint32_t bits = 0x7f800000U;
  const auto narrow = static_cast<float>(rounded);
  std::memcpy(&bits, &narrow, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16 | (std::signbit(value) ? 0x8000U : 0U));
}

void put_half(std::byte* at, float value) {
  const std::uint16_t half = to_f16(value);
  std::memcpy(at, &half, sizeof half);
}

constexpr std::int64_t kBlock = 32;

void store_q8_0(const float* x, std::byte* dst) {
  float largest = 0;
  for (std::int64_t e = 0; e < kBlock; ++e) largest = std::max(largest, std::fabs(x[e]));
  const float step = largest / 127;
  put_half(dst, step);
  for (std::int64_t e = 0; e < kBlock; ++e) {
    const float code = step > 0 ? std::nearbyint(x[e] / step) : 0;
    dst[2 + e] = static_cast<std::byte>(static_cast<std::int8_t>(std::clamp(code, -127.0F, 127.0F)));
  }
}

// Codes of 4 or 5 bits, the low four of element e and of e + 16 in one byte, fifth bits in a word in front of them.
void put_codes(const std::array<int, kBlock>& codes, bool five, std::byte* dst) {
  std::uint32_t high = 0;
  if (five) {
    for (std::size_t e = 0; e < kBlock; ++e) high |= static_cast<std::uint32_t>(codes[e] >> 4 & 1) << e;
    std::memcpy(dst, &high, sizeof high);
    dst += sizeof high;
  }
  for (std::size_t e = 0; e < kBlock / 2; ++e) {
    dst[e] = static_cast<std::byte>((codes[e] & 15) | (codes[e + kBlock / 2] & 15) << 4);
  }
}

// q4_0, q5_0: the value of the largest size gets the lowest code, -half.
void store_symmetric(const float* x, bool five, std::byte* dst) {
  float largest = 0;
  for (std::int64_t e = 0; e < kBlock; ++e) {
    if (std::fabs(x[e]) > std::fabs(largest)) largest = x[e];
  }
  const int half = five ? 16 : 8;
  const float step = largest / static_cast<float>(-half);
  put_half(dst, step);
  std::array<int, kBlock> codes{};
  for (std::size_t e = 0; e < kBlock; ++e) {
    const float code = step != 0 ? std::nearbyint(x[e] / step) : 0;
    codes[e] = static_cast<int>(std::clamp(code, static_cast<float>(-half), static_cast<float>(half - 1))) + half;
  }
  put_codes(codes, five, dst + 2);
}

// q4_1, q5_1: steps up from the smallest value.
void store_affine(const float* x, bool five, std::byte* dst) {
  const auto [low, high] = std::minmax_element(x, x + kBlock);
  const float top = five ? 31 : 15, step = (*high - *low) / top;
  put_half(dst, step);
  put_half(dst + 2, *low);
  std::array<int, kBlock> codes{};
  for (std::size_t e = 0; e < kBlock; ++e) {
    const float code = step > 0 ? std::nearbyint((x[e] - *low) / step) : 0;
    codes[e] = static_cast<int>(std::clamp(code, 0.0F, top));
  }
  put_codes(codes, five, dst + 4);
}

void store_block(DType type, const float* x, std::byte* dst) {
  // Nothing is promised about a block with a value that is not finite, but the arithmetic below wants finite ones.
  std::array<float, kBlock> finite;
  std::transform(x, x + kBlock, finite.begin(), [](float v) { return std::isfinite(v) ? v : 0.0F; });
  if (type == DType::q8_0) return store_q8_0(finite.data(), dst);
  const bool five = type == DType::q5_0 || type == DType::q5_1;
  if (type == DType::q4_0 || type == DType::q5_0) return store_symmetric(finite.data(), five, dst);
  store_affine(finite.data(), five, dst);
}

}  // namespace

void store_row(DType type, const float* row, std::byte* dst, std::int64_t n) {
  if (type == DType::f32) {
    if (n > 0) std::memcpy(dst, row, static_cast<std::size_t>(4 * n));
    return;
  }
  if (type == DType::f16 || type == DType::bf16) {
    for (std::int64_t e = 0; e < n; ++e) {
      const std::uint16_t half = type == DType::f16 ? to_f16(row[e]) : to_bf16(row[e]);
      std::memcpy(dst + 2 * e, &half, sizeof half);
    }
    return;
  }
  for (std::int64_t b = 0; b < n / kBlock; ++b) store_block(type, row + b * kBlock, dst + b * info(type).block_bytes);
}

template double soft_max<OpProduction>(const AttentionInputs&, const MutableTensorView&, const Primitives&,
                                       std::int64_t, int);
template double set_rows<OpProduction>(const AttentionInputs&, const MutableTensorView&, int);
template Outcome decode<OpProduction>(const AttentionInputs&, const MutableTensorView&, const Attend&);

}  // namespace attest::cpu
