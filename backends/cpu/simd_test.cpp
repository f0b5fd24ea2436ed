#include "backends/cpu/simd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backends/cpu/test_targets.h"
#include "cases/dtype.h"

namespace attest::cpu {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

class Simd : public testing::TestWithParam<std::int64_t> {
 protected:
  const Primitives& simd() const { return primitives(); }

 private:
  RestrictTo restriction_{GetParam()};
};
std::string target_name(const testing::TestParamInfo<std::int64_t>& target) { return hwy::TargetName(target.param); }
INSTANTIATE_TEST_SUITE_P(Cpu, Simd, testing::ValuesIn(all_targets()), target_name);

// Every `step`-th float between two of the same sign.
std::vector<float> sweep(float from, float to, std::uint32_t step) {
  std::uint32_t a = std::bit_cast<std::uint32_t>(from), b = std::bit_cast<std::uint32_t>(to);
  if (a > b) std::swap(a, b);
  std::vector<float> x;
  for (std::uint32_t bits = a; bits <= b; bits += step) x.push_back(std::bit_cast<float>(bits));
  return x;
}

double worst_relative(const std::vector<float>& x, const std::vector<float>& y, double (*exact)(double)) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = exact(x[i]), error = std::fabs(y[i] - want) / std::fabs(want);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

TEST_P(Simd, ExpIsWithinItsStatedError) {
  for (const auto& [from, to] : {std::pair{-0x1p-40F, -87.3365F}, std::pair{0x1p-40F, 88.7228F}}) {
    const std::vector<float> x = sweep(from, to, 977);
    std::vector<float> y = x;
    simd().exp(y.data(), static_cast<std::int64_t>(y.size()));
    const double worst = worst_relative(x, y, [](double v) { return std::exp(v); });
    RecordProperty("worst_in_2^-24", std::to_string(worst * 0x1p24));
    EXPECT_TRUE(worst <= kEpsExp) << worst * 0x1p24 << " * 2^-24";
  }
}

TEST_P(Simd, ExpAtItsEnds) {
  EXPECT_EQ(1.0F, simd().exp_one(0.0F));
  EXPECT_EQ(1.0F, simd().exp_one(-0.0F));
  EXPECT_EQ(0.0F, simd().exp_one(-kInf));
  EXPECT_EQ(0.0F, simd().exp_one(-1e30F));
  EXPECT_EQ(kInf, simd().exp_one(kInf));
  EXPECT_EQ(kInf, simd().exp_one(89.0F));
  EXPECT_TRUE(std::isnan(simd().exp_one(std::nanf(""))));
  for (float x = -87.0F; x > -110.0F; x -= 0.01F) {
    EXPECT_LE(std::fabs(simd().exp_one(x) - std::exp(double{x})), 0x1p-126 + 0x1p-22 * std::exp(double{x})) << x;
  }
}

TEST_P(Simd, TanhIsWithinItsStatedError) {
  for (const float sign : {1.0F, -1.0F}) {
    const std::vector<float> x = sweep(sign * 0x1p-100F, sign * 1e30F, 1999);
    double worst = 0;
    std::vector<float> y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = simd().tanh_one(x[i]);
    worst = worst_relative(x, y, [](double v) { return std::tanh(v); });
    RecordProperty("worst_in_2^-24", std::to_string(worst * 0x1p24));
    EXPECT_TRUE(worst <= kEpsTanh) << worst * 0x1p24 << " * 2^-24";
  }
  EXPECT_EQ(0.0F, simd().tanh_one(0.0F));
  EXPECT_EQ(1.0F, simd().tanh_one(kInf));
  EXPECT_EQ(-1.0F, simd().tanh_one(-kInf));
  EXPECT_TRUE(std::isnan(simd().tanh_one(std::nanf(""))));
}

TEST_P(Simd, VectorsAndSinglesAgree) {
  std::vector<float> x = sweep(-0x1p-3F, -80.0F, 300007);
  std::vector<float> y = x;
  simd().exp(y.data(), static_cast<std::int64_t>(y.size()));
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(simd().exp_one(x[i]), y[i]) << x[i];
}

template <class Bits>
void expect_all_halves(void (*decode)(const std::byte*, float*, std::int64_t), float (*exact)(std::uint16_t)) {
  std::vector<Bits> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<Bits>(i);
  std::vector<float> values(bits.size());
  // An odd count, so that the tail is met too.
  decode(reinterpret_cast<const std::byte*>(bits.data()), values.data(), 65535);
  decode(reinterpret_cast<const std::byte*>(bits.data() + 65535), values.data() + 65535, 1);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const float want = exact(static_cast<std::uint16_t>(i));
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(values[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(want), std::bit_cast<std::uint32_t>(values[i])) << i;
    }
  }
}

TEST_P(Simd, WidensAllHalves) {
  expect_all_halves<std::uint16_t>(simd().decode_f16, f16_to_f32);
  expect_all_halves<std::uint16_t>(simd().decode_bf16, bf16_to_f32);
}

TEST_P(Simd, DecodesQ80AsTheCodecDoes) {
  constexpr std::int64_t kCount = 32 * 200;
  std::vector<std::byte> blocks(static_cast<std::size_t>(row_bytes(DType::q8_0, kCount)));
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::byte>(i * 167 + i / 34 * 59);
  for (std::size_t b = 0; b < blocks.size(); b += 34) blocks[b + 1] &= std::byte{0xbb};  // no infinite factor
  std::vector<float> got(kCount), want(kCount);
  simd().decode_q8_0(blocks.data(), got.data(), kCount);
  decode_row(DType::q8_0, blocks.data(), want.data(), kCount);
  EXPECT_EQ(0, std::memcmp(got.data(), want.data(), kCount * sizeof(float)));
}

// Guards against reading or writing past the end, at every length and alignment of a half.
TEST_P(Simd, RowsEndWhereTheyEnd) {
  for (std::int64_t n = 1; n <= 70; ++n) {
    std::vector<std::uint16_t> row(static_cast<std::size_t>(n) + 1, f32_to_f16(0.5F));
    row.back() = f32_to_f16(kInf);
    std::vector<float> q(static_cast<std::size_t>(n) + 1, 2.0F), acc(static_cast<std::size_t>(n) + 1, 1.0F);
    const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
    EXPECT_EQ(static_cast<float>(n), simd().dot_f16(q.data(), bytes, n));
    simd().axpy_f16(2.0F, bytes, acc.data(), n);
    EXPECT_EQ(n, std::count(acc.begin(), acc.end(), 2.0F));
    EXPECT_EQ(1.0F, acc.back());
  }
}

}  // namespace
}  // namespace attest::cpu
