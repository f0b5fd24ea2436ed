// Our kernels are right by the memory model, not by luck: the same bits in every order of execution, no race that the
// simulator can see, and no barrier that could be left out without it being seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "backends/metal/testing/attention_bench.h"
#include "cases/suites/suite.h"

namespace attest::metal {
namespace {

using Kind = RunOrder::Kind;

std::vector<Case> quick_cases(std::size_t step) {
  const auto suite = load_suite("quick");
  std::vector<Case> cases;
  for (std::size_t i = 0; suite && i < suite->cases.size(); i += step) {
    // The steps of kv_decode are dispatches of the others.
    if (suite->cases[i].problem.op != Op::kv_decode) cases.push_back(suite->cases[i]);
  }
  return cases;
}

void expect_same_bits_in_every_order(const std::vector<Case>& cases, int random_orders) {
  AttentionBench fifo({ExecutionModel::free, {Kind::fifo, 0}}), watched({ExecutionModel::tsan, {Kind::fifo, 0}});
  std::vector<std::unique_ptr<AttentionBench>> others;
  others.push_back(std::make_unique<AttentionBench>(SimOptions{ExecutionModel::free, {Kind::lifo, 0}}));
  for (int i = 0; i < random_orders; ++i) {
    others.push_back(std::make_unique<AttentionBench>(
        SimOptions{ExecutionModel::free, {Kind::random, static_cast<std::uint64_t>(i + 1)}}));
  }
  AttentionBench in_step({ExecutionModel::lockstep, {Kind::fifo, 0}});
  ASSERT_FALSE(cases.empty());
  int index = 0;
  for (const Case& c : cases) {
    const OwnedInputs in(c);
    const auto first = fifo.run(in);
    ASSERT_TRUE(first.findings.empty()) << text(c) << "\n" << first.findings.front().text;
    for (const auto& other : others) EXPECT_TRUE(other->run(in) == first) << text(c);
    if (index++ % 4 == 0) {
      EXPECT_TRUE(in_step.run(in) == first) << text(c);
    }
    const auto seen = watched.run(in);
    EXPECT_TRUE(seen == first) << text(c) << (seen.findings.empty() ? "" : "\n" + seen.findings.front().text);
  }
}

TEST(Synchronisation, AnswersDoNotDependOnTheOrder) { expect_same_bits_in_every_order(quick_cases(9), 2); }

TEST(Synchronisation, QuickAmountsToAtMostFiveGigaflop) {
  double total = 0;
  const auto suite = load_suite("quick");
  ASSERT_TRUE(suite);
  for (const Case& c : suite->cases) total += flop(c.problem);
  EXPECT_LE(total, 5e9);
}

// Offsets of the calls of barriers in the library, and what each is followed by: "file:line".
struct BarrierCall {
  std::size_t at, length;
  std::string place;
};

std::vector<BarrierCall> barriers(const std::string& library) {
  std::vector<BarrierCall> found;
  std::string file;
  int line = 0;
  for (std::size_t at = 0; at < library.size();) {
    const std::size_t end = std::min(library.find('\n', at), library.size());
    const std::string row = library.substr(at, end - at);
    ++line;
    if (row.starts_with("#line")) {
      file = row.substr(row.find('"') + 1, row.rfind('"') - row.find('"') - 1);
      line = 0;
    }
    for (const char* name : {"threadgroup_barrier(", "simdgroup_barrier("}) {
      const std::size_t call = row.find(name), semicolon = row.find(';', call);
      if (call == std::string::npos || semicolon == std::string::npos) continue;
      found.push_back({at + call, semicolon - call, file + ":" + std::to_string(line)});
      break;
    }
    at = end + 1;
  }
  return found;
}

// Decode with several blocks per simdgroup and chunks; prefill with several tiles, column chunks and output blocks;
// scores by the hundred.
const char* const kCases[] = {
    "flash_attn_ext d=64 n_head=2 n_q=2 n_kv=700 data=rising:12",
    "flash_attn_ext d=80 n_head=1 n_q=12 n_kv=100 data=rising:12 mask=causal",
    "soft_max_ext n_head=2 n_q=2 n_kv=300 sinks=2 data=normal:3",
};

// Each library, with the number of its barriers.
std::vector<std::pair<std::string, std::size_t>> libraries() {
  return {{attention_library(), 15}, {rows_library(), 2}};
}

TEST(Synchronisation, EveryBarrierLeftOutIsSeen) {
  std::string matrix;
  for (const auto& [library, count] : libraries()) {
    const auto calls = barriers(library);
    EXPECT_EQ(calls.size(), count);
    for (const BarrierCall& call : calls) {
      std::string without = library;
      without.replace(call.at, call.length, "");
      AttentionBench bench({ExecutionModel::tsan, {Kind::fifo, 0}}, without);
      std::string verdict = "not seen";
      for (const char* line : kCases) {
        const bool rows = call.place.starts_with("rows.metal");
        if (rows != (std::string_view(line).starts_with("soft_max_ext"))) continue;
        const OwnedInputs in(metal_case(line));
        const auto answer = bench.run(in);
        if (answer.findings.empty()) continue;
        verdict = answer.findings.front().verdict + "  " + answer.findings.front().text;
        break;
      }
      matrix += call.place + "  " + verdict + "\n";
      EXPECT_NE(verdict, "not seen") << call.place;
    }
  }
  std::printf("%s", matrix.c_str());
}

// ---- faults planted one at a time: text of the kernels, what stands in its place, the verdict
struct Plant {
  const char* name;
  const char* text;
  const char* instead;
  const char* verdict;  // "": wrong answers are enough
  const char* line;
};

const Plant kPlants[] = {
    {"index off by one", "weights[slot] = p;", "weights[slot + 1] = p;", "RACE", kCases[0]},
    {"output past the end", "all_o[simdgroup * d_v4 + i] = o[c];", "all_o[simdgroup * d_v4 + i + 1] = o[c];",
     "THREADGROUP-OOB", kCases[0]},
    {"uninitialised read", "if (lane < 8) diagonal", "if (lane < 7) diagonal", "UNINITIALISED", kCases[1]},
    {"wrong lane", "simd_shuffle_xor(sum, 2)", "simd_shuffle_xor(sum, 4)", "", kCases[0]},
    {"matrix transposed", "simdgroup_load(b, stage + c, kStageColumns, ulong2(0), true);",
     "simdgroup_load(b, stage + c, kStageColumns);", "", kCases[1]},
    {"lane returns early", "float m = -INFINITY, l = 0.0f;", "float m = -INFINITY, l = 0.0f; if (lane == 31) return;",
     "DIVERGENCE", kCases[0]},
    {"two threadgroups write a row", "const int64_t row = (int64_t(seq) * args.n_q + query) * args.n_head + head;",
     "const int64_t row = (int64_t(seq) * args.n_q + query / 2) * args.n_head + head;", "RACE", kCases[0]},
};

TEST(Synchronisation, EveryPlantedFaultIsSeen) {
  AttentionBench good({ExecutionModel::tsan, {Kind::fifo, 0}});
  std::string matrix;
  for (const Plant& plant : kPlants) {
    std::string library = attention_library();
    const auto at = library.find(plant.text);
    ASSERT_NE(at, std::string::npos) << plant.text;
    library.replace(at, std::strlen(plant.text), plant.instead);
    AttentionBench bad({ExecutionModel::tsan, {Kind::fifo, 0}}, library);
    const OwnedInputs in(metal_case(plant.line));
    const auto right = good.run(in);
    ASSERT_TRUE(right.findings.empty());
    const auto answer = bad.run(in);
    std::string seen = right.bits != answer.bits ? "wrong answers" : "not seen";
    if (!answer.findings.empty()) seen = answer.findings.front().verdict + "  " + answer.findings.front().text;
    EXPECT_TRUE(seen.starts_with(*plant.verdict != '\0' ? plant.verdict : "wrong answers"))
        << plant.name << ": " << seen;
    matrix += std::string(plant.name) + "  " + seen + "\n";
  }
  std::printf("%s", matrix.c_str());
}

// The host asks for 32 bytes less than the kernel uses.
TEST(Synchronisation, ThreadgroupMemoryTooShortIsSeen) {
  setenv("ATTEST_CACHE_DIR", ATTEST_TEST_CACHE, 0);
  for (const char* line : {kCases[0], kCases[1]}) {
    for (const auto model : {ExecutionModel::free, ExecutionModel::lockstep, ExecutionModel::tsan}) {
      auto device = make_sim_device({model, {}});
      ASSERT_TRUE(device);
      ASSERT_TRUE((*device)->load(kAttentionLibrary, attention_library()));
      const OwnedInputs in(metal_case(line));
      AttentionWork work;
      plan_attention(in.inputs(), in.output(), {}, work);
      work.dispatches.front().threadgroup_memory.front() -= 32;
      const auto result = (*device)->run(work.dispatches);
      ASSERT_TRUE(result);
      ASSERT_FALSE(result->findings.empty()) << line;
      EXPECT_EQ(result->findings.front().verdict, "THREADGROUP-OOB");
      std::printf("32 bytes short  %s\n", result->findings.front().text.c_str());
    }
  }
}

// Off means the same instructions: a threshold that no weight is below changes no bit either.
TEST(Synchronisation, SkippingRowsOfVIsOptIn) {
  AttentionBench bench({});
  for (const char* line : {kCases[0], kCases[1]}) {
    const OwnedInputs in(metal_case(line));
    const auto off = bench.run(in, {AttentionKernel::pick, 0});
    EXPECT_TRUE(bench.run(in, {AttentionKernel::pick, 1e-30F}) == off) << line;
    EXPECT_FALSE(bench.run(in, {AttentionKernel::pick, 0.5F}) == off) << line;
  }
}

}  // namespace
}  // namespace attest::metal
