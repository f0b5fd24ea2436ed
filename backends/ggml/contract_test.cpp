// Which path a problem takes and what it promises, for stated kinds of CPU backend.
#include "backends/ggml/contract.h"

#include <gtest/gtest.h>

#include "backends/ggml/support.h"
#include "cases/case.h"

namespace attest::ggml {
namespace {

AttentionProblem problem(const std::string& line) {
  const auto parsed = parse_case("flash_attn_ext " + line);
  EXPECT_TRUE(parsed) << line;
  return parsed ? parsed->problem : AttentionProblem{};
}

constexpr CpuArithmetic kAvx512{16, false, true, true, true, false};

std::string path(const std::string& line, Form form = Form::fused, const CpuArithmetic& cpu = kAvx512) {
  return std::string(cpu_contract(problem(line), cpu, form, 1).path_name());
}

TEST(GgmlContract, PathChangesAtTheStatedSizes) {
  EXPECT_EQ(path("d=64 n_q=1 n_kv=511"), "vec");
  EXPECT_EQ(path("d=64 n_q=1 n_kv=512"), "split");
  EXPECT_EQ(path("d=64 n_q=1 n_kv=512 n_seq=2 n_seq_kv=2"), "vec");
  EXPECT_EQ(path("d=64 n_q=2 n_kv=512"), "vec");
  EXPECT_EQ(path("d=64 n_q=63 n_kv=512"), "vec");
  EXPECT_EQ(path("d=64 n_q=64 n_kv=512"), "tiled");
  EXPECT_EQ(path("d=64 n_q=64 n_kv=512 kv=f32"), "tiled");
  EXPECT_EQ(path("d=64 n_q=64 n_kv=512 kv=bf16"), "vec");
  EXPECT_EQ(path("d=64 n_q=64 n_kv=512 k=f16 v=f32"), "vec");
  EXPECT_EQ(path("d=72 n_q=64 n_kv=512"), "vec");
  CpuArithmetic avx = kAvx512;
  avx.f32_lanes = 8;
  EXPECT_EQ(path("d=72 n_q=64 n_kv=512", Form::fused, avx), "tiled");
}

// ggml_type_name() of a release with so many types; a larger number is out of its table's range.
template <int count>
const char* type_name(int type) {
  EXPECT_LT(type, count);
  return type == 41 ? "q1_0" : type == 42 ? "q2_0" : type == 2 ? "q4_0" : "?";
}

TEST(GgmlSupport, AsksAReleaseOnlyForTypesItCanHave) {
  Api api;
  const auto types = [&](const char* (*version)(), const char* (*name)(int)) {
    api.ggml_version = version;
    api.ggml_type_name = name;
    std::string out;
    for (const DType type : {DType::q4_0, DType::q1_0, DType::q2_0}) {
      if (has_type(api, type)) out += std::string(info(type).name) + " ";
    }
    return out;
  };
  EXPECT_EQ(types(nullptr, type_name<39>), "q4_0 ");
  EXPECT_EQ(types([] { return "0.9.11"; }, type_name<41>), "q4_0 ");
  EXPECT_EQ(types([] { return "0.15.3"; }, type_name<42>), "q4_0 q1_0 ");
  EXPECT_EQ(types([] { return "0.16.0"; }, type_name<43>), "q4_0 q1_0 q2_0 ");
  EXPECT_EQ(types([] { return "1.0"; }, type_name<43>), "q4_0 q1_0 q2_0 ");
}

TEST(GgmlContract, ReferenceAndOldReleasesKnowOnlyOnePath) {
  EXPECT_EQ(path("d=64 n_q=64 n_kv=512", Form::ref), "ref");
  EXPECT_EQ(path("d=64 n_q=1 n_kv=512", Form::ref), "ref");
  CpuArithmetic old = kAvx512;
  old.split = old.tiled = false;
  EXPECT_EQ(path("d=64 n_q=64 n_kv=512", Form::fused, old), "vec");
  EXPECT_EQ(path("d=64 n_q=1 n_kv=512", Form::fused, old), "vec");
}

TEST(GgmlContract, QIsRoundedToTheOtherOperandOfKsDotProduct) {
  const auto rounding = [](const char* k) {
    return cpu_contract(problem("d=128 n_kv=32 v=f32 k=" + std::string(k)), kAvx512, Form::fused, 1).q_rounding;
  };
  EXPECT_EQ(rounding("f32"), QRounding::none);
  EXPECT_EQ(rounding("f16"), QRounding::f16);
  EXPECT_EQ(rounding("bf16"), QRounding::bf16);
  for (const char* k : {"q8_0", "q4_0", "q5_0", "iq4_nl", "q1_0", "q2_0"}) EXPECT_EQ(rounding(k), QRounding::q8_0) << k;
  for (const char* k : {"q4_1", "q5_1"}) EXPECT_EQ(rounding(k), QRounding::q8_1) << k;
  EXPECT_EQ(cpu_contract(problem("d=64 n_q=64 n_kv=64"), kAvx512, Form::fused, 1).q_rounding, QRounding::none);
}

TEST(GgmlContract, HalfValuesAreAddedUpInHalvesExceptInTiles) {
  const auto vec = cpu_contract(problem("d=64 n_q=1 n_kv=64"), kAvx512, Form::fused, 1);
  EXPECT_EQ(vec.u_acc, kUnitF16);
  EXPECT_EQ(vec.omega_acc, 0x1p-25);
  EXPECT_EQ(vec.u_p, 0);
  EXPECT_FALSE(vec.honours_prec_f32);
  const auto tiled = cpu_contract(problem("d=64 n_q=64 n_kv=64"), kAvx512, Form::fused, 1);
  EXPECT_EQ(tiled.u_acc, kUnitF32);
  EXPECT_EQ(tiled.tile, 64);
  EXPECT_TRUE(tiled.honours_prec_f32);
  const auto f32 = cpu_contract(problem("d=64 n_q=1 n_kv=64 v=q8_0"), kAvx512, Form::fused, 1);
  EXPECT_EQ(f32.u_acc, kUnitF32);
  EXPECT_TRUE(f32.honours_prec_f32);
}

TEST(GgmlContract, HalfArithmeticRoundsDotsAndWeightsToo) {
  CpuArithmetic fp16 = kAvx512;
  fp16.f16_math = true;
  const auto vec = cpu_contract(problem("d=64 n_q=1 n_kv=64"), fp16, Form::fused, 1);
  EXPECT_EQ(vec.u_qk, kUnitF16);
  EXPECT_EQ(vec.u_p, kUnitF16);
  EXPECT_EQ(cpu_contract(problem("d=64 n_q=1 n_kv=64 kv=f32"), fp16, Form::fused, 1).u_qk, kUnitF32);
}

TEST(GgmlContract, SplitHasAChunkPerThread) {
  EXPECT_EQ(cpu_contract(problem("d=64 n_q=1 n_kv=700"), kAvx512, Form::fused, 5).chunks, 5);
  EXPECT_EQ(cpu_contract(problem("d=64 n_q=3 n_kv=700"), kAvx512, Form::fused, 5).chunks, 1);
}

TEST(GgmlContract, UnfusedRoundsNormalisedWeightsToVsType) {
  const auto unit = [](const char* v) {
    return cpu_contract(problem("d=64 n_kv=64 k=f32 v=" + std::string(v)), kAvx512, Form::unfused, 1);
  };
  EXPECT_EQ(unit("f16").u_p, kUnitF16);
  EXPECT_EQ(unit("bf16").u_p, kUnitBf16);
  EXPECT_EQ(unit("f32").u_p, kUnitF32);
  EXPECT_EQ(unit("q4_0").u_p, kUnitF32);
  EXPECT_TRUE(unit("f16").p_normalised);
}

}  // namespace
}  // namespace attest::ggml
