// Suite quick over our own kernels: everything passes, nothing is missing, and neither the number of slots nor the
// process a backend runs in changes a verdict.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/verdicts.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

const std::vector<std::string> kBackends{"cpu:vec", "cpu:tiled", "cpu:split"};

std::vector<std::string> quick_lines() {
  std::istringstream text(attest({"list", "cases", "--suite", "quick"}).out);
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

Ended run_over(const std::string& jsonl, const Words& more) {
  Words words{"run", "--jsonl", jsonl};
  for (const auto& b : kBackends) words.insert(words.end(), {"-b", b});
  words.insert(words.end(), more.begin(), more.end());
  return attest(words);
}

TEST(SuiteQuick, PassesOnEveryKernelOfOursAndRulesEveryCaseOnce) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "quick.jsonl";
  const Ended ended = run_over(jsonl, {"--suite", "quick"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const Verdicts verdicts = verdicts_in(jsonl);
  const auto lines = quick_lines();
  EXPECT_GE(lines.size(), 300U);
  EXPECT_EQ(verdicts.size(), lines.size() * kBackends.size());
  for (const auto& line : lines) {
    for (const auto& backend : kBackends) {
      const auto found = verdicts.find({line, backend});
      ASSERT_NE(found, verdicts.end()) << backend << ": " << line;
      EXPECT_EQ(info(found->second.verdict).name, "PASS") << backend << ": " << line << ": " << found->second.detail;
    }
  }
}

// Every op, every type: nothing is unsupported there.
TEST(SuiteQuick, PassesOnTheMetalSimulator) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "metal.jsonl";
  const Ended ended = attest({"run", "--suite", "quick", "-b", "metal:sim", "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const Verdicts verdicts = verdicts_in(jsonl);
  EXPECT_EQ(verdicts.size(), quick_lines().size());
  for (const auto& [key, record] : verdicts) {
    EXPECT_EQ(info(record.verdict).name, "PASS") << key.first << ": " << record.detail;
  }
}

// fused-sdpa's K, [h, d, n_kv]: what lies side by side there are keys, not the elements of one.
TEST(MetalSimulator, ReadsTransposedKOfEveryType) {
  const ScratchDir dir;
  std::string lines;
  for (const char* type : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "q1_0", "q2_0"}) {
    for (const char* n_q : {"1", "19"}) {
      lines += fmt::format("flash_attn_ext d=128 n_head=4 n_head_kv=2 n_q={} n_kv=45 k={} v=f16 layout=0213+kt+cache:64 "
                           "mask=causal poison=gaps:nan\n", n_q, type);
    }
  }
  lines += "flash_attn_ext d=40 n_q=9 n_kv=33 kv=f32 layout=kt+offset:2 poison=end:nan\n";
  const Ended ended = attest({"run", "--cases", dir.file("lines.txt", lines), "-b", "metal:sim"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("23 cases x 1 backend = 23 verdicts, all accounted for"));
  EXPECT_THAT(ended.out, AllOf(HasSubstr("metal:sim       23       23 "), HasSubstr("no bad verdict")));
}

TEST(SuiteQuick, SlotsAndProcessesDoNotChangeARecord) {
  const ScratchDir dir;
  std::string some;
  const auto lines = quick_lines();
  for (std::size_t i = 0; i < lines.size(); i += 3) some += lines[i] + "\n";
  const std::string cases = dir.file("some.txt", some);
  const auto records = [&](const Words& how) {
    const std::string jsonl = dir.path() / (how.back() + ".jsonl");
    Words words{"--cases", cases, "--relations", "hidden,row-alone,kv-split"};
    words.insert(words.end(), how.begin(), how.end());
    const Ended ended = run_over(jsonl, words);
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    return verdicts_in(jsonl);
  };
  const Verdicts four = records({"--jobs", "4"});
  EXPECT_EQ(four.size(), (lines.size() + 2) / 3 * kBackends.size());
  for (const Words& how : {Words{"--jobs", "1"}, Words{"--in-process"}}) {
    const Verdicts again = records(how);
    EXPECT_EQ(again.size(), four.size());
    for (const auto& [key, record] : again) {
      EXPECT_TRUE(record == four.at(key)) << how.front() << "\n" << to_json(record) << "\n" << to_json(four.at(key));
    }
  }
}

}  // namespace
}  // namespace attest::testing
