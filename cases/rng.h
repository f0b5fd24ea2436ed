// Counter-based random numbers: value = f(seed, stream, index), the same on every machine and thread count.
#pragma once

#include <bit>
#include <cstdint>

namespace attest {

// 64 random bits for one counter: two rounds of the murmur3/splitmix finaliser over seed, stream and index.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  x ^= x >> 31;
  return x;
}

class Rng {
 public:
  constexpr Rng(std::uint64_t seed, std::uint64_t stream)
      : key_(mix64(seed + 0x9e3779b97f4a7c15ULL) ^ mix64(stream * 0xd1b54a32d192ed03ULL + 0x8bb84b93962eacc9ULL)) {}

  constexpr std::uint64_t bits(std::uint64_t index) const {
    return mix64(key_ + mix64(index * 0x9e3779b97f4a7c15ULL + key_));
  }
  // Uniform in [-1, 1), 24 random bits: exact in f32.
  constexpr float uniform(std::uint64_t index) const {
    return static_cast<float>(static_cast<std::int32_t>(bits(index) >> 40) - (1 << 23)) * 0x1p-23F;
  }
  // Standard normal up to 1.5 % in density, tails to 8 standard deviations, by integer arithmetic alone (libm differs
  // between machines): a binomial(64, 1/2) count plus uniform dither, scaled to variance 1.
  constexpr float normal(std::uint64_t index) const {
    const std::uint64_t b = bits(index);
    const auto count = static_cast<float>(std::popcount(b)) - 32.0F;
    const auto dither = static_cast<float>(static_cast<std::int32_t>(mix64(b) >> 40)) * 0x1p-24F - 0.5F;
    return (count + dither) * kNormalScale;
  }

 private:
  static constexpr float kNormalScale = 0.24935149F;  // 1/sqrt(16 + 1/12)
  std::uint64_t key_;
};

}  // namespace attest
