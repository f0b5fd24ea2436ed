// Lanes in step: what kernels that count on a simdgroup's lockstep get on a GPU, branches and loops included.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/metal/sim/block_order.h"
#include "backends/metal/sim/testing/msl_bench.h"

namespace attest::metal {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

const char* const kProgram = R"(
kernel void exchange(device int* out [[buffer(0)]], threadgroup int* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  x[i] = int(i);
  out[i] = x[i ^ 31];
}
kernel void one_writes(device int* out [[buffer(0)]], threadgroup int* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  int sum = 0;
  for (uint j = 0; j < 32; ++j) {
    if (i == j) x[0] = int(10 * j);
    sum += x[0];
  }
  out[i] = sum;
}
kernel void both_ways(device int* out [[buffer(0)]], threadgroup int* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i % 2 == 0) {
    x[i] = 1;
    if (i % 4 == 0) x[i] += 1;
  } else {
    for (uint k = 0; k < i; ++k) x[i] = int(k);
    x[i] = 3;
  }
  int sum = 0;
  for (uint k = 0; k < 32; ++k) sum += x[k];
  out[i] = sum;
}
// As many rounds as the lane's number: those that are done wait behind the loop.
kernel void rounds(device int* out [[buffer(0)]], threadgroup int* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]],
                   device const int* in [[buffer(1)]]) {
  x[i] = 0;
  for (uint k = 0; k < i; ++k) {
    if (in[k] == 0) continue;
    for (int n = 0; n < in[k]; ++n) x[k] += x[k] < 0 ? 0 : 1;
    if (in[k] > 2) break;
  }
  out[i] = x[31 - i];
}
kernel void votes(device int* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  int v = 0;
  if (i < 8) v = simd_sum(1);
  else if (i < 20) v = simd_sum(100);
  for (uint k = 0; k < i % 4; ++k) v += simd_sum(1000);
  out[i] = v + simd_sum(1000000);
}
)";

std::vector<int> answer(const std::string& kernel, RunOrder::Kind order, const std::vector<int>& in = {}) {
  MslBench bench(kProgram, {ExecutionModel::lockstep, {order, 5}});
  std::vector<int> out(32);
  const auto found = bench.run<int, int>(kernel, out, 32, in, 128);
  EXPECT_TRUE(found.empty()) << found.front().text;
  return out;
}

class Lockstep : public ::testing::TestWithParam<RunOrder::Kind> {};

TEST_P(Lockstep, AccessesOfAllLanesComeBeforeTheNextOfAny) {
  const auto out = answer("exchange", GetParam());
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], i ^ 31);
}

TEST_P(Lockstep, WhatOneLaneWritesInABranchAllReadBehindIt) {
  EXPECT_THAT(answer("one_writes", GetParam()), Each(10 * 31 * 32 / 2));
}

TEST_P(Lockstep, LanesMeetBehindBranchesAndLoops) {
  EXPECT_THAT(answer("both_ways", GetParam()), Each(8 * 2 + 8 * 1 + 16 * 3));
}

// Every lane beyond k adds to x[k] at once: all read the same, all write one more.
TEST_P(Lockstep, LanesThatLeaveALoopWaitForTheOthers) {
  std::vector<int> in(32, 1);
  in[3] = 0, in[5] = 2, in[9] = 3;
  const auto out = answer("rounds", GetParam(), in);
  for (std::size_t k = 0; k < 32; ++k) EXPECT_EQ(out[31 - k], k > 9 ? 0 : in[k]) << k;
}

TEST_P(Lockstep, OperationsOfTheSimdgroupTakeTheLanesThatAreThere) {
  const auto out = answer("votes", GetParam());
  for (int i = 0; i < 32; ++i) {
    const int rounds = i % 4;
    int sum = i < 8 ? 8 : i < 20 ? 1200 : 0;
    for (int k = 0; k < rounds; ++k) sum += 8 * (3 - k) * 1000;
    EXPECT_EQ(out[static_cast<std::size_t>(i)], sum + 32000000) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, Lockstep,
                         ::testing::Values(RunOrder::Kind::fifo, RunOrder::Kind::lifo, RunOrder::Kind::random));

// The free model lets lane 31 run ahead: the same kernels depend on the order there.
TEST(LockstepOrNot, KernelsThatCountOnItDependOnTheOrderWithoutIt) {
  for (const char* kernel : {"exchange", "one_writes"}) {
    std::vector<int> up(32), down(32);
    MslBench(kProgram, {ExecutionModel::free, {RunOrder::Kind::fifo, 0}}).run<int, int>(kernel, up, 32, {}, 128);
    MslBench(kProgram, {ExecutionModel::free, {RunOrder::Kind::lifo, 0}}).run<int, int>(kernel, down, 32, {}, 128);
    EXPECT_NE(up, down) << kernel;
  }
}

TEST(BlockOrder, ABranchRanksBetweenItsForkAndItsJoin) {
  // 0 forks to 2 and 3, which join in 1.
  const BlockOrder order = weak_topological_order({{2, 3}, {}, {1}, {1}});
  EXPECT_EQ(order.rank[0], 0U);
  EXPECT_EQ(order.rank[1], 3U);
  EXPECT_THAT(order.last, ElementsAre(0, 0, 0, 0));
}

TEST(BlockOrder, LoopsAreContiguousAndWhatFollowsThemRanksBehind) {
  // 0 -> 4 (head) -> 2 (inner head) -> 3 -> 2 or 5; 5 -> 4 or 1 (exit); the head may leave for 1 as well; 6 is dead.
  const BlockOrder order = weak_topological_order({{4}, {}, {3}, {2, 5}, {2, 1}, {4, 1}, {1}});
  EXPECT_THAT(order.rank, ElementsAre(0, 5, 2, 3, 1, 4, 6));
  EXPECT_THAT(order.last, ElementsAre(0, 0, 3, 0, 4, 0, 0));
}

TEST(BlockOrder, ALoopOfOneBlockEndsWithIt) {
  const BlockOrder order = weak_topological_order({{1}, {1, 2}, {}});
  EXPECT_THAT(order.rank, ElementsAre(0, 1, 2));
  EXPECT_THAT(order.last, ElementsAre(0, 1, 0));
}

}  // namespace
}  // namespace attest::metal
