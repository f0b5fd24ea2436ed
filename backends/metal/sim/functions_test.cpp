// The simulator's MSL, continued: integers, bits, rounding, atomics, packed types in memory, quadgroups and scans.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backends/metal/sim/testing/msl_bench.h"

namespace attest::metal {
namespace {

using ::testing::ElementsAre;

const char* const kProgram = R"(
kernel void integers(device int* out [[buffer(0)]], device const int* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  const int least = in[0], big = in[1];
  int k = 0;
  out[k++] = abs(least);                       // stays: two's complement
  out[k++] = least - 1;
  out[k++] = big * 2;
  out[k++] = int(mulhi(0xffffffffu, 0xffffffffu));
  out[k++] = subsat(uchar(3), uchar(5));
  out[k++] = addsat(big, 1);
  out[k++] = madsat(big, 2, 1);
  out[k++] = hadd(big, big);                   // no overflow in between
  out[k++] = rhadd(3, 4);
  out[k++] = int(absdiff(3u, 5u));
  out[k++] = int(reverse_bits(1u));
  out[k++] = int(insert_bits(0xffff0000u, 0x5au, 4u, 8u));
  out[k++] = extract_bits(0x00000f80, 7u, 5u); // signed: the top bit counts
  out[k++] = int(extract_bits(0x00000f80u, 7u, 5u));
  out[k++] = mad24(1000, 1000, 7);
  out[k++] = median3(7, 3, 5);
  out[k++] = int(clz(0u));
  out[k++] = int(popcount(ulong(-1L)));
  out[k++] = int(short(70000));
  out[k++] = int(ushort(-1));
  out[k++] = int(true) + int(bool(in[2]));
  out[k++] = -7 / 2;
  out[k++] = -7 % 2;
  out[k++] = in[3] >> 1;                       // arithmetic
}
kernel void roundings(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  int k = 0;
  const half one = half(in[0]), three = half(in[1]);
  out[k++] = float(one / three);               // rounded to half
  out[k++] = float(one / three * three - one); // after every operation
  out[k++] = float(sqrt(three));
  out[k++] = float(half(int(2049)));           // a tie: to even
  out[k++] = float(half(uint(65520)));
  out[k++] = float(half(0x1p-24f));            // the least subnormal stays
  out[k++] = float(half(0x1.8p-25f));
  out[k++] = float(bfloat(in[2]));             // 1 + 2^-8: a tie
  out[k++] = float(bfloat(in[3]));             // 1 + 3 2^-8
  out[k++] = float(bfloat(float(half(in[3]))));
  out[k++] = rint(2.5f);
  out[k++] = rint(-3.5f);
  out[k++] = round(-2.5f);                     // away from 0
  out[k++] = trunc(-2.7f);
  out[k++] = floor(-2.2f);
  out[k++] = fract(-0.25f);
  out[k++] = fract(-1e-9f);                    // below 1 all the same
  out[k++] = fmod(-7.0f, 3.0f);
  out[k++] = step(1.0f, 1.0f);
  out[k++] = mix(2.0f, 4.0f, 0.25f);
  out[k++] = saturate(-0.5f);
  out[k++] = copysign(3.0f, -0.0f);
  out[k++] = fma(0x1.000002p0f, 0x1.000002p0f, -1.0f);
  out[k++] = float(exp2(half(3.0h)));
  out[k++] = ldexp(3.0f, -2);
  out[k++] = float(ilogb(10.0f));
  out[k++] = nextafter(1.0f, 2.0f);
}
kernel void not_numbers(device int* out [[buffer(0)]], device const float* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  const float nan = in[0], inf = in[1];
  int k = 0;
  out[k++] = isnan(half(nan)) && isnan(bfloat(nan)) && !isnan(inf);
  out[k++] = isinf(half(inf)) && isinf(half(1e6f)) && isinf(-inf);
  out[k++] = isfinite(65504.0h) && !isfinite(nan);
  out[k++] = isnormal(0x1p-126f) && !isnormal(0x1p-127f) && !isnormal(half(0x1p-15f)) && !isnormal(0.0f);
  out[k++] = isordered(1.0f, inf) && isunordered(nan, 1.0f);
  out[k++] = nan != nan && !(nan < 1.0f) && !(nan >= 1.0f);
  out[k++] = all(isnan(float2(nan, nan))) && !any(isnan(float3(1.0f, inf, 0.0f)));
  out[k++] = precise::min(nan, 1.0f) == 1.0f && precise::max(1.0f, nan) == 1.0f;
  out[k++] = precise::exp(-inf) == 0.0f && isinf(precise::exp(inf)) && isnan(precise::exp(nan));
  out[k++] = signbit(-0.0f) && signbit(-nan) != signbit(nan);
  out[k++] = select(1, 2, nan == nan) == 1 && all(select(int2(1, 2), int2(3, 4), bool2(true, false)) == int2(3, 2));
  out[k++] = isnan(inf - inf) && isnan(0.0f * inf) && 1.0f / -inf == 0.0f;
}
kernel void counters(device atomic_int* out [[buffer(0)]], device const int* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup atomic_uint seen;
  if (i == 0) atomic_store_explicit(&seen, 0u, memory_order_relaxed);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  atomic_fetch_or_explicit(&seen, 1u << (i % 32), memory_order_relaxed);
  atomic_fetch_add_explicit(&out[0], 3, memory_order_relaxed);
  atomic_fetch_sub_explicit(&out[1], int(i), memory_order_relaxed);
  atomic_fetch_max_explicit(&out[2], int(i * 7 % 64), memory_order_relaxed);
  atomic_fetch_min_explicit(&out[3], int(i * 7 % 64) - 20, memory_order_relaxed);
  atomic_fetch_and_explicit(&out[4], ~(1 << int(i % 8)), memory_order_relaxed);
  atomic_fetch_xor_explicit(&out[5], int(i), memory_order_relaxed);
  int expected = atomic_load_explicit(&out[6], memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&out[6], &expected, expected * 2 % 1009, memory_order_relaxed, memory_order_relaxed)) {
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (i == 0) {
    atomic_store_explicit(&out[7], int(popcount(atomic_load_explicit(&seen, memory_order_relaxed))), memory_order_relaxed);
    atomic_store_explicit(&out[8], int(atomic_exchange_explicit(&seen, 5u, memory_order_relaxed) == ~0u), memory_order_relaxed);
    atomic_store_explicit(&out[9], int(atomic_load_explicit(&seen, memory_order_relaxed)), memory_order_relaxed);
  }
}
struct Packed { uchar before; packed_half3 h; packed_char4 c; packed_float3 f; };
kernel void packed_types(device int* out [[buffer(0)]], device const uchar* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  device const Packed* p = (device const Packed*)in;
  const float3 f = p[1].f;
  const half3 h = half3(p[1].h) * 2.0h;
  int k = 0;
  out[k++] = int(sizeof(Packed));
  out[k++] = int(alignof(Packed));
  out[k++] = int(f.z);
  out[k++] = int(h.y);
  out[k++] = int(p[1].c[3]);
  thread packed_uchar4 bytes = packed_uchar4(uchar4(1, 2, 3, 4));
  bytes[2] = 9;
  out[k++] = as_type<int>(uchar4(bytes));
  out[k++] = int(sizeof(packed_short3));
  out[k++] = int(alignof(packed_uint2));
}
kernel void groups_of_lanes(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]], ushort lane [[thread_index_in_simdgroup]],
                            ushort in_quad [[thread_index_in_quadgroup]], ushort quad [[quadgroup_index_in_threadgroup]]) {
  const int v = int(i) + 1;
  const int results[] = {
      simd_min(v), simd_and(v | 64), simd_or(v), simd_xor(v), int(simd_product(lane < 3 ? v : 1)),
      simd_prefix_inclusive_product(lane < 5 ? 2 : 1), int(simd_is_first()), simd_shuffle_rotate_up(v, 3),
      quad_min(v), quad_max(v), quad_product(int(in_quad) + 1), quad_broadcast(v, 2), quad_shuffle(v, ushort(3 - in_quad)),
      quad_shuffle_up(v, 1), quad_shuffle_down(v, 1), quad_shuffle_rotate_down(v, 1), quad_prefix_exclusive_sum(v),
      quad_prefix_inclusive_sum(1), int(uint(quad_ballot(in_quad > 1))), int(quad_all(quad < 3)), int(quad_any(v == 6)),
      int(quad_is_first()), quad_broadcast_first(v), simd_shuffle_and_fill_up(v, -v, 2), simd_shuffle_and_fill_down(v, -v, 2, 8),
      int(ulong(simd_active_threads_mask())), simd_shuffle(v, 40), int(simd_sum(half(0.5h)))};
  for (int k = 0; k < 28; ++k) out[28 * i + k] = results[k];
}
)";

