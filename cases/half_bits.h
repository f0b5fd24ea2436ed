// Conversions between f32 and the two halves as plain bit arithmetic that a compiler turns into vector code.
#pragma once

#include <bit>
#include <cstdint>

namespace attest {

constexpr float f16_bits_to_f32(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffU) << 13;
  const std::uint32_t exponent = magnitude & 0x0f800000U;
  const std::uint32_t normal = magnitude + 0x38000000U;
  // A subnormal m * 2^-24 is 2^-14 (1 + m 2^-10) - 2^-14: exact, and no f32 subnormal on the way.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude + 0x38800000U) - 0x1p-14F);
  const std::uint32_t quiet = magnitude > 0x0f800000U ? 0x00400000U : 0U;
  const std::uint32_t special = (magnitude | 0x7f800000U) | quiet;
  const std::uint32_t finite = exponent == 0 ? subnormal : normal;
  return std::bit_cast<float>(sign | (exponent == 0x0f800000U ? special : finite));
}

constexpr std::uint16_t f32_to_f16_bits(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = word & 0x7fffffffU;
  const std::uint32_t sign = (word & 0x80000000U) >> 16;
  // Carry runs into the exponent, so 65520 and above become infinity by themselves.
  const std::uint32_t normal = ((magnitude + 0xfffU + ((magnitude >> 13) & 1U)) >> 13) - (112U << 10);
  // 0.5 has the step of f16's subnormals: the adder does the rounding.
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  const std::uint32_t finite = magnitude < 0x38800000U ? subnormal : normal;
  const std::uint32_t special = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
  return static_cast<std::uint16_t>(sign | (magnitude >= 0x47800000U ? special : finite));
}

constexpr float bf16_bits_to_f32(std::uint16_t half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

constexpr std::uint16_t f32_to_bf16_bits(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (word + 0x7fffU + ((word >> 16) & 1U)) >> 16;
  const std::uint32_t quiet_nan = (word >> 16) | 0x40U;
  return static_cast<std::uint16_t>((word & 0x7fffffffU) > 0x7f800000U ? quiet_nan : rounded);
}

}  // namespace attest
