// The simulator's MSL against statements of the Metal Shading Language specification, apart from attention.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/metal/sim/testing/msl_bench.h"

namespace attest::metal {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();

const char* const kProgram = R"(
constant int FC_n [[function_constant(3)]];
constant int twice = FC_n * 2;
constant bool has_n = is_function_constant_defined(FC_n);

kernel void halves(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  const half big = half(in[0]), two = half(in[1]), one = half(in[2]), eps = half(in[3]);
  out[0] = float(big * two / two);
  out[1] = float(one + eps - one);
  out[2] = float(half(65519.0f));
  out[3] = float(half(65520.0f));
  out[4] = float(half(1.0f + 0x1p-11f));        // a tie: to even
  out[5] = float(half(1.0f + 3 * 0x1p-11f));
  out[6] = float(fma(one + eps, one, -one));
  out[7] = float(half(0x1p-25f));
  const bfloat b = bfloat(in[2]) + bfloat(0x1p-9f);
  out[8] = float(b);
}
kernel void conversions(device int* out [[buffer(0)]], device const float* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  const int4 t = int4(float4(in[0], in[1], in[2], in[3]));
  out[0] = t.x; out[1] = t.y; out[2] = t.z; out[3] = t.w;
  out[4] = int(uchar(300));
  out[5] = int(char(200));
  out[6] = as_type<int>(1.0f);
  out[7] = int(as_type<ushort>(half(1.0h)));
  out[8] = int(rint(in[4]));
  out[9] = int(round(in[4]));
  int large = 2147483647;
  out[10] = large + int(in[5]);
  uint small = 0u;
  out[11] = int(small - 1u);
  out[12] = addsat(char(100), char(100));
  out[13] = mulhi(1 << 20, 1 << 20);
  out[14] = int(clz(ushort(1)));
  out[15] = int(popcount(uchar(255)));
  out[16] = int(rotate(uchar(0x81), uchar(1)));
  out[17] = int(extract_bits(0xabcdu, 4, 8));
  out[18] = int(ctz(0u));
}
kernel void nan_rules(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  const float nan = in[0], one = in[1];
  out[0] = precise::max(nan, one);
  out[1] = precise::min(one, nan);
  out[2] = fmax(nan, one);
  out[3] = fast::max(nan, one);  // a comparison: says nothing of NaN
  out[4] = fast::max(one, nan);
  out[5] = isnan(max(nan, nan)) ? 1.0f : 0.0f;
  out[6] = clamp(nan, 0.0f, one);
  out[7] = sign(nan);
  out[8] = float(isinf(one / (one - one)));
}
struct Mixed { half a; float3 b; packed_float3 c; char d; };
kernel void layouts(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  out[0] = sizeof(float3); out[1] = alignof(float3); out[2] = sizeof(packed_float3); out[3] = alignof(packed_float3);
  out[4] = sizeof(half3); out[5] = sizeof(char3); out[6] = sizeof(bool4); out[7] = sizeof(half4);
  out[8] = sizeof(Mixed); out[9] = sizeof(float3x3); out[10] = sizeof(half2x4); out[11] = sizeof(long); out[12] = sizeof(bfloat4);
}
kernel void swizzles(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  float4 v(1, 2, 3, 4);
  v.xy = v.yx;
  v.w += 10;
  const float4 w = v.wzyx * 2.0f + float4(float2(0.5f), v.bg);
  const packed_float4 p = w;
  const float2x3 m(float3(1, 2, 3), float3(4, 5, 6));
  const float3 mv = m * float2(1, 10);
  const float2 vm = float3(1, 1, 1) * m;
  const float parts[] = {v.x, v.y, v.z, v.w, p[0], p[1], p[2], p[3], mv.x, mv.y, mv.z, vm.x, vm.y, dot(v, v), float(all(v > 0)), float(any(v > 13.0f))};
  for (int k = 0; k < 16; ++k) out[k] = parts[k];
}
kernel void lanes(device int* out [[buffer(0)]], ushort lane [[thread_index_in_simdgroup]], ushort group [[simdgroup_index_in_threadgroup]],
                  uint i [[thread_index_in_threadgroup]]) {
  const int v = int(i);
  const int results[] = {simd_sum(v), simd_max(v), simd_prefix_exclusive_sum(1), simd_prefix_inclusive_sum(v),
                         simd_shuffle_xor(v, 5), simd_shuffle_down(v, 4), simd_shuffle_up(v, 4), simd_broadcast(v, 7),
                         simd_shuffle(v, ushort(31 - lane)), quad_sum(v), quad_shuffle_xor(v, 3), simd_shuffle_rotate_down(v, 1),
                         int(ulong(simd_ballot(lane % 2 == 0))), int(simd_all(lane < 32)), int(simd_any(lane == 40)),
                         simd_broadcast_first(v)};
  for (int k = 0; k < 16; ++k) out[16 * i + k] = results[k];
}
template <class T>
void products(device float* out, device const float* in, threadgroup T* a, ushort lane) {
  for (int k = lane; k < 128; k += 32) a[k] = T(in[k]);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  simdgroup_matrix<T, 8, 8> x, y;
  simdgroup_float8x8 z = make_filled_simdgroup_matrix<float, 8, 8>(1.0f);
  simdgroup_load(x, a, 8);
  simdgroup_load(y, a + 64, 8, ulong2(0), true);
  simdgroup_multiply_accumulate(z, x, y, z);
  simdgroup_store(z, out, 8);
}
kernel void product_f32(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], ushort lane [[thread_index_in_simdgroup]]) {
  threadgroup float a[128];
  products<float>(out, in, a, lane);
}
kernel void product_f16(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], ushort lane [[thread_index_in_simdgroup]]) {
  threadgroup half a[128];
  products<half>(out, in, a, lane);
}
kernel void product_bf16(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], ushort lane [[thread_index_in_simdgroup]]) {
  threadgroup bfloat a[128];
  products<bfloat>(out, in, a, lane);
}
kernel void shared_objects(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup int values[64], first;
  threadgroup atomic_int count;
  if (i == 0) { first = 42; atomic_store_explicit(&count, 0, memory_order_relaxed); }
  values[i] = int(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_add_explicit(&count, 2, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = values[63 - i] + first + atomic_load_explicit(&count, memory_order_relaxed);
}
kernel void constants(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) { out[0] = has_n ? FC_n : -1; out[1] = twice; }
}
kernel void grid(device int* out [[buffer(0)]], uint3 at [[thread_position_in_grid]], uint3 size [[threads_per_grid]],
                 uint2 group [[threadgroup_position_in_grid]], ushort3 local [[thread_position_in_threadgroup]]) {
  out[at.x + at.y * size.x] = int(group.x + 10 * group.y + 100 * local.x + 1000 * local.y);
}
template <typename T> kernel void typed(device T* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) { out[i] = T(i) / T(2); }
template [[host_name("typed_int")]] kernel void typed<int>(device int*, uint);
typedef decltype(typed<float>) typed_t;
template [[host_name("typed_float")]] kernel typed_t typed<float>;
)";