MslBench& bench() {
  static MslBench bench(kProgram);
  return bench;
}

constexpr int kLeast = std::numeric_limits<int>::min(), kMost = std::numeric_limits<int>::max();

TEST(Functions, IntegersWrapSaturateAndShowTheirBits) {
  std::vector<int> out(24);
  bench().run("integers", out, 1, std::vector<int>{kLeast, kMost, 2, -5});
  EXPECT_THAT(out,
              ::testing::ElementsAreArray(
                  {kLeast, kMost, -2,      -2, 0,  kMost, kMost, kMost, 4, 2,  kLeast, static_cast<int>(0xffff05a0U),
                   -1,     31,    1000007, 5,  32, 64,    4464,  65535, 2, -3, -1,     -3}));
}

TEST(Functions, RoundingIsPerOperationAndToTheNearest) {
  std::vector<float> out(27);
  bench().run("roundings", out, 1, std::vector<float>{1, 3, 1 + 0x1p-8F, 1 + 3 * 0x1p-8F});
  const float third = 0x1.554p-2F;
  EXPECT_THAT(out, ::testing::ElementsAreArray({third,
                                                0.0F,
                                                0x1.bb8p0F,
                                                2048.0F,
                                                std::numeric_limits<float>::infinity(),
                                                0x1p-24F,
                                                0x1p-24F,
                                                1.0F,
                                                1 + 0x1p-6F,
                                                1 + 0x1p-6F,
                                                2.0F,
                                                -4.0F,
                                                -3.0F,
                                                -2.0F,
                                                -3.0F,
                                                0.75F,
                                                0x1.fffffep-1F,
                                                -1.0F,
                                                1.0F,
                                                2.5F,
                                                0.0F,
                                                -3.0F,
                                                0x1.000001p-22F,
                                                8.0F,
                                                0.75F,
                                                3.0F,
                                                0x1.000002p0F}));
}

