// What the simulator must see: races, missing barriers, divergence, threadgroup memory out of bounds or never written;
// and what Apple's compiler would refuse, with its line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <ostream>

#include "backends/metal/sim/prepare.h"
#include "backends/metal/sim/testing/msl_bench.h"

namespace attest::metal {
namespace {

using ::testing::HasSubstr;

// Line numbers below count from the first line of this text.
const char* const kProgram =
    R"(kernel void fine(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]],
                 uint i [[thread_index_in_threadgroup]], ushort lane [[thread_index_in_simdgroup]]) {
  x[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float v = x[i ^ 33];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  x[i] = v;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[i ^ 1];
}
kernel void no_barrier(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  x[i] = float(i);
  out[i] = x[i ^ 33];
}
kernel void barrier_without_memory(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  x[i] = float(i);
  threadgroup_barrier(mem_flags::mem_device);
  out[i] = x[i ^ 33];
}
kernel void simdgroup_only(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  x[i] = float(i);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[i ^ 33];
}
kernel void overwritten_too_early(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) x[0] = 1.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[0];
  if (i == 5) x[0] = 2.0f;
}
kernel void never_written(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 9) x[i] = 1.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[i];
}
kernel void past_the_end(device float* out [[buffer(0)]], threadgroup float* x [[threadgroup(0)]], uint i [[thread_index_in_threadgroup]]) {
  x[i + 1] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[i + 1];
}
kernel void object_past_the_end(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float a[64];
  threadgroup float b[64];
  a[i] = 1.0f;
  b[i] = 2.0f;
  a[i + 8 * (i / 63)] = 3.0f;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = a[i] + b[i];
}
kernel void some_return(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 7) return;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = 1.0f;
}
kernel void two_barriers(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i < 32) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  } else {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  out[i] = 1.0f;
}
kernel void half_a_simdgroup_barrier(device float* out [[buffer(0)]], ushort lane [[thread_index_in_simdgroup]], uint i [[thread_index_in_threadgroup]]) {
  if (lane < 16) simdgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = 1.0f;
  threadgroup_barrier(mem_flags::mem_none);
}
kernel void matrix_without_lanes(device float* out [[buffer(0)]], ushort lane [[thread_index_in_simdgroup]], uint i [[thread_index_in_threadgroup]]) {
  simdgroup_float8x8 a(1.0f), b(2.0f);
  if (lane != 3) simdgroup_multiply(a, a, b);
  threadgroup_barrier(mem_flags::mem_none);
  if (i < 32) simdgroup_store(a, out, 8);
}
kernel void shuffle_from_absent(device float* out [[buffer(0)]], ushort lane [[thread_index_in_simdgroup]], uint i [[thread_index_in_threadgroup]]) {
  if (lane < 16) out[i] = simd_shuffle_xor(float(i), 16);
  threadgroup_barrier(mem_flags::mem_none);
}
kernel void divergent_sum(device float* out [[buffer(0)]], ushort lane [[thread_index_in_simdgroup]], uint i [[thread_index_in_threadgroup]]) {
  float v = 0.0f;
  for (uint k = 0; k < uint(lane) + 1; ++k) v += simd_sum(1.0f);
  out[i] = v + simd_sum(1.0f);
}
kernel void too_much_static(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  threadgroup float a[8000];
  threadgroup float b[200];
  a[i] = b[i] = 1.0f;
  out[i] = a[i];
}
kernel void one_place_for_all(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  out[0] = float(i);
}
kernel void neighbour_in_device_memory(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  out[i] = float(i);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  const float other = out[i ^ 40];
  threadgroup_barrier(mem_flags::mem_device);
  out[i] = other;
}
kernel void neighbour_behind_a_barrier(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  out[i] = float(i);
  threadgroup_barrier(mem_flags::mem_device);
  const float other = out[i ^ 40];
  threadgroup_barrier(mem_flags::mem_device);
  out[i] = other;
}
kernel void every_group_counts(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) out[0] += 1.0f;
}
kernel void copied(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], threadgroup float* x [[threadgroup(0)]],
                   uint i [[thread_index_in_threadgroup]]) {
  simdgroup_event events[2];
  if (i < 32) {
    events[0].async_copy(x, in, 16ul);
    events[1].async_copy(x + 16, ushort(8), ushort2(8, 6), in + 16, 10u, ushort2(5, 4));
    simdgroup_event::wait(2, events);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[i];
}
kernel void copied_without_waiting(device float* out [[buffer(0)]], device const float* in [[buffer(1)]], threadgroup float* x [[threadgroup(0)]],
                                   uint i [[thread_index_in_threadgroup]]) {
  simdgroup_event event;
  if (i < 32) event.async_copy(x, in, 64ul);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  out[i] = x[i];
}
kernel void divides(device int* out [[buffer(0)]], device const int* in [[buffer(1)]], uint i [[thread_index_in_threadgroup]]) {
  if (i != 0) return;
  out[0] = 7 / in[0];
  out[1] = 7 % in[0];
  out[2] = int(7L / long(in[0]));
  out[3] = int(7u % uint(in[0]));
  out[4] = 7 / in[1];
  out[5] = (-2147483647 - 1) / in[2];
  out[6] = (-2147483647 - 1) % in[2];
}
)";

