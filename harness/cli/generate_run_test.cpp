// attest fuzz, sweep and coverage from outside: what they find, print and record.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/verdicts.h"

namespace attest::testing {
namespace {

using ::testing::HasSubstr;

std::size_t longest_line(const std::string& text) {
  std::istringstream in(text);
  std::size_t most = 0;
  for (std::string line; std::getline(in, line);) most = std::max(most, line.size());
  return most;
}

// Below 20 s of CPU; longer runs take other seeds.
TEST(Fuzz, RandomCasesPassOnEveryKernelOfOurs) {
  const Ended ended =
      attest({"fuzz", "-b", "cpu:vec", "-b", "cpu:tiled", "-b", "cpu:split", "--cases", "3000", "--seed", "20"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("3000 cases x 3 backends = 9000 verdicts, all accounted for"));
}

TEST(Fuzz, SeedAndNumberDetermineEveryRecord) {
  const ScratchDir dir;
  const auto records = [&](const std::string& name, const std::string& jobs, const std::string& seed) {
    const std::string jsonl = dir.path() / name;
    const Ended ended =
        attest({"fuzz", "-b", "cpu:vec", "--cases", "150", "--seed", seed, "--jobs", jobs, "--jsonl", jsonl});
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    return verdicts_in(jsonl);
  };
  const Verdicts one = records("one.jsonl", "1", "4");
  EXPECT_EQ(one.size(), 150U);
  EXPECT_EQ(one, records("two.jsonl", "2", "4"));
  EXPECT_NE(one, records("other.jsonl", "2", "5"));
}

TEST(Fuzz, PastFailuresRunFirst) {
  const ScratchDir dir;
  const std::string line = "flash_attn_ext d=96 n_head=1 n_q=5 n_kv=21 kv=f16";
  dir.file("corpus/a.txt", line + "\n");
  const std::string jsonl = dir.path() / "a.jsonl";
  const Ended ended =
      attest({"fuzz", "-b", "cpu:vec", "--cases", "1", "--corpus", dir.path() / "corpus", "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const Verdicts verdicts = verdicts_in(jsonl);
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_EQ(verdicts.begin()->first.first, line);
}

TEST(Fuzz, WhatIsWrongOnTheCommandLineIs2) {
  EXPECT_EQ(attest({"fuzz", "-b", "cpu:vec", "--time", "soon"}).code, 2);
  EXPECT_EQ(attest({"fuzz", "-b", "cpu:vec", "--corpus", "no/such/dir"}).code, 2);
  EXPECT_EQ(attest({"fuzz", "-b", "cpu:vac", "--cases", "1"}).code, 3);
}

TEST(Sweep, ShowsACurvePerBackendAndTheLargestValueThatPasses) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "sweep.jsonl";
  const Ended ended = attest({"sweep", "--line", "flash_attn_ext d=64 mask=causal", "--axis", "n_kv=1..256:log:9", "-b",
                              "cpu:vec", "-b", "eigen:f32", "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_EQ(verdicts_in(jsonl).size(), 18U);
  EXPECT_THAT(ended.out, HasSubstr("\ncpu:vec\n"));
  EXPECT_THAT(ended.out, HasSubstr("\neigen:f32\n"));
  EXPECT_THAT(ended.out, HasSubstr("largest value that passes: 256\n"));
  EXPECT_LE(longest_line(ended.out), 100U);
}

TEST(Sweep, AnAxisMayBeAMaskADataFamilyOrAnOptionOfTheBackend) {
  const ScratchDir dir;
  const auto lines = [&](const std::string& axis) {
    const std::string jsonl = dir.path() / "axis.jsonl";
    const Ended ended = attest({"sweep", "--line", "flash_attn_ext d=64 n_kv=40 mask=causal+used:3 data=v_shift",
                                "--axis", axis, "-b", "cpu:tiled", "--jsonl", jsonl});
    EXPECT_EQ(ended.code, 0) << axis << ended.out << ended.err;
    std::vector<std::string> out;
    for (const auto& [key, record] : verdicts_in(jsonl)) out.push_back(key.first + " on " + key.second);
    return out;
  };
  const std::string start = "flash_attn_ext d=64 n_head=1 n_q=1 n_kv=40 kv=f16 mask=causal+used:";
  EXPECT_THAT(lines("used=0..40:lin:2"), ::testing::UnorderedElementsAre(start + "0 data=v_shift on cpu:tiled",
                                                                         start + "40 data=v_shift on cpu:tiled"));
  EXPECT_THAT(lines("normal=0.5..30:log:2"),
              ::testing::UnorderedElementsAre(start + "3 data=normal:0.5+v_shift on cpu:tiled",
                                              start + "3 data=normal:30+v_shift on cpu:tiled"));
  EXPECT_THAT(lines("threads=1,2").size(), 2U);  // a key of the line comes before an option
}

TEST(Sweep, AValueThatBreaksARuleIs2AndNamesThePoint) {
  const Ended ended =
      attest({"sweep", "--line", "flash_attn_ext n_head=4", "--axis", "n_head_kv=1..4:lin:4", "-b", "cpu:vec"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("n_head_kv = 3"));
}

TEST(Coverage, NightlyHoldsEveryPairAndTripleItDeclares) {
  const Ended ended = attest({"coverage", "--suite", "nightly", "--min-pairs", "100", "--min-triples", "95"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("covered   100.000 %"));
  EXPECT_LE(longest_line(ended.out), 100U);
}

TEST(Coverage, MissingTuplesAreListedAndAThresholdSetsTheExitCode) {
  const ScratchDir dir;
  const std::string suite = dir.file("own.toml", R"(
name = "own"
description = "two of four"
[[covering]]
why = "x"
line = "flash_attn_ext d=32"
max_rows = 2
[covering.axes]
n_q = [1, 2]
kv = ["f16", "f32"]
)");
  const Ended ended = attest({"coverage", "--suite", suite, "-b", "cpu:vec"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("2 of         4 covered    50.000 %        2 missing"));
  EXPECT_THAT(ended.out, HasSubstr("cpu:vec: takes 2 of 2 cases"));
  EXPECT_EQ(attest({"coverage", "--suite", suite, "--min-pairs", "60"}).code, 1);
}

}  // namespace
}  // namespace attest::testing