class Language : public ::testing::Test {
 protected:
  MslBench& bench() {
    static MslBench bench(kProgram);
    return bench;
  }
};

TEST_F(Language, HalfRoundsAfterEveryOperation) {
  std::vector<float> out(9);
  bench().run("halves", out, 1, std::vector<float>{65504, 2, 1, 0x1p-11F});
  EXPECT_EQ(out[0], kInf) << "excess precision: the product must overflow before the division";
  EXPECT_EQ(out[1], 0);
  EXPECT_EQ(out[2], 65504);
  EXPECT_EQ(out[3], kInf);
  EXPECT_EQ(out[4], 1);
  EXPECT_EQ(out[5], 1 + 0x1p-9F);
  EXPECT_EQ(out[6], 0);
  EXPECT_EQ(out[7], 0);
  EXPECT_EQ(out[8], 1) << "bfloat has 8 bits";
}

TEST_F(Language, ConversionsTruncateAndIntegersWrap) {
  std::vector<int> out(19);
  bench().run("conversions", out, 1, std::vector<float>{1.9F, -1.9F, 0.5F, -0.5F, 2.5F, 1});
  EXPECT_THAT(out, ElementsAre(1, -1, 0, 0, 44, -56, 0x3f800000, 0x3c00, 2, 3, std::numeric_limits<int>::min(), -1, 127,
                               256, 15, 8, 3, 0xbc, 32));
}