MslBench& bench(ExecutionModel model, RunOrder::Kind order = RunOrder::Kind::fifo) {
  static std::map<std::pair<ExecutionModel, RunOrder::Kind>, std::unique_ptr<MslBench>> benches;
  auto& b = benches[{model, order}];
  if (!b) b = std::make_unique<MslBench>(kProgram, SimOptions{model, {order, 7}});
  return *b;
}

std::vector<Finding> findings(ExecutionModel model, const std::string& kernel) {
  std::vector<float> out(64);
  return bench(model).run<float, float>(kernel, out, 64, {}, 256);
}

// A sound kernel gives one answer in every order, and nothing is found.
TEST(Checks, ASoundKernelIsClean) {
  for (const auto model : {ExecutionModel::free, ExecutionModel::tsan}) {
    for (const auto order : {RunOrder::Kind::fifo, RunOrder::Kind::lifo, RunOrder::Kind::random}) {
      std::vector<float> out(64);
      const auto found = bench(model, order).run<float, float>("fine", out, 64, {}, 256);
      EXPECT_TRUE(found.empty()) << found.front().text;
      for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(out[i], static_cast<float>(i ^ 32));
    }
  }
}

// Without watching, a race shows as answers that depend on the order.
TEST(Checks, ARaceGivesAnotherAnswerInAnotherOrder) {
  for (const char* kernel : {"no_barrier", "simdgroup_only"}) {
    std::vector<float> up(64), down(64);
    bench(ExecutionModel::free, RunOrder::Kind::fifo).run<float, float>(kernel, up, 64, {}, 256);
    bench(ExecutionModel::free, RunOrder::Kind::lifo).run<float, float>(kernel, down, 64, {}, 256);
    EXPECT_NE(0, std::memcmp(up.data(), down.data(), 256)) << kernel;
  }
}

struct Fault {
  const char* kernel;
  const char* verdict;
  std::vector<std::string> says;
  bool needs_watching;
};

void PrintTo(const Fault& f, std::ostream* os) { *os << f.kernel; }

class Faults : public ::testing::TestWithParam<Fault> {};

TEST_P(Faults, AreFoundWithTheirLines) {
  const Fault& fault = GetParam();
  for (const auto model : {ExecutionModel::tsan, ExecutionModel::free}) {
    if (model == ExecutionModel::free && fault.needs_watching) continue;
    const auto found = findings(model, fault.kernel);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.front().verdict, fault.verdict);
    if (model == ExecutionModel::free) continue;  // knows no lines
    for (const std::string& word : fault.says) EXPECT_THAT(found.front().text, HasSubstr(word));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Planted, Faults,
    ::testing::Values(
        Fault{
            "no_barrier", "RACE", {"test.metal:13", "test.metal:12", "no barrier in between", "threadgroup(0)"}, true},
        Fault{"barrier_without_memory", "RACE", {"test.metal:18", "test.metal:16"}, true},
        Fault{"simdgroup_only", "RACE", {"test.metal:23", "test.metal:21"}, true},
        Fault{"overwritten_too_early", "RACE", {"test.metal:29 writes what test.metal:28 reads"}, true},
        Fault{"never_written", "UNINITIALISED", {"test.metal:34 reads byte 36 of threadgroup(0)"}, true},
        Fault{
            "past_the_end", "THREADGROUP-OOB", {"test.metal:37 writes 0 bytes past the end of threadgroup(0)"}, false},
        Fault{"object_past_the_end", "THREADGROUP-OOB", {"test.metal:46 writes 28 bytes past the end of 'a'"}, false},
        Fault{"some_return", "BARRIER", {"line 52", "1 of 64 threads have returned"}, false},
        Fault{"two_barriers", "BARRIER", {"line 57", "line 59"}, false},
        Fault{"half_a_simdgroup_barrier", "BARRIER", {"line 64", "16 of 32 lanes"}, false},
        Fault{"matrix_without_lanes", "DIVERGENCE", {"line 70", "31 of 32 lanes"}, false},
        Fault{"one_place_for_all", "RACE", {"test.metal:90 writes what test.metal:90 writes", "buffer(0)"}, true},
        Fault{"neighbour_in_device_memory", "RACE", {"test.metal:95 reads what test.metal:93 writes"}, true},
        Fault{"copied_without_waiting", "UNINITIALISED", {"test.metal:125 reads byte 0 of threadgroup(0)"}, true},
        Fault{"shuffle_from_absent", "DIVERGENCE", {"line 75", "takes no part"}, false}),
    [](const auto& fault) { return std::string(fault.param.kernel); });

