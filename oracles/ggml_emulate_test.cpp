// The emulated roundings of Q against the CPU kernels of a real ggml build, one variant after the other.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "cases/ggml_files_for_tests.h"
#include "cases/rng.h"
#include "oracles/emulate.h"

namespace attest {
namespace {

// Members of ggml's public description of a CPU type, as its header declares them.
struct GgmlCpuTraits {
  void (*from_float)(const float*, void*, std::int64_t);
  void (*vec_dot)(int, float*, std::size_t, const void*, std::size_t, const void*, std::size_t, int);
  int vec_dot_type;
  std::int64_t rows;
};

struct Pair {
  DType k;
  QRounding rounding;
  int q_type;  // enum ggml_type
  int q_block, q_block_bytes;
};
constexpr Pair kPairs[] = {
    {DType::f16, QRounding::f16, 1, 1, 2},     {DType::bf16, QRounding::bf16, 30, 1, 2},
    {DType::q8_0, QRounding::q8_0, 8, 32, 34}, {DType::q4_0, QRounding::q8_0, 8, 32, 34},
    {DType::q5_0, QRounding::q8_0, 8, 32, 34}, {DType::iq4_nl, QRounding::q8_0, 8, 32, 34},
    {DType::q4_1, QRounding::q8_1, 9, 32, 36}, {DType::q5_1, QRounding::q8_1, 9, 32, 36},
};

constexpr std::int64_t kD = 128, kRows = 400;

// Q of one head; even rows are normal, odd rows a coarse grid full of ties.
std::vector<float> rows_of_q() {
  const Rng rng(21, 1);
  std::vector<float> q(static_cast<std::size_t>(kD * kRows));
  for (std::size_t i = 0; i < q.size(); ++i)
    q[i] = i / kD % 2 == 0 ? rng.normal(i) : static_cast<float>(rng.bits(i) % 255) - 127.0F;
  return q;
}

void compare_with(const GgmlCpuTraits* (*traits)(int), const Pair& pair) {
  const std::vector<float> q = rows_of_q();
  std::vector<float> k(static_cast<std::size_t>(kD));
  for (std::size_t i = 0; i < k.size(); ++i) k[i] = 2.0F + Rng(22, 1).normal(i);
  std::vector<std::byte> k_bytes(static_cast<std::size_t>(row_bytes(pair.k, kD)));
  encode_row(pair.k, k.data(), k_bytes.data(), kD);
  decode_row(pair.k, k_bytes.data(), k.data(), kD);

  AttentionProblem problem;
  AttentionInputs inputs;
  inputs.problem = &problem;
  inputs.q.ne = {kD, kRows, 1, 1};
  inputs.q.nb = {4, kD * 4, kD * kRows * 4, kD * kRows * 4};
  inputs.q.data = reinterpret_cast<const std::byte*>(q.data());
  inputs.k.dtype = pair.k;
  inputs.k.ne = {kD, 1, 1, 1};
  inputs.k.nb = {info(pair.k).block_bytes, row_bytes(pair.k, kD), row_bytes(pair.k, kD), row_bytes(pair.k, kD)};
  inputs.k.data = k_bytes.data();
  const EmulatedInputs emulated(inputs, pair.rounding);

  const GgmlCpuTraits* k_traits = traits(info(pair.k).ggml_type);
  ASSERT_EQ(k_traits->vec_dot_type, pair.q_type);
  const auto from_float = traits(pair.q_type)->from_float;
  std::vector<std::byte> rounded(static_cast<std::size_t>(kD / pair.q_block * pair.q_block_bytes));
  for (std::int64_t i = 0; i < kRows; ++i) {
    from_float(q.data() + i * kD, rounded.data(), kD);
    double dot = 0, magnitude = 0, tie_room = 0;
    for (std::int64_t e = 0; e < kD; ++e) {
      std::uint16_t half;
      std::memcpy(&half, rounded.data() + (pair.q_block == 1 ? 2 * e : e / 32 * pair.q_block_bytes), sizeof half);
      float theirs = pair.rounding == QRounding::bf16 ? bf16_to_f32(half) : f16_to_f32(half);
      if (pair.q_block > 1) {
        const auto at = static_cast<std::size_t>(e / 32 * pair.q_block_bytes + pair.q_block_bytes - 32 + e % 32);
        theirs *= static_cast<float>(static_cast<std::int8_t>(rounded[at]));
      }
      const float ours = element(emulated.inputs().q, e, i, 0, 0);
      const float room = emulated.tie_steps()[static_cast<std::size_t>(i * kD + e)];
      ASSERT_LE(std::abs(ours - theirs), room) << "row " << i << " element " << e;
      const auto key = static_cast<double>(k[static_cast<std::size_t>(e)]);
      dot += key * static_cast<double>(ours);
      magnitude += std::abs(key * static_cast<double>(ours));
      tie_room += std::abs(key) * static_cast<double>(room);
    }
    const auto correction = emulated.dot_correction({0, 0, i}, 0);
    float theirs = 0;
    k_traits->vec_dot(static_cast<int>(kD), &theirs, 0, k_bytes.data(), 0, rounded.data(), 0, 1);
    ASSERT_LE(std::abs(dot + correction.value - static_cast<double>(theirs)),
              1e-6 * magnitude + tie_room + correction.slack)
        << "row " << i << " without the correction " << dot - static_cast<double>(theirs);
  }
}

TEST(GgmlEmulate, RoundsQAsEveryVariantThatRunsHere) {
  int variants = 0;
  for (const std::string& path : ggml_files_for_tests("libggml-cpu")) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr) << dlerror();
    const auto score = reinterpret_cast<int (*)()>(dlsym(library, "ggml_backend_score"));
    const auto init = reinterpret_cast<void (*)()>(dlsym(library, "ggml_cpu_init"));
    const auto traits = reinterpret_cast<const GgmlCpuTraits* (*)(int)>(dlsym(library, "ggml_get_type_traits_cpu"));
    if ((score != nullptr && score() == 0) || init == nullptr || traits == nullptr) continue;
    init();
    ++variants;
    for (const Pair& pair : kPairs) {
      SCOPED_TRACE(path + " K " + std::string(info(pair.k).name));
      compare_with(traits, pair);
      if (HasFatalFailure()) return;
    }
  }
  if (variants == 0) GTEST_SKIP() << "no libggml-cpu: set ATTEST_GGML_DIR or run ci/fetch-ggml";
}

}  // namespace
}  // namespace attest
