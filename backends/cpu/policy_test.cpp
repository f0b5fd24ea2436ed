#include "backends/cpu/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backends/cpu/split.h"
#include "backends/cpu/tiled.h"
#include "backends/cpu/vec.h"
#include "cases/case.h"
#include "cases/inputs.h"

namespace attest::cpu {
namespace {

// Takes every detour the kernels have for policies, and changes nothing.
struct Detours : Production {
  static constexpr bool kEditsMask = true, kEditsScores = true, kEditsLogits = true, kOwnMax = true, kEditsExp = true;
  static constexpr bool kEditsWeights = true, kOwnAccumulate = true;
  static void accumulate(float weight, const float* value, float* acc, std::int64_t n) {
    const Primitives& simd = primitives();
    simd.axpy_f32(weight, reinterpret_cast<const std::byte*>(value), acc, n);
  }
};

struct DropsLastKey : Production {
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) { return {0, p.n_kv - 1}; }
};
struct ForgetsToRescale : Production {
  static float rescale_acc(float, const KeyPlace&) { return 1; }
  static float merge_acc(float, const RowPlace&, std::int64_t) { return 1; }
};
struct WrongHead : Production {
  static std::int64_t k_head(const AttentionProblem& p, std::int64_t head) { return head % p.n_head_kv; }
};
struct DropsSmallWeights : Production {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 0.5F ? 0 : weight; }
};
struct MaskBeforeSoftcap : Production {
  static constexpr bool kEditsLogits = true;
  static float logit(const Primitives& simd, float score, float cap, float slope, float mask) {
    return cap * simd.tanh_one((score + slope * mask) / cap);
  }
};

std::vector<float> run(double (*kernel)(const KernelCall&), const char* line, int threads = 1) {
  const OwnedInputs owned(*parse_case(line));
  Scratches scratch(static_cast<std::size_t>(threads) + 1);
  kernel(KernelCall(owned.inputs(), owned.output(), primitives(), threads, scratch));
  std::vector<float> out(static_cast<std::size_t>(owned.output().elements()));
  std::memcpy(out.data(), owned.output().data, out.size() * sizeof(float));
  return out;
}

constexpr const char* kLine =
    "flash_attn_ext d_k=72 d_v=40 n_head=4 n_head_kv=2 n_q=70 n_kv=150 kv=f16 mask=blocks:8+random:2 softcap=8 "
    "max_bias=4 sinks=uniform:2 data=normal:4";

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(Policy, DetoursAreBitwiseTheProductionKernels) {
  EXPECT_TRUE(same_bits(run(run_vec, kLine), run(vec_kernel<Detours>, kLine)));
  EXPECT_TRUE(same_bits(run(run_tiled, kLine), run(tiled_kernel<Detours>, kLine)));
  EXPECT_TRUE(same_bits(run(run_split, kLine, 3), run(split_kernel<Detours>, kLine, 3)));
}

template <class Policy>
void expect_seen_everywhere() {
  EXPECT_FALSE(same_bits(run(run_vec, kLine), run(vec_kernel<Policy>, kLine)));
  EXPECT_FALSE(same_bits(run(run_tiled, kLine), run(tiled_kernel<Policy>, kLine)));
  EXPECT_FALSE(same_bits(run(run_split, kLine), run(split_kernel<Policy>, kLine)));
}

TEST(Policy, BugsReachEveryKernel) {
  expect_seen_everywhere<DropsLastKey>();
  expect_seen_everywhere<ForgetsToRescale>();
  expect_seen_everywhere<WrongHead>();
  expect_seen_everywhere<DropsSmallWeights>();
  expect_seen_everywhere<MaskBeforeSoftcap>();
}

}  // namespace
}  // namespace attest::cpu
