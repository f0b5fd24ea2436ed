// What semantics.md promises, held against both oracles and both precisions of the Eigen reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "oracles/eigen_reference.h"
#include "oracles/scalar_oracle.h"
#include "oracles/testing/plain_inputs.h"

namespace attest {
namespace {

using testing::all_rows;
using ::testing::Each;
using testing::PlainInputs;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

struct Oracle {
  const char* name;
  RowValues (*answer)(const AttentionInputs&, std::span<const Row>, const ScoreCorrection&);
};

class OracleSemantics : public ::testing::TestWithParam<Oracle> {
 protected:
  static RowValues answer(const PlainInputs& plain, const ScoreCorrection& correction = {}) {
    const AttentionInputs in = plain.inputs();
    return GetParam().answer(in, all_rows(*in.problem), correction);
  }
};

// Bitwise, because NaN and -0 count here.
std::vector<std::uint64_t> bits(const RowValues& values) {
  std::vector<std::uint64_t> result;
  for (const double x : values) result.push_back(std::bit_cast<std::uint64_t>(x));
  return result;
}

TEST_P(OracleSemantics, HiddenBytesDoNotCount) {
  const auto with_hidden = [](float k, float v) {
    PlainInputs plain(32, 2, 3, 40);
    for (std::int64_t i = 0; i < 3; ++i) {
      for (const std::int64_t j : {0, 7, 8, 39}) plain.mask(j, i) = -kInf;
    }
    for (const std::int64_t j : {0, 7, 8, 39}) {
      for (std::int64_t c = 0; c < 32; ++c) {
        plain.k(c, j) = plain.k(c, j, 1) = k;
        plain.v(c, j) = plain.v(c, j, 1) = v;
      }
    }
    return bits(answer(plain));
  };
  const auto clean = with_hidden(0, 0);
  EXPECT_EQ(with_hidden(kNaN, 0), clean);
  EXPECT_EQ(with_hidden(0, kNaN), clean);
  EXPECT_EQ(with_hidden(kInf, -kInf), clean);
  EXPECT_EQ(with_hidden(3e38F, 3e38F), clean);
}

TEST_P(OracleSemantics, NanReachesExactlyTheRowsThatSeeIt) {
  for (const bool in_v : {false, true}) {
    PlainInputs clean(16, 1, 4, 10), plain(16, 1, 4, 10);
    for (PlainInputs* inputs : {&clean, &plain}) {
      for (std::int64_t i = 0; i < 4; ++i) {
        for (std::int64_t j = 0; j < 10; ++j) inputs->mask(j, i) = j <= i + 6 ? 0 : -kInf;
      }
    }
    (in_v ? plain.v(3, 8) : plain.k(3, 8)) = kNaN;  // queries 2 and 3 see key 8
    const RowValues expected = answer(clean), actual = answer(plain);
    for (std::size_t x = 0; x < expected.size(); ++x) {
      const bool sees = x / 16 >= 2, touched = in_v ? x % 16 == 3 : true;
      if (sees && touched) {
        EXPECT_TRUE(std::isnan(actual[x])) << x;
      } else if (sees) {
        EXPECT_FALSE(std::isnan(actual[x])) << x;
      } else {
        EXPECT_EQ(actual[x], expected[x]) << x;
      }
    }
  }
}

TEST_P(OracleSemantics, NanInQMaskOrSinkReachesTheAnswer) {
  PlainInputs q(8, 1, 1, 5), mask(8, 1, 1, 5), sink(8, 1, 1, 5);
  q.q(2, 0) = kNaN;
  mask.mask(4, 0) = kNaN;
  sink.sinks(kNaN);
  for (const PlainInputs* plain : {&q, &mask, &sink}) EXPECT_THAT(answer(*plain), Each(::testing::IsNan()));
}

TEST_P(OracleSemantics, ARowThatSeesNoKeyIsZero) {
  for (const float sink : {kNaN, -kInf, 2.0F}) {  // NaN stands for no sink here
    PlainInputs plain(16, 2, 3, 20);
    if (!std::isnan(sink)) plain.sinks(sink);
    for (std::int64_t j = 0; j < 20; ++j) plain.mask(j, 1) = -kInf;
    plain.v(0, 3) = kNaN;
    const RowValues values = answer(plain);
    for (std::size_t x = 0; x < values.size(); ++x) {
      if (x / 16 % 3 == 1) {
        EXPECT_EQ(std::bit_cast<std::uint64_t>(values[x]), 0U) << x;
      } else {
        EXPECT_NE(values[x], 0) << x;
      }
    }
  }
}

TEST_P(OracleSemantics, NoKeysAtAllGiveZero) {
  for (const bool sink : {false, true}) {
    PlainInputs plain(16, 2, 3, 0);
    if (sink) plain.sinks(1);
    EXPECT_THAT(answer(plain), Each(0.0));
  }
}

TEST_P(OracleSemantics, OneKeyGivesItsValueExactly) {
  PlainInputs plain(16, 3, 2, 1);
  const RowValues values = answer(plain);
  for (std::int64_t h = 0, x = 0; h < 3; ++h) {
    for (std::int64_t i = 0; i < 2; ++i) {
      for (std::int64_t e = 0; e < 16; ++e, ++x) {
        EXPECT_EQ(values[static_cast<std::size_t>(x)], static_cast<double>(plain.v(e, 0, h)));
      }
    }
  }
}

TEST_P(OracleSemantics, ASinkTakesItsShareAndMinusInfinityTakesNone) {
  PlainInputs plain(4, 1, 1, 3), infinite(4, 1, 1, 3), none(4, 1, 1, 3);
  for (PlainInputs* inputs : {&plain, &infinite, &none}) inputs->problem().scale = 0;  // all scores 0
  plain.sinks(std::log(5.0F));
  infinite.sinks(-kInf);
  const RowValues with = answer(plain), without = answer(none);
  EXPECT_EQ(bits(answer(infinite)), bits(without));
  for (std::size_t e = 0; e < 4; ++e) EXPECT_NEAR(with[e], without[e] * 3 / 8, 1e-6 * std::abs(without[e]));
}

TEST_P(OracleSemantics, AFiniteMaskHidesNothing) {
  PlainInputs plain(4, 1, 1, 3), zero(4, 1, 1, 3);
  for (std::int64_t j = 0; j < 3; ++j) plain.mask(j, 0) = -65504;
  const RowValues a = answer(plain), b = answer(zero);
  for (std::size_t e = 0; e < 4; ++e) EXPECT_NEAR(a[e], b[e], 0.02);  // f32 rounds scores at 65504 to 2^-8
}

// Slope 2^(-max_bias) may underflow to 0; 0 times -inf must not become NaN.
TEST_P(OracleSemantics, AHiddenKeyStaysHiddenWhenTheSlopeIsZero) {
  PlainInputs plain(4, 1, 1, 3), two(4, 1, 1, 2);
  plain.problem().max_bias = 4000;
  plain.mask(2, 0) = -kInf;
  const RowValues a = answer(plain), b = answer(two);
  for (std::size_t e = 0; e < 4; ++e) EXPECT_NEAR(a[e], b[e], 1e-6);
}

TEST_P(OracleSemantics, HugeScoresStayFinite) {
  PlainInputs plain(4, 1, 2, 6);
  plain.problem().scale = 1e7F;
  for (const double x : answer(plain)) EXPECT_TRUE(std::isfinite(x));
}

TEST_P(OracleSemantics, CorrectionIsOneMoreColumnOfQAndK) {
  PlainInputs longer(9, 1, 3, 30), shorter(8, 1, 3, 30);
  shorter.problem().scale = longer.problem().scale;
  std::vector<float> q, k;
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t c = 0; c < 8; ++c) shorter.q(c, i) = longer.q(c, i);
    q.push_back(longer.q(8, i));
  }
  for (std::int64_t j = 0; j < 30; ++j) {
    for (std::int64_t c = 0; c < 8; ++c) {
      shorter.k(c, j) = longer.k(c, j);
      shorter.v(c, j) = longer.v(c, j);
    }
    k.push_back(longer.k(8, j));
  }
  const ScoreCorrection correction{PlainInputs::view(q, {1, 3, 1, 1}), PlainInputs::view(k, {1, 30, 1, 1})};
  const RowValues expected = answer(longer), actual = answer(shorter, correction), without = answer(shorter);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t e = 0; e < 8; ++e) {
      EXPECT_NEAR(actual[i * 8 + e], expected[i * 9 + e], 1e-6);
      EXPECT_GT(std::abs(without[i * 8 + e] - expected[i * 9 + e]), 1e-5);
    }
  }
}