TEST_F(Language, PreciseMinMaxReturnTheNumberFastOnesCompare) {
  std::vector<float> out(9);
  bench().run("nan_rules", out, 1, std::vector<float>{std::nanf(""), 1});
  EXPECT_EQ(out[0], 1);
  EXPECT_EQ(out[1], 1);
  EXPECT_EQ(out[2], 1);
  EXPECT_TRUE(std::isnan(out[3]));
  EXPECT_EQ(out[4], 1);
  EXPECT_EQ(out[5], 1);
  EXPECT_EQ(out[6], 0);
  EXPECT_EQ(out[7], 0);
  EXPECT_EQ(out[8], 1);
}

TEST_F(Language, VectorsOfThreeTakeTheRoomOfFourAndPackedOnesDoNot) {
  std::vector<int> out(13);
  bench().run("layouts", out, 1);
  EXPECT_THAT(out, ElementsAre(16, 16, 12, 4, 8, 4, 4, 8, 48, 48, 16, 8, 8));
}

TEST_F(Language, SwizzlesReadAndWriteAndMatricesMultiplyByColumns) {
  std::vector<float> out(16);
  bench().run("swizzles", out, 1);
  EXPECT_THAT(out, ElementsAre(2, 1, 3, 14, 28.5F, 6.5F, 5, 5, 41, 52, 63, 6, 15, 210, 1, 1));
}

TEST_F(Language, LanesReduceScanShuffleAndVote) {
  std::vector<int> out(64 * 16);
  EXPECT_TRUE(bench().run("lanes", out, 64).empty());
  for (int i = 0; i < 64; ++i) {
    const int lane = i % 32, first = i - lane;
    const auto got = [&](int k) { return out[static_cast<std::size_t>(16 * i + k)]; };
    EXPECT_EQ(got(0), 32 * first + 496);
    EXPECT_EQ(got(1), first + 31);
    EXPECT_EQ(got(2), lane);
    EXPECT_EQ(got(3), (lane + 1) * first + lane * (lane + 1) / 2);
    EXPECT_EQ(got(4), first + (lane ^ 5));
    EXPECT_EQ(got(5), lane + 4 < 32 ? i + 4 : i) << "out of range: the lane's own value stands in for an undefined one";
    EXPECT_EQ(got(6), lane >= 4 ? i - 4 : i);
    EXPECT_EQ(got(7), first + 7);
    EXPECT_EQ(got(8), first + 31 - lane);
    EXPECT_EQ(got(9), 4 * (i - i % 4) + 6);
    EXPECT_EQ(got(10), i ^ 3);
    EXPECT_EQ(got(11), first + (lane + 1) % 32);
    EXPECT_EQ(got(12), 0x55555555);
    EXPECT_EQ(got(13), 1);
    EXPECT_EQ(got(14), 0);
    EXPECT_EQ(got(15), first);
  }
}

TEST_F(Language, SimdgroupMatricesMultiplyInEveryType) {
  std::vector<float> in(128);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>((i * 7) % 11) - 5;
  std::vector<float> expected(64);
  for (std::size_t r = 0; r < 8; ++r) {
    for (std::size_t c = 0; c < 8; ++c) {
      float sum = 1;
      for (std::size_t k = 0; k < 8; ++k) sum += in[8 * r + k] * in[64 + 8 * c + k];  // loaded transposed
      expected[8 * r + c] = sum;
    }
  }
  for (const char* kernel : {"product_f32", "product_f16", "product_bf16"}) {
    std::vector<float> out(64);
    EXPECT_TRUE(bench().run(kernel, out, 32, in).empty());
    EXPECT_THAT(out, ElementsAreArray(expected)) << kernel;
  }
}

TEST_F(Language, ThreadgroupObjectsAreOnePerThreadgroup) {
  std::vector<int> out(64);
  EXPECT_TRUE(bench().run("shared_objects", out, 64).empty());
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], 63 - i + 42 + 128);
}

TEST_F(Language, FunctionConstantsAreSetPerDispatchAndThoseComputedFromThemFollow) {
  std::vector<int> out(2);
  bench().run<int, float>("constants", out, 1, {}, 0, {{3, 'i', 21}});
  EXPECT_THAT(out, ElementsAre(21, 42));
  bench().run<int, float>("constants", out, 1, {}, 0, {});
  EXPECT_THAT(out, ElementsAre(-1, 0));
}

