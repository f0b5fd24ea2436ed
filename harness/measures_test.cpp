#include "harness/measures.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace attest {
namespace {

struct Rows {
  std::vector<float> got;
  std::vector<double> expected;
  explicit Rows(std::size_t n) {
    for (std::size_t e = 0; e < n; ++e) {
      expected.push_back(std::sin(static_cast<double>(3 * e)) * std::exp2(static_cast<double>(e % 40) - 30));
      got.push_back(std::nextafter(static_cast<float>(expected.back()), static_cast<float>(e % 3)));
    }
  }
};

TEST(Measures, AreThoseOfAPlainLoopWhateverTheRowLength) {
  for (const std::size_t n : {1U, 3U, 8U, 40U, 133U}) {
    Rows rows(n);
    rows.expected[0] = n == 1 ? 1 : 0;  // 0: its ULP is that of the smallest normal number
    rows.got[0] = n == 1 ? 1.5F : 1e-40F;
    double error2 = 0, square = 0, most = 0, close = 0, ulp = 0;
    for (std::size_t e = 0; e < n; ++e) {
      const double error = std::abs(static_cast<double>(rows.got[e]) - rows.expected[e]);
      const float reference = std::max(static_cast<float>(std::abs(rows.expected[e])), 0x1p-126F);
      const float next = std::nextafter(reference, std::numeric_limits<float>::infinity());
      error2 += error * error;
      square += rows.expected[e] * rows.expected[e];
      most = std::max(most, error);
      close = std::max(close, error / (1 + std::abs(rows.expected[e])));
      ulp = std::max(ulp, error / (static_cast<double>(next) - static_cast<double>(reference)));
    }
    Measures measures(static_cast<std::int64_t>(n));
    measures.add(rows.got, rows.expected);
    VerdictRecord record;
    measures.report(record);
    EXPECT_NEAR(record.nmse * square / error2, 1, 1e-12);
    EXPECT_DOUBLE_EQ(record.max_abs, most);
    EXPECT_DOUBLE_EQ(record.allclose, close);
    EXPECT_DOUBLE_EQ(record.ulp_max, ulp);
    EXPECT_LE(record.ulp_p50, record.ulp_p99);
    EXPECT_LE(record.ulp_p99, record.ulp_max);
  }
}

TEST(Measures, PercentilesOfManyElementsComeFromAnEvenChoice) {
  constexpr std::size_t kRows = 3000, kColumns = 64;
  Measures measures(kRows * kColumns);
  const std::vector<double> expected(kColumns, 1.0);
  for (std::size_t r = 0; r < kRows; ++r) {
    const float off = r % 100 < 90 ? 0x1p-23F : 0x1p-20F;  // 1 ULP in nine of ten rows, 8 in the last
    measures.add(std::vector<float>(kColumns, 1.0F + off), expected);
  }
  VerdictRecord record;
  measures.report(record);
  EXPECT_EQ(record.ulp_p50, 1);
  EXPECT_EQ(record.ulp_p99, 8);
  EXPECT_EQ(record.ulp_max, 8);
}

TEST(Measures, BoundCheckSeesOneElementAndNeverPassesNan) {
  for (const std::size_t n : {5U, 16U, 130U}) {
    const std::vector<double> expected(n, 1.0);
    std::vector<float> bound(n, 1.0F), got(n, 1.25F);
    EXPECT_TRUE(check_bound(got, expected, bound, 0.5).within);
    EXPECT_DOUBLE_EQ(check_bound(got, expected, bound, 0.5).worst, 0.25);
    for (std::size_t e = 0; e < n; ++e) {
      for (const float wrong : {1.6F, std::nanf(""), -std::numeric_limits<float>::infinity()}) {
        got[e] = wrong;
        EXPECT_FALSE(check_bound(got, expected, bound, 0.5).within) << e;
      }
      got[e] = 1.25F;
      bound[e] = 0;
      EXPECT_FALSE(check_bound(got, expected, bound, 0.5).within) << e;
      got[e] = 1;
      EXPECT_TRUE(check_bound(got, expected, bound, 0.5).within) << e;  // 0/0
      got[e] = 1.25F;
      bound[e] = 1;
    }
  }
}

}  // namespace
}  // namespace attest