// Heap addresses differ from call to call; the answer must not.
TEST_P(OracleSemantics, TheSameQuestionGetsTheSameBits) {
  PlainInputs plain(13, 2, 3, 45);
  const auto first = bits(answer(plain));
  std::vector<std::vector<float>> moved;
  for (std::size_t n = 1; n < 20; ++n) {
    moved.emplace_back(3 * n);
    ASSERT_EQ(bits(answer(plain)), first);
  }
}

TEST_P(OracleSemantics, RowsComeInTheOrderOfTheRequest) {
  PlainInputs plain(8, 2, 5, 20);
  const AttentionInputs in = plain.inputs();
  const std::vector<Row> rows = {{0, 1, 3}, {0, 0, 0}, {0, 1, 3}, {0, 0, 4}};
  const RowValues all = answer(plain), some = GetParam().answer(in, rows, {});
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto at = static_cast<std::size_t>(rows[r].head * 5 + rows[r].query) * 8;
    for (std::size_t e = 0; e < 8; ++e) EXPECT_NEAR(some[r * 8 + e], all[at + e], 1e-6);
  }
}

INSTANTIATE_TEST_SUITE_P(Both, OracleSemantics,
                         ::testing::Values(Oracle{"scalar", scalar_oracle}, Oracle{"eigen64", eigen_reference<double>},
                                           Oracle{"eigen32", eigen_reference<float>}),
                         [](const auto& p) { return std::string(p.param.name); });

}  // namespace
}  // namespace attest