TEST_F(Language, PositionsCountThreadgroupsAndThreads) {
  std::vector<int> out(24);
  Dispatch d;
  d.function = "grid";
  d.arguments = {Argument::output(0, out.data(), 96)};
  d.threadgroups = {3, 2, 1};
  d.threads = {2, 2, 1};
  ASSERT_TRUE(bench().device().run({d}));
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 6; ++x) {
      EXPECT_EQ(out[static_cast<std::size_t>(6 * y + x)], x / 2 + 10 * (y / 2) + 100 * (x % 2) + 1000 * (y % 2));
    }
  }
}

TEST_F(Language, InstancesWithAHostNameAreKernels) {
  std::vector<int> ints(4);
  bench().run("typed_int", ints, 4);
  EXPECT_THAT(ints, ElementsAre(0, 0, 1, 1));
  std::vector<float> floats(4);
  bench().run("typed_float", floats, 4);
  EXPECT_THAT(floats, ElementsAre(0, 0.5F, 1, 1.5F));
}

TEST_F(Language, WhatAppleRefusesAtADispatchIsRefused) {
  std::vector<int> out(2);
  bench().run("constants", out, 1025);
  EXPECT_THAT(bench().refused(), HasSubstr("1025 threads"));
  bench().run<int, float>("constants", out, 1, {}, 32784);
  EXPECT_THAT(bench().refused(), HasSubstr("32784 bytes of threadgroup memory, Metal has 32768"));
  bench().run<int, float>("constants", out, 1, {}, 24);
  EXPECT_THAT(bench().refused(), HasSubstr("no multiple of 16"));
  bench().run("constant", out, 1);
  EXPECT_THAT(bench().refused(), HasSubstr("did you mean 'constants'?"));
  bench().run("constants", out, 0);
  EXPECT_THAT(bench().refused(), HasSubstr("an empty grid"));
}

const char* const kArguments = R"(
constant int used [[function_constant(0)]];
constant int led_to [[function_constant(1)]];
constant int asked [[function_constant(2)]];
constant int elsewhere [[function_constant(3)]];
constant int doubled = led_to * 2;
struct Three { float a, b, c; };
inline float helper(float x) { return x * doubled; }
kernel void f(device float* out [[buffer(0)]], constant Three& p [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) out[0] = helper(p.c) + used + (is_function_constant_defined(asked) ? asked : 0);
}
kernel void g(device float* out [[buffer(0)]], constant float* p [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) out[0] = p[0] + elsewhere;
}
)";

TEST(Arguments, AFunctionConstantThatAKernelLeadsToNeedsAValue) {
  MslBench b(kArguments);
  std::vector<float> out(1), in{1, 2, 3};
  b.run("f", out, 32, in, 0, {{0, 'i', 10}});
  EXPECT_THAT(b.refused(), HasSubstr("kernel 'f' needs function constant 1 ('led_to'), which is given no value"));
  EXPECT_TRUE(b.run("f", out, 32, in, 0, {{0, 'i', 10}, {1, 'i', 2}}).empty());
  EXPECT_EQ(out[0], 22) << "what the file asks after may be missing, and what only others use";
  b.run("g", out, 32, in);
  EXPECT_THAT(b.refused(), HasSubstr("function constant 3 ('elsewhere')"));
}

// As Metal's validation has it: an argument must hold what its reference reads.
TEST(Arguments, AReferenceNeedsItsBytes) {
  MslBench b(kArguments);
  std::vector<float> out(1);
  b.run("f", out, 32, std::vector<float>{1, 2}, 0, {{0, 'i', 10}, {1, 'i', 2}});
  EXPECT_THAT(b.refused(), HasSubstr("kernel 'f' takes 12 bytes at buffer(1), it is given 8"));
}

TEST(ArgumentsDeathTest, BytesThatAreSetEndAtAGuardAndAreNotWritten) {
  MslBench b(kArguments);
  std::vector<float> out(1);
  Dispatch d;
  d.function = "g";
  d.constants = {{3, 'i', 1}};
  d.arguments = {Argument::output(0, out.data(), 4), Argument::value(1, std::array<std::byte, 2>{})};
  d.threads.x = 32;
  EXPECT_DEATH((void)b.device().run({d}), "") << "a float is read of two bytes";
}

}  // namespace
}  // namespace attest::metal
