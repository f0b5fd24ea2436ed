#include "oracles/stored_rows.h"

#include <algorithm>
#include <cmath>

namespace attest {

std::uint16_t nearest_half(DType type, float x) {
  const bool f16 = type == DType::f16;
  const int digits = f16 ? 10 : 7, least = f16 ? -24 : -133;
  const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const auto infinite = static_cast<std::uint16_t>(f16 ? 0x7c00 : 0x7f80);
  if (std::isnan(x)) return static_cast<std::uint16_t>(infinite | 1 << (digits - 1));
  const double size = std::abs(static_cast<double>(x));
  if (size == 0 || std::isinf(size)) return static_cast<std::uint16_t>(sign | (size == 0 ? 0 : infinite));
  const int unit = std::max(std::ilogb(size) - digits, least);
  double steps = std::floor(std::ldexp(size, -unit));
  const double rest = std::ldexp(size, -unit) - steps;  // exact
  if (rest > 0.5 || (rest == 0.5 && std::fmod(steps, 2) == 1)) steps += 1;
  // steps carries the implicit bit of a normal number: adding it to the exponent below does the carry as well.
  const double code = steps + std::ldexp(static_cast<double>(unit - least), digits);
  return static_cast<std::uint16_t>(sign | (code >= infinite ? infinite : static_cast<std::uint16_t>(code)));
}

std::vector<double> stored_bounds(DType type, std::span<const float> block) {
  constexpr double kLargestHalf = 65504, kHalfUnit = 0x1p-11, kHalfFloor = 0x1p-25;
  if (!std::all_of(block.begin(), block.end(), [](float x) { return std::isfinite(x); })) return {};
  double amax = 0, signed_max = 0;
  double low = static_cast<double>(block[0]), high = low;
  for (const float value : block) {
    const auto x = static_cast<double>(value);
    if (std::abs(x) > amax) signed_max = x;
    amax = std::max(amax, std::abs(x));
    low = std::min(low, x);
    high = std::max(high, x);
  }
  const bool five = type == DType::q5_0 || type == DType::q5_1;
  std::vector<double> bounds(block.size());
  if (type == DType::q4_1 || type == DType::q5_1) {
    const double codes = five ? 31 : 15, step = (high - low) / codes;
    if (step > kLargestHalf || std::abs(low) > kLargestHalf) return {};
    const double own = kHalfUnit * (high - low + std::abs(low)) + kHalfFloor * (codes + 1) + 0x1p-20 * amax;
    std::fill(bounds.begin(), bounds.end(), step / 2 + own);
    return bounds;
  }
  const double codes = type == DType::q8_0 ? 127 : five ? 16 : 8, narrow = type == DType::q8_0 ? 127 : codes - 1;
  if (amax / narrow > kLargestHalf) return {};
  const double own = kHalfFloor * codes + 0x1p-20 * amax;
  for (std::size_t e = 0; e < block.size(); ++e) {
    const auto x = static_cast<double>(block[e]);
    // On the side of the largest value there is a code for it; on the other one the last code is a step short.
    const double last = (codes - 1) * amax / codes;
    const bool clipped = type != DType::q8_0 && x * signed_max < 0 && std::abs(x) > last;
    const double half = std::max(amax / narrow / 2, clipped ? std::abs(x) - last : 0);
    bounds[e] = half + kHalfUnit * (std::abs(x) + half) + own;
  }
  return bounds;
}

}  // namespace attest
