#include "cases/block_codecs.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cases/rng.h"

namespace attest {
namespace {

constexpr std::array kBlockTypes{DType::q8_0, DType::q4_0,   DType::q4_1, DType::q5_0,
                                 DType::q5_1, DType::iq4_nl, DType::q1_0, DType::q2_0};

std::vector<std::byte> encoded(DType type, const std::vector<float>& x) {
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(type, n)));
  encode_row(type, x.data(), bytes.data(), n);
  return bytes;
}

std::vector<float> decoded(DType type, const std::vector<std::byte>& bytes) {
  const std::size_t n =
      bytes.size() / static_cast<std::size_t>(info(type).block_bytes) * static_cast<std::size_t>(info(type).block);
  std::vector<float> x(n);
  decode_row(type, bytes.data(), x.data(), static_cast<std::int64_t>(n));
  return x;
}

float f16_at(const std::vector<std::byte>& bytes, std::size_t offset) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes.data() + offset, sizeof bits);
  return f16_to_f32(bits);
}

// One block of values whose scale is a normal half.
std::vector<float> arbitrary_block(DType type) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const int shape = *rc::gen::inRange(0, 5);
  const float scale = std::ldexp(1.0F, *rc::gen::inRange(-6, 8));
  const Rng rng(seed, 1);
  std::vector<float> x(static_cast<std::size_t>(info(type).block));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float u = rng.uniform(i);
    switch (shape) {
      case 0:
        x[i] = u;
        break;  // uniform
      case 1:
        x[i] = rng.normal(i);
        break;  // normal
      case 2:
        x[i] = 2.0F + 0.25F * u;
        break;  // away from zero
      case 3:
        x[i] = i == seed % x.size() ? -4.0F : 0.01F * u;
        break;  // one outlier
      default:
        x[i] = static_cast<float>(rng.bits(i) % 17) - 8.0F;
        break;  // a coarse grid, full of ties
    }
    x[i] *= scale;
  }
  return x;
}

// What each format can promise for one element, from the block's own stored fields: half a step, plus what rounding
// the scale and the minimum to f16 costs, plus the clipped end of the types whose codes are lopsided.
double promised_error(DType type, const std::vector<std::byte>& block, double x) {
  const double d = std::abs(f16_at(block, 0));
  const double scale_loss = 0x1p-11;  // relative
  switch (type) {
    case DType::q8_0:
      return d * (0.5 + 127 * scale_loss);
    case DType::q4_0:
      return d * ((x / f16_at(block, 0) > 7.4 ? 1.0 : 0.5) + 8 * scale_loss);
    case DType::q5_0:
      return d * ((x / f16_at(block, 0) > 15.4 ? 1.0 : 0.5) + 16 * scale_loss);
    case DType::q4_1:
      return d * (0.5 + 15 * scale_loss) + std::abs(f16_at(block, 2)) * scale_loss;
    case DType::q5_1:
      return d * (0.5 + 31 * scale_loss) + std::abs(f16_at(block, 2)) * scale_loss;
    case DType::iq4_nl:
      return d * (12 + 127 * scale_loss);  // the widest gap is 24, from 89 to 113
    case DType::q2_0:
      return d * (0.5 + 2 * scale_loss);
    default:
      return std::abs(std::abs(x) - d);  // q1_0: the sign is right
  }
}

RC_GTEST_PROP(BlockCodecs, DecodedValuesLieWithinHalfAStep, ()) {
  for (const DType type : kBlockTypes) {
    const std::vector<float> x = arbitrary_block(type);
    const auto block = encoded(type, x);
    const std::vector<float> y = decoded(type, block);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = std::abs(static_cast<double>(y[i]) - static_cast<double>(x[i]));
      const double promised = promised_error(type, block, static_cast<double>(x[i])) * (1 + 1e-6);
      if (!(error <= promised))
        RC_FAIL(std::string(info(type).name) + ": " + std::to_string(x[i]) + " -> " + std::to_string(y[i]) +
                ", promised " + std::to_string(promised));
    }
  }
}

// Encoding what was decoded gives the same block: no drift when a tensor is stored twice. iq4_nl and q2_0 choose
// their scale freely, so only blocks that use the far end of the code are fixed points there.
RC_GTEST_PROP(BlockCodecs, EncodedBlocksAreFixedPoints, ()) {
  for (const DType type : kBlockTypes) {
    auto block = encoded(type, arbitrary_block(type));
    if (type == DType::iq4_nl) block[2] &= std::byte{0xf0};  // code 0 is -127
    if (type == DType::q2_0) block[2] |= std::byte{0x03};    // code 3 is 2
    RC_ASSERT(encoded(type, decoded(type, block)) == block);
  }
}