TEST(Checks, DeviceMemoryIsOrderedByItsBarriers) {
  const auto found = findings(ExecutionModel::tsan, "neighbour_behind_a_barrier");
  EXPECT_TRUE(found.empty()) << found.front().text;
}

// Nothing orders threadgroups of a dispatch; dispatches are ordered.
TEST(Checks, ThreadgroupsThatShareDeviceMemoryRace) {
  std::vector<float> out(1);
  Dispatch d;
  d.function = "every_group_counts";
  d.arguments = {Argument::output(0, out.data(), 4)};
  d.threads = {32, 1, 1};
  const auto apart = bench(ExecutionModel::tsan).device().run({d, d});
  ASSERT_TRUE(apart);
  EXPECT_TRUE(apart->findings.empty());
  EXPECT_EQ(out[0], 2);
  d.threadgroups = {2, 1, 1};
  const auto together = bench(ExecutionModel::tsan).device().run({d});
  ASSERT_TRUE(together);
  ASSERT_FALSE(together->findings.empty());
  EXPECT_EQ(together->findings.front().verdict, "RACE");
  EXPECT_THAT(together->findings.front().text, HasSubstr("thread 0 of threadgroup 1 and thread 0 of threadgroup 0"));
}

const char* const kShared = R"(kernel void one_reads_one_updates(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) out[1] = out[0] * 2;
  if (i == 32) out[0] = out[0] * 0.5f;
}
kernel void many_barriers(device float* out [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  if (i == 0) out[0] = 1.0f;
  for (int n = 0; n < 65536; ++n) threadgroup_barrier(mem_flags::mem_device);
  if (i == 32) out[0] = 2.0f;
}
)";

// The writer's own read does not hide the other thread's.
TEST(Checks, AReaderIsRememberedBehindTheWritersOwnRead) {
  for (const RunOrder order : {RunOrder{RunOrder::Kind::fifo, 0}, RunOrder{RunOrder::Kind::lifo, 0},
                               RunOrder{RunOrder::Kind::random, 2}, RunOrder{RunOrder::Kind::random, 3}}) {
    std::vector<float> out(2);
    SimOptions options;
    options.model = ExecutionModel::tsan;
    options.order = order;
    const auto found = MslBench(kShared, options).run<float, float>("one_reads_one_updates", out, 64);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.front().verdict, "RACE");
  }
}

TEST(Checks, BarriersAreCountedBeyond16Bits) {
  std::vector<float> out(1);
  SimOptions options;
  options.model = ExecutionModel::tsan;
  const auto found = MslBench(kShared, options).run<float, float>("many_barriers", out, 33);
  EXPECT_TRUE(found.empty()) << found.front().text;
  EXPECT_EQ(out[0], 2);
}

TEST(Checks, CopiesArriveWithTheWaitAndClampTheirTiles) {
  std::vector<float> in(128);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
  for (const auto model : {ExecutionModel::free, ExecutionModel::lockstep, ExecutionModel::tsan}) {
    std::vector<float> out(64);
    const auto found = bench(model).run("copied", out, 64, in, 256);
    EXPECT_TRUE(found.empty()) << found.front().text;
    for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(out[i], in[i]);
    for (std::size_t y = 0; y < 6; ++y) {
      for (std::size_t x = 0; x < 8; ++x) {
        EXPECT_EQ(out[16 + 8 * y + x], x < 5 && y < 4 ? in[16 + 10 * y + x] : 0) << x << ' ' << y;
      }
    }
  }
}

