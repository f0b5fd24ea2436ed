// A kernel of thirty lines under the whole of suite quick, one output looked at by hand, and a kernel with a bug.
#include <attest/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

// Element of a row, f32 or f16.
float at(const attest_tensor& t, const char* row, std::int64_t i) {
  if (t.dtype == ATTEST_F32) {
    float value;
    std::memcpy(&value, row + i * t.nb[0], sizeof value);
    return value;
  }
  std::uint16_t half;
  std::memcpy(&half, row + i * t.nb[0], sizeof half);
  // The bits in the places of an f32, and its smaller exponent range; then infinity and NaN.
  const std::uint32_t bits = (half & 0x8000U) << 16 | (half & 0x7fffU) << 13;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  value *= 0x1p112F;
  return (half & 0x7c00U) == 0x7c00U ? ((half & 0x3ffU) != 0 ? NAN : std::copysign(INFINITY, value)) : value;
}

const char* row(const attest_tensor& t, std::int64_t i1, std::int64_t i2, std::int64_t i3) {
  return static_cast<const char*>(t.data) + i1 * t.nb[1] + i2 * t.nb[2] + i3 * t.nb[3];
}

// Online softmax, one key at a time, everything in f32. `keys`: how many of them it looks at.
void attention(const attest_problem& p, std::int64_t keys, float* out) {
  std::vector<float> sum(static_cast<std::size_t>(p.d_v));
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    for (std::int64_t i = 0; i < p.n_q; ++i) {
      for (std::int64_t h = 0; h < p.n_head; ++h) {
        float max = -INFINITY, total = 0;
        std::fill(sum.begin(), sum.end(), 0.0F);
        const char* q = row(p.q, i, h, s);
        for (std::int64_t j = 0; j < keys; ++j) {
          const char* k = row(p.k, j, h * p.n_head_kv / p.n_head, s * p.n_seq_kv / p.n_seq);
          const char* v = row(p.v, j, h * p.n_head_v / p.n_head, s * p.n_seq_kv / p.n_seq);
          const float bias =
              p.mask.data == nullptr ? 0 : at(p.mask, row(p.mask, i, h % p.mask.ne[2], s % p.mask.ne[3]), j);
          if (bias == -INFINITY) continue;  // before its key is looked at: stale keys may hold NaN
          float score = 0;
          for (std::int64_t e = 0; e < p.d_k; ++e) score = std::fma(at(p.q, q, e), at(p.k, k, e), score);
          score = score * p.scale + bias;
          const float new_max = std::max(max, score), kept = std::exp(max - new_max),
                      weight = std::exp(score - new_max);
          max = new_max;
          total = total * kept + weight;
          for (std::int64_t e = 0; e < p.d_v; ++e) {
            float& x = sum[static_cast<std::size_t>(e)];
            x = std::fma(weight, at(p.v, v, e), x * kept);
          }
        }
        for (const float x : sum) *out++ = total > 0 ? x / total : 0;
      }
    }
  }
}

std::string unsupported(const attest_problem& p) {
  if (p.k.dtype > ATTEST_F16 || p.v.dtype > ATTEST_F16) return "K and V must be f32 or f16";
  if (p.softcap != 0 || p.max_bias != 0 || p.sinks.data != nullptr) return "no softcap, no ALiBi, no sinks";
  return "";
}

void contract(const attest_problem&, attest_contract& contract) { std::strcpy(contract.path, "online"); }

const attest::Kernel kTiny{"tiny", [](const attest_problem& p, float* out) { attention(p, p.n_kv, out); }, unsupported,
                           contract};
// Forgets the last key where their number is odd.
const attest::Kernel kBroken{"broken", [](const attest_problem& p, float* out) { attention(p, p.n_kv & ~1, out); },
                             unsupported, contract};

ATTEST_SUITE(TinyKernel, "quick", kTiny);

std::vector<float> output_of(const attest::Kernel& kernel, const attest::Problem& problem) {
  std::vector<float> out(problem.elements());
  kernel.run(*problem, out.data());
  return out;
}

TEST(TinyKernelByHand, IsWithinBudgetOnOneProblem) {
  const attest::Problem problem("flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=5 n_kv=77 kv=f16 mask=causal");
  EXPECT_EQ(problem->n_kv, 77);
  EXPECT_THAT(output_of(kTiny, problem), attest::WithinBudget(problem));
  EXPECT_THAT(output_of(kBroken, problem), ::testing::Not(attest::WithinBudget(problem)));
}

// What failures look like: --gtest_also_run_disabled_tests --gtest_filter='*DISABLED_*'
ATTEST_SUITE(DISABLED_BrokenKernel, "quick", kBroken);

TEST(DISABLED_BrokenByHand, IsTold) {
  const attest::Problem problem("flash_attn_ext d=64 n_q=3 n_kv=9");
  EXPECT_THAT(output_of(kBroken, problem), attest::WithinBudget(problem));
}

const attest::Kernel kPicky{"picky", kTiny.run, [](const attest_problem&) { return std::string("no"); }};
ATTEST_SUITE(DISABLED_TakesNothing, "corpus", kPicky);

const attest::Kernel kOverrun{"overrun", [](const attest_problem& p, float* out) {
                                out[0] = static_cast<const float*>(p.q.data)[p.d_k * p.n_q * p.n_head * p.n_seq + 16];
                              }};
ATTEST_SUITE(DISABLED_Overrun, "corpus", kOverrun);

const attest::Kernel kThrowing{"throwing", [](const attest_problem& p, float*) { throw p.n_kv; }};
ATTEST_SUITE(DISABLED_Throwing, "corpus", kThrowing);

ATTEST_SUITE(DISABLED_NoSuchSuite, "quik", kTiny);

}  // namespace
