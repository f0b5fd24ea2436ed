// Rows of random numbers, value = f(row key, column): 32-bit integer hashing (random_fill.h: by vectors).
#pragma once

#include <cstdint>

#include "cases/rng.h"

namespace attest {

// The tensors' and helpers' streams of one seed. Numbers are part of what a descriptor means: never reuse one.
enum class Stream : std::uint64_t {
  q = 1,
  k,
  v,
  mask,
  ggml_mask,
  blocks,
  ggml_blocks,
  sinks,
  direction,
  choice,
  poison,
  output,
  finite_blocks,
  outlier_channel
};

inline Rng rng_of(std::uint64_t seed, Stream stream) { return Rng(seed, static_cast<std::uint64_t>(stream)); }

// Names row i of head h of sequence s whatever the extents of the tensor are, so that a shrunk or grown problem keeps
// the values of the rows it keeps. Below 2^31 rows, 2^16 heads and 2^16 sequences (rules.h).
constexpr std::uint64_t row_id(std::int64_t i, std::int64_t h, std::int64_t s) {
  return static_cast<std::uint64_t>(i) | static_cast<std::uint64_t>(h) << 31 | static_cast<std::uint64_t>(s) << 47;
}

// Two independent 32-bit words per column.
class RandomRow {
 public:
  explicit constexpr RandomRow(std::uint64_t key)
      : low_(static_cast<std::uint32_t>(key)), high_(static_cast<std::uint32_t>(key >> 32)) {}

  constexpr std::uint32_t word(std::uint32_t column) const { return hash(column * 0x9e3779b9U + low_, high_); }
  constexpr std::uint32_t second_word(std::uint32_t column) const { return hash(column * 0x9e3779b9U + high_, ~low_); }

  // Uniform in [-1, 1), 24 bits: exact in f32.
  constexpr float uniform(std::uint32_t column) const {
    return static_cast<float>(static_cast<std::int32_t>(word(column) >> 8) - (1 << 23)) * 0x1p-23F;
  }
  // N(0, 1) as the sum of eight uniform bytes plus a dither: tails to 4.9 standard deviations, excess kurtosis -0.15,
  // integer arithmetic and one product, since libm differs between machines.
  constexpr float normal(std::uint32_t column) const { return bell(word(column), second_word(column)); }

  static constexpr float bell(std::uint32_t a, std::uint32_t b) {
    const std::uint32_t pairs =
        (a & 0x00ff00ffU) + ((a >> 8) & 0x00ff00ffU) + (b & 0x00ff00ffU) + ((b >> 8) & 0x00ff00ffU);
    const auto sum = static_cast<std::int32_t>((pairs & 0xffffU) + (pairs >> 16));
    const auto dither = static_cast<std::int32_t>((a ^ (b >> 3)) & 0xfffU);
    return static_cast<float>(sum * 4096 + dither - (1020 * 4096 + 2048)) * kBellScale;
  }

  static constexpr float kBellScale = 1.16801553e-06F;  // 1 / (4096 sqrt(8 (2^16 - 1) / 12 + 1 / 12))
  constexpr std::uint32_t low() const { return low_; }
  constexpr std::uint32_t high() const { return high_; }

 private:
  // Two multiply-xorshift rounds with the second half of the key between them.
  static constexpr std::uint32_t hash(std::uint32_t x, std::uint32_t key) {
    x ^= x >> 16;
    x *= 0x21f0aaadU;
    x ^= key;
    x ^= x >> 15;
    x *= 0x735a2d97U;
    return x ^ (x >> 15);
  }
  std::uint32_t low_, high_;
};

}  // namespace attest
