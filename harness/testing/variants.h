// For tests: policies of the CPU kernels in narrower arithmetic than they state.
#pragma once

#include "backends/cpu/split.h"
#include "backends/cpu/tiled.h"
#include "backends/cpu/vec.h"
#include "cases/half_bits.h"

namespace attest::testing {

using cpu::KernelCall;
using cpu::KeyPlace;
using cpu::Production;

inline float to_f16(float x) { return f16_bits_to_f32(f32_to_f16_bits(x)); }
inline float to_bf16(float x) { return bf16_bits_to_f32(f32_to_bf16_bits(x)); }

struct F16Accumulator : Production {
  static constexpr bool kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) acc[i] = to_f16(acc[i] + weight * value[i]);
  }
};
struct PF16 : Production {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return to_f16(weight); }
};
struct PBf16 : Production {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return to_bf16(weight); }
};
struct ScoresF16 : Production {
  static constexpr bool kEditsScores = true;
  static float score(float value, const KeyPlace&) { return to_f16(value); }
};

}  // namespace attest::testing
