// Our codecs against those of a real ggml build: libggml-base of ATTEST_GGML_DIR, else of build/ggml/*.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cases/dtype.h"
#include "cases/ggml_files_for_tests.h"
#include "cases/rng.h"

namespace attest {
namespace {

// The leading members of ggml's public type description, as its header declares them.
struct GgmlTypeTraits {
  const char* type_name;
  std::int64_t block, block_interleave;
  std::size_t type_size;
  bool is_quantised;
  void (*to_float)(const void*, float*, std::int64_t);
};

class GgmlCodecs : public ::testing::TestWithParam<DType> {
 protected:
  void SetUp() override {
    const std::vector<std::string> paths = ggml_files_for_tests("libggml-base");
    if (paths.empty()) GTEST_SKIP() << "no libggml-base: set ATTEST_GGML_DIR or run ci/fetch-ggml";
    library_ = dlopen(paths.back().c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library_, nullptr) << dlerror();
    const auto block_of = symbol<std::int64_t (*)(int)>("ggml_blck_size");
    const auto size_of = symbol<std::size_t (*)(int)>("ggml_type_size");
    const auto name_of = symbol<const char* (*)(int)>("ggml_type_name");
    const auto traits_of = symbol<const GgmlTypeTraits* (*)(int)>("ggml_get_type_traits");
    quantize_chunk_ = symbol<decltype(quantize_chunk_)>("ggml_quantize_chunk");
    ASSERT_TRUE(block_of && size_of && name_of && traits_of && quantize_chunk_);
    const DTypeInfo& ours = info(GetParam());
    const bool recent = GetParam() == DType::q1_0 || GetParam() == DType::q2_0;
    if (recent && (block_of(ours.ggml_type) != ours.block ||
                   size_of(ours.ggml_type) != static_cast<std::size_t>(ours.block_bytes)))
      GTEST_SKIP() << "this ggml is older than " << ours.name;
    ASSERT_EQ(block_of(ours.ggml_type), ours.block);
    ASSERT_EQ(size_of(ours.ggml_type), static_cast<std::size_t>(ours.block_bytes));
    ASSERT_EQ(name_of(ours.ggml_type), ours.name);
    to_float_ = traits_of(ours.ggml_type)->to_float;
  }
  template <class F>
  F symbol(const char* name) {
    return reinterpret_cast<F>(dlsym(library_, name));
  }

  // The library stays loaded: another test of this process may use it.
  void* library_ = nullptr;
  void (*to_float_)(const void*, float*, std::int64_t) = nullptr;
  std::size_t (*quantize_chunk_)(int, const float*, void*, std::int64_t, std::int64_t, std::int64_t,
                                 const float*) = nullptr;
};

class GgmlHalves : public GgmlCodecs {};

constexpr std::int64_t kRow = 256, kRows = 2048;

// Rows of many kinds: uniform, normal of every exponent, coarse grids (ties), zeros of both signs with few values,
// the largest and the smallest floats.
std::vector<float> telling_rows() {
  const Rng rng(11, 7);
  std::vector<float> x(static_cast<std::size_t>(kRow * kRows));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint64_t row = i / kRow;
    const auto pick = rng.bits(row + 10'000'000);
    switch (row % 8) {
      case 0:
        x[i] = rng.uniform(i);
        break;
      case 1:
        x[i] = std::ldexp(rng.normal(i), static_cast<int>(pick % 60) - 30);
        break;
      case 2:
        x[i] = std::ldexp(static_cast<float>(rng.bits(i) % 31) - 15.0F, static_cast<int>(pick % 8) - 4);
        break;
      case 3:
        x[i] = static_cast<float>(rng.bits(i) % 255) * 0.5F - 63.5F;
        break;
      case 4:
        x[i] = rng.bits(i) % 9 == 0 ? rng.normal(i) : std::copysign(0.0F, rng.uniform(i));
        break;
      case 5:
        x[i] = 3.0F + 0.01F * rng.uniform(i);
        break;
      case 6:
        x[i] = std::copysign(0.0F, rng.uniform(i / 32));
        break;
#if defined(__x86_64__)
      // Scales that overflow or vanish: the conversion of what is no code is the processor's.
      default:
        x[i] = std::ldexp(rng.normal(i), static_cast<int>(pick % 275) - 148);
        break;
#else
      default:
        x[i] = std::ldexp(rng.normal(i), static_cast<int>(pick % 200) - 100);
        break;
#endif
    }
  }
  return x;
}

TEST_P(GgmlCodecs, DecodesEveryByteAlike) {
  const DType type = GetParam();
  if (type == DType::f32) {  // the only type that needs no decoder
    to_float_ = [](const void* src, float* dst, std::int64_t n) {
      std::memcpy(dst, src, static_cast<std::size_t>(n) * sizeof(float));
    };
  }
  ASSERT_NE(to_float_, nullptr);
  const Rng rng(5, 5);
  const std::int64_t n = kRow * kRows;
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(type, n)));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(rng.bits(i) & 0xff);
  std::vector<float> ours(static_cast<std::size_t>(n)), theirs(ours.size());
  decode_row(type, bytes.data(), ours.data(), n);
  to_float_(bytes.data(), theirs.data(), n);
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (std::isnan(ours[i]) && std::isnan(theirs[i])) continue;
    ASSERT_EQ(std::memcmp(&ours[i], &theirs[i], sizeof(float)), 0) << i << ": " << ours[i] << " " << theirs[i];
  }
}