RC_GTEST_PROP(BlockCodecs, FreeEncodersPickTheNearestCode, ()) {
  const std::array<double, 16> iq4{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  const std::array<double, 4> q2{-1, 0, 1, 2};
  const auto check = [](DType type, const auto& values) {
    const std::vector<float> x = arbitrary_block(type);
    const auto block = encoded(type, x);
    const std::vector<float> y = decoded(type, block);
    const double d = static_cast<double>(f16_at(block, 0));
    for (std::size_t i = 0; i < x.size(); ++i) {
      double best = std::numeric_limits<double>::infinity();
      for (const double value : values) best = std::min(best, std::abs(static_cast<double>(x[i]) - value * d));
      RC_ASSERT(std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i])) <= best + 1e-5 * std::abs(d));
    }
  };
  check(DType::iq4_nl, iq4);
  check(DType::q2_0, q2);
}

// Layouts written out by hand, so that encoder and decoder cannot agree on a wrong one.
TEST(BlockCodecs, LayoutsAreThoseOfTheFormats) {
  const auto bytes_of = [](std::initializer_list<int> head, std::size_t total) {
    std::vector<std::byte> bytes(total);
    std::transform(head.begin(), head.end(), bytes.begin(), [](int b) { return static_cast<std::byte>(b); });
    return bytes;
  };
  // The scale 0x3800 is 0.5, the minimum 0xc000 is -2.
  const auto q8 = decoded(DType::q8_0, bytes_of({0x00, 0x38, 0x80, 0x7f}, 34));
  EXPECT_EQ(q8[0], -64.0F);
  EXPECT_EQ(q8[1], 63.5F);
  EXPECT_EQ(q8[2], 0.0F);
  const auto q4 = decoded(DType::q4_0, bytes_of({0x00, 0x38, 0xf1}, 18));
  EXPECT_EQ(q4[0], -3.5F);
  EXPECT_EQ(q4[16], 3.5F);
  EXPECT_EQ(q4[1], -4.0F);
  const auto q41 = decoded(DType::q4_1, bytes_of({0x00, 0x38, 0x00, 0xc0, 0x2f}, 20));
  EXPECT_EQ(q41[0], 5.5F);
  EXPECT_EQ(q41[16], -1.0F);
  EXPECT_EQ(q41[31], -2.0F);
  const auto q5 = decoded(DType::q5_0, bytes_of({0x00, 0x38, 0x01, 0x00, 0x02, 0x00, 0x21, 0x40}, 22));
  EXPECT_EQ(q5[0], 0.5F);    // fifth bit 0 set: 17 - 16
  EXPECT_EQ(q5[16], -7.0F);  // fifth bit 16 clear: 2 - 16
  EXPECT_EQ(q5[17], 2.0F);   // fifth bit 17 set: 20 - 16
  const auto q51 = decoded(DType::q5_1, bytes_of({0x00, 0x38, 0x00, 0xc0, 0, 0, 0, 0x80, 0x00}, 24));
  EXPECT_EQ(q51[31], 6.0F);
  EXPECT_EQ(q51[30], -2.0F);
  const auto iq4 = decoded(DType::iq4_nl, bytes_of({0x00, 0x38, 0xf0, 0x78}, 18));
  EXPECT_EQ(iq4[0], -63.5F);
  EXPECT_EQ(iq4[16], 56.5F);
  EXPECT_EQ(iq4[1], 0.5F);
  EXPECT_EQ(iq4[17], -5.0F);
  const auto q1 = decoded(DType::q1_0, bytes_of({0x00, 0x38, 0x02, 0x80}, 18));
  EXPECT_EQ(q1[0], -0.5F);
  EXPECT_EQ(q1[1], 0.5F);
  EXPECT_EQ(q1[15], 0.5F);
  const auto q2 = decoded(DType::q2_0, bytes_of({0x00, 0x38, 0xe4}, 18));
  EXPECT_EQ(std::vector<float>(q2.begin(), q2.begin() + 5), (std::vector<float>{-0.5F, 0.0F, 0.5F, 1.0F, -0.5F}));
}

TEST(BlockCodecs, TiesAndZerosFollowTheReferenceQuantisers) {
  std::vector<float> x(32, 0.0F);
  x[0] = 127.0F;
  x[1] = 0.5F;  // half away from zero
  x[2] = -2.5F;
  x[3] = 0x1.fffffep-2F;
  const auto q8 = encoded(DType::q8_0, x);
  EXPECT_EQ(static_cast<std::int8_t>(q8[3]), 1);
  EXPECT_EQ(static_cast<std::int8_t>(q8[4]), -3);
  EXPECT_EQ(static_cast<std::int8_t>(q8[5]), 0);

  const auto zero = encoded(DType::q4_0, std::vector<float>(32, 0.0F));
  EXPECT_EQ(zero[1], std::byte{0x80});  // the scale of a block of zeros is -0
  EXPECT_EQ(zero[2], std::byte{0x88});

  std::vector<float> signed_zeros(32, 0.0F);
  signed_zeros[0] = 1.0F;
  signed_zeros[1] = -0.0F;
  EXPECT_EQ(encoded(DType::q4_1, signed_zeros)[3], std::byte{0x80});  // the minimum is the first of the zeros
  std::swap(signed_zeros[1], signed_zeros[2]);
  EXPECT_EQ(encoded(DType::q4_1, signed_zeros)[3], std::byte{0x00});

  std::vector<float> equal_extremes(32, 0.0F);
  equal_extremes[5] = 3.0F;
  equal_extremes[6] = -3.0F;
  EXPECT_LT(f16_at(encoded(DType::q4_0, equal_extremes), 0), 0.0F);  // the first extreme becomes -8
  std::swap(equal_extremes[5], equal_extremes[6]);
  EXPECT_GT(f16_at(encoded(DType::q4_0, equal_extremes), 0), 0.0F);
}