TEST(Functions, NanAndInfinityFollowTheirRules) {
  std::vector<int> out(12);
  bench().run("not_numbers", out, 1, std::vector<float>{std::nanf(""), std::numeric_limits<float>::infinity()});
  EXPECT_THAT(out, ::testing::Each(1));
}

TEST(Functions, AtomicsOfAllThreadsAddUpInEveryOrder) {
  int doubled = 1;
  for (int i = 0; i < 64; ++i) doubled = doubled * 2 % 1009;
  for (const auto kind : {RunOrder::Kind::fifo, RunOrder::Kind::lifo, RunOrder::Kind::random}) {
    MslBench other(kProgram, {ExecutionModel::free, {kind, 3}});
    std::vector<int> out{0, 0, 0, 0, -1, 0, 1, 0, 0, 0};
    EXPECT_TRUE(other.run("counters", out, 64, std::vector<int>(1)).empty());
    EXPECT_THAT(out, ElementsAre(192, -2016, 63, -20, ~0xff, 0, doubled, 32, 1, 5));
  }
}

TEST(Functions, PackedTypesLieWithoutPaddingInMemory) {
  // uchar, half3 from byte 2 on, char4, float3 from byte 12 on: 24 bytes.
  std::vector<unsigned char> in(48);
  const float f = 77;
  std::memcpy(in.data() + 24 + 20, &f, 4);
  const std::uint16_t h = 0x4200;  // 3
  std::memcpy(in.data() + 24 + 4, &h, 2);
  in[24 + 11] = 0xfe;
  std::vector<int> out(8);
  bench().run("packed_types", out, 1, in);
  EXPECT_THAT(out, ElementsAre(24, 4, 77, 6, -2, 0x04090201, 6, 4));
}

TEST(Functions, QuadgroupsAndScansCountTheirOwnLanes) {
  std::vector<int> out(64 * 28);
  EXPECT_TRUE(bench().run("groups_of_lanes", out, 64).empty());
  for (int i = 0; i < 64; ++i) {
    const int v = i + 1, lane = i % 32, first = i - lane, q = i % 4, quad = i / 4, q1 = i - q + 1;
    int all_and = ~0, all_or = 0, all_xor = 0;
    for (int l = 1; l <= 32; ++l) {
      all_and &= (first + l) | 64;
      all_or |= first + l;
      all_xor ^= first + l;
    }
    const std::vector<int> expected{first + 1,
                                    all_and,
                                    all_or,
                                    all_xor,
                                    (first + 1) * (first + 2) * (first + 3),
                                    lane < 5 ? 2 << lane : 32,
                                    lane == 0,
                                    first + (lane + 29) % 32 + 1,
                                    q1,
                                    q1 + 3,
                                    24,
                                    q1 + 2,
                                    q1 + 3 - q,
                                    q > 0 ? v - 1 : v,
                                    q < 3 ? v + 1 : v,
                                    q1 + (q + 1) % 4,
                                    q * q1 + q * (q - 1) / 2,
                                    q + 1,
                                    12,
                                    quad < 3,
                                    quad == 1,
                                    q == 0,
                                    q1,
                                    lane < 2 ? -(first + lane + 30 + 1) : v - 2,
                                    i % 8 > 5 ? -(v - 6) : v + 2,
                                    -1,
                                    v,
                                    16};
    for (std::size_t k = 0; k < expected.size(); ++k) {
      EXPECT_EQ(out[28 * static_cast<std::size_t>(i) + k], expected[k]) << "thread " << i << ", result " << k;
    }
  }
}

}  // namespace
}  // namespace attest::metal