// On a GPU the value of a division by zero is undefined, and nothing else happens; here it is 0 and told.
TEST(Checks, DivisionsByZeroAreToldAndEndNothing) {
  std::vector<int> out(7, -1);
  MslBench& b = bench(ExecutionModel::free);
  EXPECT_TRUE(b.run("divides", out, 32, std::vector<int>{0, 2, -1}).empty());
  EXPECT_THAT(out, ::testing::ElementsAre(0, 0, 0, 0, 3, std::numeric_limits<int>::min(), 0));
  ASSERT_FALSE(b.notes().empty());
  EXPECT_THAT(b.notes().front(), HasSubstr("test.metal:129 divides an integer by 0"));
}

// Lanes that leave a loop early wait for the others at the next operation.
TEST(Checks, DivergentLanesMeetAgain) {
  std::vector<float> out(64);
  const auto found = bench(ExecutionModel::free).run<float, float>("divergent_sum", out, 64);
  EXPECT_TRUE(found.empty());
  for (int i = 0; i < 64; ++i) {
    float sum = 0;
    for (int k = 0; k <= i % 32; ++k) sum += static_cast<float>(32 - k);
    EXPECT_EQ(out[static_cast<std::size_t>(i)], sum + 32);
  }
}

TEST(Checks, ThreadgroupMemoryBeforeItsFirstWriteIsNan) {
  std::vector<float> out(64);
  bench(ExecutionModel::free).run<float, float>("never_written", out, 64, {}, 256);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(std::isnan(out[i]), i == 9);
}

TEST(Checks, StaticThreadgroupMemoryIsLimited) {
  findings(ExecutionModel::free, "too_much_static");
  EXPECT_THAT(bench(ExecutionModel::free).refused(), HasSubstr("'b' is 33056 bytes, Metal has 32768"));
}

struct Refusal {
  const char* source;
  int line;
  const char* says;
};

TEST(Checks, WhatAppleRefusesIsRefusedWithItsLine) {
  const Refusal refusals[] = {
      {"float f() {\n  double x = 1;\n  return x;\n}\n", 2, "Metal has no 'double'"},
      {"float f(float x) { return std::exp(x); }\n", 1, "Metal has no std::exp"},
      {"void f(\n  float *x) { *x = 1; }\n", 2, "pointer without address space"},
      {"void f(thread float& x, float &y) { x = y; }\n", 1, "reference without address space"},
      {"void f(device float* x) {\n  const float* y = x;\n}\n", 2, "pointer without address space"},
      {"int f(int n) { return n < 2 ? 1 : n * f(n - 1); }\n", 1, "'f' is recursive"},
      {"int g(int n);\nint f(int n) { return g(n); }\nint g(int n) { return f(n - 1); }\n", 2, "recursive"},
      {"void f() {\n\n  throw 1;\n}\n", 3, "Metal has no 'throw'"},
      {"kernel void f(device float* x [[buffer(0)]],\n  uint i [[thread_index_in_simdgruop]]) {}\n", 2,
       "thread_index_in_simdgruop"},
      {"kernel void f(device float* x) {}\n", 1, "kernel parameter 'x' has no attribute"},
  };
  for (const Refusal& r : refusals) {
    const auto prepared = prepare_msl(std::string("# 1 \"k.metal\"\n") + r.source);
    ASSERT_FALSE(prepared) << r.source;
    EXPECT_EQ(prepared.error().kind, ErrorKind::input);
    EXPECT_EQ(prepared.error().file, "k.metal");
    EXPECT_EQ(prepared.error().line, r.line) << r.source;
    EXPECT_THAT(prepared.error().message, HasSubstr(r.says));
  }
  EXPECT_TRUE(
      prepare_msl("float g(thread const float4& v, constant int* n) { const float t = v.x * n[0]; return t; }\n"));
}

// Text that only the compiler can refuse keeps its line as well, behind macros too.
TEST(Checks, CompilerErrorsNameTheLineOfTheMetalFile) {
  const MslBench unknown(
      "#define CALL(x) texture_read(x)\nkernel void f(device float* o [[buffer(0)]]) {\n  threadgroup float\n  a[4], "
      "b;\n  o[0] = CALL(a[0] + b);\n}\n");
  EXPECT_EQ(unknown.error().line, 5);
  EXPECT_EQ(unknown.error().file, "test.metal");
  EXPECT_THAT(unknown.error().message, HasSubstr("texture_read"));
  const MslBench header("#include <vector>\n");
  EXPECT_THAT(header.error().message, HasSubstr("'vector' file not found"));
}

}  // namespace
}  // namespace attest::metal
