#include "oracles/emulate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cases/rng.h"

namespace attest {
namespace {

// Q [d, n_q, n_head, n_seq] of f32 with padded, permuted rows, and one K row per KV head.
struct Fixture {
  Fixture(std::int64_t d, std::int64_t n_q, std::int64_t n_head, std::int64_t n_seq, DType k_type = DType::f16)
      : q(static_cast<std::size_t>((d + 3) * n_q * n_head * n_seq), -1e30F) {
    problem.d_k = d;
    problem.n_q = n_q;
    problem.n_head = n_head;
    problem.n_seq = n_seq;
    inputs.problem = &problem;
    inputs.q.dtype = DType::f32;
    inputs.q.ne = {d, n_q, n_head, n_seq};
    inputs.q.nb = {4, (d + 3) * 4 * n_head, (d + 3) * 4, (d + 3) * 4 * n_head * n_q};
    inputs.q.data = reinterpret_cast<const std::byte*>(q.data());

    const std::int64_t row = row_bytes(k_type, d);
    k.resize(static_cast<std::size_t>(row * 2));
    inputs.k.dtype = k_type;
    inputs.k.ne = {d, 2, 1, 1};
    inputs.k.nb = {info(k_type).block_bytes, row, 2 * row, 2 * row};
    inputs.k.data = k.data();
  }
  float& at(std::int64_t e, std::int64_t i = 0, std::int64_t h = 0, std::int64_t s = 0) {
    return q[static_cast<std::size_t>((inputs.q.offset(i, h, s) + e * 4) / 4)];
  }
  void fill(std::uint64_t seed, float scale) {
    const Rng rng(seed, 1);
    std::uint64_t n = 0;
    for (int s = 0; s < inputs.q.ne[3]; ++s)
      for (int h = 0; h < inputs.q.ne[2]; ++h)
        for (int i = 0; i < inputs.q.ne[1]; ++i)
          for (int e = 0; e < inputs.q.ne[0]; ++e) at(e, i, h, s) = scale * rng.normal(n++);
  }
  template <class Visit>
  void for_each(Visit visit) {
    std::size_t n = 0;
    for (int s = 0; s < inputs.q.ne[3]; ++s)
      for (int h = 0; h < inputs.q.ne[2]; ++h)
        for (int i = 0; i < inputs.q.ne[1]; ++i)
          for (int e = 0; e < inputs.q.ne[0]; ++e) visit(n++, e, i, h, s);
  }
  AttentionProblem problem;
  std::vector<float> q;
  std::vector<std::byte> k;
  AttentionInputs inputs;
};

TEST(Emulate, WithoutRoundingTheInputsStayAsTheyAre) {
  Fixture f(64, 2, 2, 1);
  const EmulatedInputs emulated(f.inputs, QRounding::none);
  EXPECT_EQ(emulated.inputs().q.data, f.inputs.q.data);
  EXPECT_EQ(emulated.inputs().q.nb, f.inputs.q.nb);
  EXPECT_TRUE(emulated.tie_steps().empty());
  EXPECT_TRUE(emulated.sum_corrections().empty());
}

TEST(Emulate, HalvesFollowStridesAndRoundEachElement) {
  Fixture f(40, 3, 2, 2);  // d_k need not be a multiple of 32 here
  f.fill(1, 3.0F);
  for (const QRounding rounding : {QRounding::f16, QRounding::bf16}) {
    EmulatedInputs first(f.inputs, rounding);
    const EmulatedInputs emulated = std::move(first);  // the view must follow the values
    ASSERT_EQ(emulated.tie_steps().size(), static_cast<std::size_t>(40 * 3 * 2 * 2));
    f.for_each([&](std::size_t n, int e, int i, int h, int s) {
      const float x = f.at(e, i, h, s);
      const float expected = rounding == QRounding::f16 ? f16_to_f32(f32_to_f16(x)) : bf16_to_f32(f32_to_bf16(x));
      ASSERT_EQ(element(emulated.inputs().q, e, i, h, s), expected);
      ASSERT_EQ(emulated.tie_steps()[n], 0.0F);
    });
    EXPECT_EQ(emulated.inputs().k.data, f.inputs.k.data);
  }
}

TEST(Emulate, Q8RoundsTiesToEvenAndNamesThem) {
  Fixture f(32, 1, 1, 1);
  for (int e = 0; e < 32; ++e) f.at(e) = 0.25F;
  f.at(0) = -127.0F;
  f.at(1) = 0.5F;
  f.at(2) = 1.5F;
  f.at(3) = -2.5F;
  f.at(4) = 2.4F;
  f.at(5) = std::nextafter(3.5F, 4.0F);
  f.at(6) = 3.5F + 10 * 0x1p-22F;  // ten ulp from the tie
  const EmulatedInputs emulated(f.inputs, QRounding::q8_0);
  const auto value = [&](int e) { return element(emulated.inputs().q, e, 0, 0, 0); };
  EXPECT_EQ(value(0), -127.0F);
  EXPECT_EQ(value(1), 0.0F);
  EXPECT_EQ(value(2), 2.0F);
  EXPECT_EQ(value(3), -2.0F);
  EXPECT_EQ(value(4), 2.0F);
  EXPECT_EQ(value(5), 4.0F);
  EXPECT_EQ(value(6), 4.0F);
  const std::vector<float> ties(emulated.tie_steps().begin(), emulated.tie_steps().begin() + 8);
  EXPECT_EQ(ties, (std::vector<float>{0, 1, 1, 1, 0, 1, 0, 0}));
}

TEST(Emulate, Q8UsesTheStoredScale) {
  Fixture f(96, 4, 3, 2);
  f.fill(2, 0.37F);
  const EmulatedInputs emulated(f.inputs, QRounding::q8_0);
  f.for_each([&](std::size_t n, int e, int i, int h, int s) {
    float amax = 0;
    for (int j = e / 32 * 32; j < e / 32 * 32 + 32; ++j) amax = std::max(amax, std::abs(f.at(j, i, h, s)));
    const double stored = static_cast<double>(f16_to_f32(f32_to_f16(amax / 127.0F)));
    const double code = std::nearbyint(static_cast<double>(f.at(e, i, h, s)) * 127.0 / static_cast<double>(amax));
    const auto got = static_cast<double>(element(emulated.inputs().q, e, i, h, s));
    ASSERT_LE(std::abs(got - stored * code), static_cast<double>(emulated.tie_steps()[n])) << n;
  });
}

TEST(Emulate, EveryRecipeOfTheInverseScaleStaysWithinTheNamedTies) {
  // amax / 127 inverted, ties away from zero or to even, against 127 / amax: codes may differ only where a tie is
  // named.
  Fixture f(32, 4000, 1, 1);
  const Rng rng(9, 9);
  for (int i = 0; i < 4000; ++i) {
    const float amax = 1.0F + 0.5F * rng.uniform(static_cast<std::uint64_t>(i));
    for (int e = 0; e < 32; ++e) {
      const auto r = rng.bits(static_cast<std::uint64_t>(i * 32 + e + 100'000));
      const double near_tie = (static_cast<double>(r % 127) + 0.5) * static_cast<double>(amax) / 127.0;
      f.at(e, i) = static_cast<float>(near_tie * (1 + (static_cast<double>((r >> 20) % 13) - 6) * 0x1p-24));
    }
    f.at(7, i) = amax;
  }
  const EmulatedInputs emulated(f.inputs, QRounding::q8_0);
  int differ = 0;
  f.for_each([&](std::size_t n, int e, int i, int, int) {
    const float d = f.at(7, i) / 127.0F;
    const float scaled = f.at(e, i) * (1.0F / d);
    const auto stored = static_cast<double>(f16_to_f32(f32_to_f16(d)));
    const auto got = static_cast<double>(element(emulated.inputs().q, e, i, 0, 0));
    for (const float code : {std::round(scaled), std::nearbyint(scaled)}) {
      const double difference = std::abs(stored * static_cast<double>(code) - got);
      differ += difference > 0 ? 1 : 0;
      ASSERT_LE(difference, static_cast<double>(emulated.tie_steps()[n])) << n;
    }
  });
  EXPECT_GT(differ, 1000);  // the data do reach the ties
}

TEST(Emulate, Q81CorrectionRestoresTheDotProductOfTheStoredSum) {
  for (const DType type : {DType::q4_1, DType::q5_1}) {
    Fixture f(128, 8, 2, 2, type);
    f.fill(3, 1.7F);
    std::vector<float> k(256);
    const Rng rng(4, 4);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = 5.0F + rng.normal(i);
    encode_row(type, k.data(), f.k.data(), 256);
    const EmulatedInputs emulated(f.inputs, QRounding::q8_1);
    double largest = 0;
    for (int s = 0; s < 2; ++s)
      for (int h = 0; h < 2; ++h)
        for (int i = 0; i < 8; ++i)
          for (int j = 0; j < 2; ++j) {
            // The kernel's formula: d_k d_q sum(codes of k * codes of q) + m s, block by block.
            double kernel = 0, plain = 0;
            for (int b = 0; b < 4; ++b) {
              float amax = 0;
              for (int e = 0; e < 32; ++e) amax = std::max(amax, std::abs(f.at(32 * b + e, i, h, s)));
              const float d = amax / 127.0F;
              const auto d_q = static_cast<double>(f16_to_f32(f32_to_f16(d)));
              std::uint16_t fields[2];
              std::memcpy(fields, f.k.data() + j * f.inputs.k.nb[1] + b * info(type).block_bytes, sizeof fields);
              const auto m = static_cast<double>(f16_to_f32(fields[1]));
              double sum = 0;
              for (int e = 0; e < 32; ++e) {
                const auto q = static_cast<double>(element(emulated.inputs().q, 32 * b + e, i, h, s));
                const auto value = static_cast<double>(element(f.inputs.k, 32 * b + e, j, 0, 0));
                sum += q / d_q;
                kernel += (value - m) * q;
                plain += value * q;
              }
              kernel += m * static_cast<double>(f16_to_f32(f32_to_f16(d * static_cast<float>(std::nearbyint(sum)))));
            }
            const auto correction = emulated.dot_correction({s, h, i}, j);
            ASSERT_NEAR(plain + correction.value, kernel, 1e-11);
            largest = std::max(largest, std::abs(correction.value));
            const ScoreCorrection terms = emulated.score_correction();
            double by_terms = 0;
            for (int b = 0; b < 4; ++b) {
              by_terms +=
                  static_cast<double>(element(terms.q, b, i, h, s)) * static_cast<double>(element(terms.k, b, j, 0, 0));
            }
            ASSERT_NEAR(by_terms, correction.value, 1e-9);
          }
    EXPECT_GT(largest, 1e-3);  // without the correction the test above would fail
  }
}

TEST(Emulate, Q81CorrectionIsZeroWhereKHasNoMinimum) {
  Fixture f(64, 1, 1, 1, DType::q8_0);
  f.fill(5, 1.0F);
  const EmulatedInputs q8_1(f.inputs, QRounding::q8_1);
  EXPECT_EQ(q8_1.dot_correction({0, 0, 0}, 1).value, 0.0);
  EXPECT_FALSE(q8_1.score_correction().q.present());
  Fixture g(64, 1, 1, 1, DType::q4_1);
  g.fill(5, 1.0F);
  const EmulatedInputs q8_0(g.inputs, QRounding::q8_0);
  EXPECT_EQ(q8_0.dot_correction({0, 0, 0}, 1).value, 0.0);
  EXPECT_FALSE(q8_0.score_correction().q.present());
  EXPECT_TRUE(q8_0.sum_corrections().empty());
}

TEST(Emulate, BlocksWithoutAScaleAreZeroAndInfinitiesAreNoNumbers) {
  Fixture f(64, 1, 1, 1);
  for (int e = 0; e < 32; ++e) f.at(e) = 1e-40F;
  for (int e = 32; e < 64; ++e) f.at(e) = 1.0F;
  f.at(40) = std::numeric_limits<float>::infinity();
  const EmulatedInputs emulated(f.inputs, QRounding::q8_1);
  EXPECT_EQ(element(emulated.inputs().q, 3, 0, 0, 0), 0.0F);
  EXPECT_EQ(emulated.sum_corrections()[0].delta, 0.0);
  EXPECT_TRUE(std::isnan(element(emulated.inputs().q, 33, 0, 0, 0)));
}

TEST(Emulate, BlockRoundingNeedsWholeBlocks) {
  Fixture f(40, 1, 1, 1);
  EXPECT_THROW(EmulatedInputs(f.inputs, QRounding::q8_0), std::invalid_argument);
}

}  // namespace
}  // namespace attest