// Floats of every exponent, zeros of both signs, infinities and NaN.
std::vector<float> wild_values(std::size_t n, std::uint64_t seed) {
  const Rng rng(seed, 2);
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto run = static_cast<std::uint64_t>(i / 256);
    const int exponent = static_cast<int>(rng.bits(run + 1'000'000) % 270) - 140;
    switch (run % 4) {
      case 0:
        x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(rng.bits(i)));
        break;
      case 1:
        x[i] = std::ldexp(rng.normal(i), exponent);
        break;
      case 2:
        x[i] = std::ldexp(static_cast<float>(rng.bits(i) % 31) - 15.0F, exponent / 20);
        break;
      default:
        x[i] = rng.bits(i) % 3 == 0 ? rng.uniform(i) : std::copysign(0.0F, rng.uniform(i));
        break;
    }
  }
  return x;
}

TEST(BlockCodecs, EveryInstructionSetConvertsHalvesAsTheScalarCodeDoes) {
  constexpr std::int64_t kCount = 1 << 16;
  std::vector<std::uint16_t> halves(kCount), back(kCount);
  std::vector<float> values(kCount), wide(kCount);
  const Rng rng(5, 5);
  for (std::int64_t i = 0; i < kCount; ++i) {
    halves[static_cast<std::size_t>(i)] = static_cast<std::uint16_t>(i);
    // Magnitudes around those of halves, with ties; NaN now and then.
    const auto word = static_cast<std::uint32_t>(rng.bits(static_cast<std::uint64_t>(i)));
    const std::uint32_t bits = (word & 0x8fffe000U) | (0x32000000U + (word >> 1 & 0x1f000000U)) | (word & 1U) << 12;
    values[static_cast<std::size_t>(i)] = std::bit_cast<float>(i % 1000 == 0 ? 0x7fc12345U : bits);
  }
  for (const RowCodec& codec : all_row_codecs()) {
    codec.decode(DType::f16, reinterpret_cast<const std::byte*>(halves.data()), wide.data(), kCount);
    codec.encode(DType::f16, values.data(), reinterpret_cast<std::byte*>(back.data()), kCount);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(wide[i]), std::bit_cast<std::uint32_t>(f16_to_f32(halves[i])))
          << codec.instruction_set << " " << i;
      ASSERT_EQ(back[i], f32_to_f16(values[i])) << codec.instruction_set << " " << i;
    }
  }
}

TEST(BlockCodecs, EveryInstructionSetGivesTheSameBits) {
  const std::vector<RowCodec> codecs = all_row_codecs();
  ASSERT_FALSE(codecs.empty());
  constexpr std::int64_t kElements = 256 * 96;
  const std::vector<float> x = wild_values(kElements, 3);
  const Rng rng(4, 4);
  for (int t = 0; t < kDTypeCount; ++t) {
    const auto type = static_cast<DType>(t);
    const auto bytes = static_cast<std::size_t>(row_bytes(type, kElements));
    std::vector<std::byte> random(bytes);
    for (std::size_t i = 0; i < bytes; ++i) random[i] = static_cast<std::byte>(rng.bits(i) & 0xff);
    std::vector<std::byte> first(bytes), other(bytes);
    std::vector<float> first_values(kElements), other_values(kElements);
    codecs.back().encode(type, x.data(), first.data(), kElements);
    codecs.back().decode(type, random.data(), first_values.data(), kElements);
    for (const RowCodec& codec : codecs) {
      codec.encode(type, x.data(), other.data(), kElements);
      EXPECT_EQ(first, other) << info(type).name << " " << codec.instruction_set;
      codec.decode(type, random.data(), other_values.data(), kElements);
      for (std::size_t i = 0; i < other_values.size(); ++i) {
        if (std::isnan(first_values[i]) && std::isnan(other_values[i])) continue;  // payloads are nobody's contract
        ASSERT_EQ(std::memcmp(&first_values[i], &other_values[i], sizeof(float)), 0)
            << info(type).name << " " << codec.instruction_set << " element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace attest