TEST_P(GgmlCodecs, EncodesAlike) {
  const DType type = GetParam();
  const std::vector<float> x = telling_rows();
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<std::byte> ours(static_cast<std::size_t>(row_bytes(type, n))), theirs(ours.size());
  encode_row(type, x.data(), ours.data(), n);
  quantize_chunk_(info(type).ggml_type, x.data(), theirs.data(), 0, kRows, kRow, nullptr);
  if (type == DType::iq4_nl || type == DType::q1_0 || type == DType::q2_0) {
    // Encoders of our own; what ggml's wrote must decode alike all the same.
    std::vector<float> a(x.size()), b(x.size());
    decode_row(type, theirs.data(), a.data(), n);
    to_float_(theirs.data(), b.data(), n);
    EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
    return;
  }
  const auto block = static_cast<std::size_t>(info(type).block_bytes);
  for (std::size_t i = 0; i < ours.size(); i += block)
    ASSERT_EQ(std::memcmp(&ours[i], &theirs[i], block), 0) << "block " << i / block;
}

// f32 -> f16 and bf16 over ties, subnormals, overflow and every exponent.
TEST_P(GgmlHalves, RoundAlike) {
  const DType type = GetParam();
  const std::uint32_t dropped = type == DType::f16 ? 13 : 16;
  std::vector<float> x;
  for (std::uint64_t word = 0; word <= 0xffffffffULL; word += 1ULL << dropped)
    for (const std::uint32_t offset :
         {0U, 1U, (1U << (dropped - 1)) - 1, 1U << (dropped - 1), (1U << (dropped - 1)) + 1})
      x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(word) + offset));
  for (int m = 0; m < 2048; ++m) x.push_back((static_cast<float>(m) + 0.5F) * 0x1p-24F);
  std::vector<std::uint16_t> ours(x.size()), theirs(x.size());
  const auto n = static_cast<std::int64_t>(x.size());
  encode_row(type, x.data(), reinterpret_cast<std::byte*>(ours.data()), n);
  quantize_chunk_(info(type).ggml_type, x.data(), theirs.data(), 0, 1, n, nullptr);
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(ours[i], theirs[i]) << std::hexfloat << x[i];
}

std::string type_name(const ::testing::TestParamInfo<DType>& param) { return std::string(info(param.param).name); }

INSTANTIATE_TEST_SUITE_P(Types, GgmlCodecs,
                         ::testing::Values(DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_1,
                                           DType::q5_0, DType::q5_1, DType::iq4_nl, DType::q1_0, DType::q2_0),
                         type_name);
INSTANTIATE_TEST_SUITE_P(Types, GgmlHalves, ::testing::Values(DType::f16, DType::bf16), type_name);

}  // namespace
}  // namespace attest
