// Faults of precision: a number that is stored or worked out in fewer bits than the contract says.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/mutant/fault.h"

namespace attest::mutant {

using cpu::KeyPlace, cpu::Primitives;

namespace {

// x with `bits` significant bits, to nearest; no limit to the exponent.
float with_bits(float x, int bits) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent = 0;
  const float part = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(part, bits)), exponent - bits);
}

// Accumulators and sums.
struct AccF16 : Fault {
  static constexpr bool kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    for (std::int64_t e = 0; e < n; ++e) acc[e] = as_f16(acc[e] + weight * value[e]);
  }
};
struct AccBf16 : Fault {
  static constexpr bool kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    for (std::int64_t e = 0; e < n; ++e) acc[e] = as_bf16(acc[e] + weight * value[e]);
  }
};
struct SumOfF16Weights : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_in_sum(float weight, const KeyPlace&) { return as_f16(weight); }
};
float dot_in_f16(const float* q, const float* row, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum = as_f16(sum + q[i] * row[i]);
  return sum;
}
struct DotF16 : OutsideFault {
  static void before(Call& call) {
    call.simd.dot_f32 = [](const float* q, const std::byte* row, std::int64_t n) {
      std::vector<float> values(static_cast<std::size_t>(n));
      std::memcpy(values.data(), row, values.size() * sizeof(float));
      return dot_in_f16(q, values.data(), n);
    };
    call.simd.dot_f16 = [](const float* q, const std::byte* row, std::int64_t n) {
      std::vector<float> values(static_cast<std::size_t>(n));
      cpu::primitives().decode_f16(row, values.data(), n);
      return dot_in_f16(q, values.data(), n);
    };
  }
};

// Scores, weights, inputs, outputs.
struct ScoreF16 : Fault {
  static float score(float value, const KeyPlace&) { return as_f16(value); }
};
struct ScoreBf16 : Fault {
  static constexpr bool kEditsScores = true;
  static float score(float value, const KeyPlace&) { return as_bf16(value); }
};
struct WeightF16 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return as_f16(weight); }
};
struct WeightBf16 : Fault {
  static float weight_of_value(float weight, const KeyPlace&) { return as_bf16(weight); }
};
struct WeightBf16Truncated : Fault {
  static float weight_of_value(float weight, const KeyPlace&) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &weight, sizeof bits);
    bits &= 0xffff0000U;
    std::memcpy(&weight, &bits, sizeof bits);
    return weight;
  }
};
struct WeightFp8 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return with_bits(weight, 4); }
};
struct WeightInt8 : Fault {
  static float weight_of_value(float weight, const KeyPlace&) { return std::nearbyint(weight * 255) / 255; }
};
struct QF16 : OutsideFault {
  static void before(Call& call) {
    float* q = call.own_q();
    const std::int64_t n = call.in.q.elements();
    std::transform(q, q + n, q, as_f16);
  }
};
struct QBf16 : OutsideFault {
  static void before(Call& call) {
    float* q = call.own_q();
    const std::int64_t n = call.in.q.elements();
    std::transform(q, q + n, q, as_bf16);
  }
};
struct QScaledF16 : OutsideFault {
  static void before(Call& call) {
    float* q = call.own_q();
    const std::int64_t n = call.in.q.elements();
    const float scale = call.problem.scale;
    std::transform(q, q + n, q, [scale](float x) { return as_f16(x * scale); });
    call.problem.scale = 1;
  }
};
struct KStagedF16 : OutsideFault {
  static void before(Call& call) {
    call.simd.dot_f32 = [](const float* q, const std::byte* row, std::int64_t n) {
      std::vector<float> values(static_cast<std::size_t>(n));
      std::memcpy(values.data(), row, values.size() * sizeof(float));
      std::transform(values.begin(), values.end(), values.begin(), as_f16);
      return cpu::primitives().dot_f32(q, reinterpret_cast<const std::byte*>(values.data()), n);
    };
  }
};
template <float round(float)>
void divide_rounded(const float* x, float by, std::byte* dst, std::int64_t n) {
  for (std::int64_t e = 0; e < n; ++e) {
    const float value = round(x[e] / by);
    std::memcpy(dst + 4 * e, &value, sizeof value);
  }
}
struct OutF16 : OutsideFault {
  static void before(Call& call) { call.simd.divide = divide_rounded<as_f16>; }
};
struct OutBf16 : OutsideFault {
  static void before(Call& call) { call.simd.divide = divide_rounded<as_bf16>; }
};

// exp and the scale.
float exp2_with(float x, float at_half) {  // 2^n by the exponent, 2^f by a parabola through 1, at_half and 2
  const float n = std::floor(x), f = x - n;
  const float a = 2 * (1 + 2 - 2 * at_half), b = 1 - a;
  return std::ldexp(1 + f * (b + f * a), static_cast<int>(std::max(n, -1000.0F)));
}
struct ExpParabola : Fault {
  static constexpr bool kEditsExp = true;
  static float exp(const Primitives& simd, float x) {
    return std::isfinite(x) ? exp2_with(x * 1.44269504F, 1.41421356F) : simd.exp_one(x);
  }
};
struct ExpLinear : Fault {
  static float exp(const Primitives& simd, float x) {
    return std::isfinite(x) ? exp2_with(x * 1.44269504F, 1.5F) : simd.exp_one(x);
  }
};
struct ExpShortLog2e : Fault {
  static constexpr bool kEditsExp = true;
  static float exp(const Primitives& simd, float x) { return simd.exp_one(x * (1.4427F / 1.44269504F)); }
};
struct ExpError1e3 : Fault {
  static float exp(const Primitives& simd, float x) { return simd.exp_one(x) * (1 + 1e-3F * std::sin(20 * x)); }
};
struct ScaleHalfPercent : Fault {
  static float scale(const AttentionProblem& p) { return p.scale * 1.005F; }
};
struct ScaleF16 : Fault {
  static float scale(const AttentionProblem& p) { return as_f16(p.scale); }
};
struct ScaleFromDv : Fault {
  static float scale(const AttentionProblem& p) {
    return p.scale * std::sqrt(static_cast<float>(p.d_k) / static_cast<float>(p.d_v));
  }
};

}  // namespace

ATTEST_RUN(vec, AccF16)
ATTEST_RUN(tiled, AccBf16)
ATTEST_RUN(vec, SumOfF16Weights)
ATTEST_RUN(vec, DotF16)
ATTEST_RUN(vec, ScoreF16)
ATTEST_RUN(tiled, ScoreBf16)
ATTEST_RUN(tiled, WeightF16)
ATTEST_RUN(vec, WeightBf16)
ATTEST_RUN(split, WeightBf16Truncated)
ATTEST_RUN(tiled, WeightFp8)
ATTEST_RUN(vec, WeightInt8)
ATTEST_RUN(tiled, QF16)
ATTEST_RUN(tiled, QBf16)
ATTEST_RUN(vec, QScaledF16)
ATTEST_RUN(vec, KStagedF16)
ATTEST_RUN(tiled, OutF16)
ATTEST_RUN(vec, OutBf16)
ATTEST_RUN(tiled, ExpParabola)
ATTEST_RUN(vec, ExpLinear)
ATTEST_RUN(tiled, ExpShortLog2e)
ATTEST_RUN(split, ExpError1e3)
ATTEST_RUN(tiled, ScaleHalfPercent)
ATTEST_RUN(vec, ScaleF16)
ATTEST_RUN(tiled, ScaleFromDv)

}  // namespace attest::mutant
