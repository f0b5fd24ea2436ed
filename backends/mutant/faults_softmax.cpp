// Faults of the online softmax: rescaling, the maximum, weights that are left out.
#include <cmath>

#include "backends/mutant/fault.h"

namespace attest::mutant {

using cpu::KeyPlace, cpu::RowPlace, cpu::Primitives, cpu::kInfinity;

namespace {

// Rescaling.
struct RescaleAccMissed : Fault {
  static float rescale_acc(float, const KeyPlace&) { return 1; }
};
struct RescaleSumMissed : Fault {
  static float rescale_sum(float, const KeyPlace&) { return 1; }
};
struct RescaleTwice : Fault {
  static float rescale_acc(float factor, const KeyPlace&) { return factor * factor; }
};
struct RescaleMissedEvery256 : Fault {
  static float rescale_acc(float factor, const KeyPlace& at) { return at.key % 256 == 0 ? 1 : factor; }
};
struct RescaleFlushed : Fault {
  static float flushed(float factor) { return factor < 1e-4F ? 0 : factor; }
  static float rescale_sum(float factor, const KeyPlace&) { return flushed(factor); }
  static float rescale_acc(float factor, const KeyPlace&) { return flushed(factor); }
};
struct RescaleFactorF16 : Fault {
  static float rescale_acc(float factor, const KeyPlace&) { return as_f16(factor); }
};
struct MergeSumUnscaled : Fault {
  static float merge_sum(float, const RowPlace&, std::int64_t) { return 1; }
};
struct MergeAccUnscaled : Fault {
  static float merge_acc(float, const RowPlace&, std::int64_t) { return 1; }
};
struct MergeFirstUnscaled : Fault {
  static float merge_acc(float factor, const RowPlace&, std::int64_t chunk) { return chunk == 0 ? 1 : factor; }
};

// The maximum.
struct MaxFiniteStart : Fault {
  static float initial_max() { return -32752; }  // -65504 / 2
};
struct MaxZeroStart : Fault {
  static float initial_max() { return 0; }
};
struct MaxNotSubtracted : Fault {
  static float reference(float) { return 0; }
};
struct MaxOfFirstKey : Fault {
  static float next_max(float max, float logit) { return max == -kInfinity ? logit : max; }
};
struct MaxF16 : Fault {
  static float reference(float max) { return max == -kInfinity ? 0 : as_f16(max); }
};
struct MaxUnguarded : Fault {
  static float reference(float max) { return max; }
};
struct LogitSentinel : Fault {
  static constexpr bool kEditsLogits = true;
  static float logit(const Primitives& simd, float score, float cap, float slope, float mask) {
    const float right = Production::logit(simd, score, cap, slope, mask);
    return right <= -5e4F ? -kInfinity : right;
  }
};

// Weights left out.
struct CutoffE2 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-2F ? 0 : weight; }
};
struct CutoffE3 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-3F ? 0 : weight; }
};
struct CutoffE4 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-4F ? 0 : weight; }
};
struct CutoffE5 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-5F ? 0 : weight; }
};
struct CutoffE6 : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-6F ? 0 : weight; }
};
struct CutoffWhole : Fault {
  static constexpr bool kEditsWeights = true;
  static float weight_in_sum(float weight, const KeyPlace&) { return weight < 1e-3F ? 0 : weight; }
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-3F ? 0 : weight; }
};
struct ExpFloor : Fault {
  static constexpr bool kEditsExp = true;
  static float exp(const Primitives& simd, float x) { return simd.exp_one(x < -10 && x > -kInfinity ? -10 : x); }
};

}  // namespace

ATTEST_RUN(tiled, RescaleAccMissed)
ATTEST_RUN(vec, RescaleSumMissed)
ATTEST_RUN(tiled, RescaleTwice)
ATTEST_RUN(tiled, RescaleMissedEvery256)
ATTEST_RUN(vec, RescaleFlushed)
ATTEST_RUN(tiled, RescaleFactorF16)
ATTEST_RUN(split, MergeSumUnscaled)
ATTEST_RUN(split, MergeAccUnscaled)
ATTEST_RUN(split, MergeFirstUnscaled)
ATTEST_RUN(vec, MaxFiniteStart)
ATTEST_RUN(tiled, MaxZeroStart)
ATTEST_RUN(vec, MaxNotSubtracted)
ATTEST_RUN(vec, MaxOfFirstKey)
ATTEST_RUN(vec, MaxF16)
ATTEST_RUN(tiled, MaxUnguarded)
ATTEST_RUN(tiled, LogitSentinel)
ATTEST_RUN(vec, CutoffE2)
ATTEST_RUN(tiled, CutoffE3)
ATTEST_RUN(vec, CutoffE4)
ATTEST_RUN(split, CutoffE5)
ATTEST_RUN(tiled, CutoffE6)
ATTEST_RUN(vec, CutoffWhole)
ATTEST_RUN(vec, ExpFloor)

}  // namespace attest::mutant
