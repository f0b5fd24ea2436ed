// From a failing run to files and back, and to the plainest line: run --save-failures, check, shrink.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "harness/cli/testing/shrunk.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kSinks = "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=40 mask=causal sinks=normal seed=3";

std::string contents(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Bundles, AreJudgedAgainFromTheirFiles) {
  const ScratchDir scratch;
  const std::string dir = (scratch.path() / "failures").string(), jsonl = (scratch.path() / "out.jsonl").string();
  const Ended run = attest({"run", "-b", "mutant:sink-scaled", "-b", "cpu:vec", "--case", kSinks, "--case",
                            "flash_attn_ext n_kv=9", "--save-failures", dir});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.out, HasSubstr("saved 1 failure in " + dir + ": attest check '" + dir + "'"));
  const Ended again = attest({"check", dir, "-b", "mutant:sink-scaled", "--jsonl", jsonl});
  EXPECT_EQ(again.code, 1) << again.err;
  EXPECT_THAT(again.out, AllOf(HasSubstr("FAIL  mutant:sink-scaled"), HasSubstr("suspected: sink"), HasSubstr("file"),
                               HasSubstr("repro   attest check '" + dir), HasSubstr("where")));
  EXPECT_THAT(contents(jsonl), HasSubstr("\"source\":\"'" + dir));
  EXPECT_EQ(attest({"check", dir, "-b", "cpu:tiled"}).code, 0);
  const Ended alone = attest({"check", dir});
  EXPECT_EQ(alone.code, 0) << alone.err;
  EXPECT_THAT(alone.out, HasSubstr("1 case x 1 backend = 1 verdict, all accounted for"));
}

TEST(Bundles, WhatIsNotSavedIsToldAloud) {
  const ScratchDir scratch;
  const std::string dir = (scratch.path() / "failures").string();
  const Ended limited = attest({"run", "-b", "mutant:sink-scaled", "--case", kSinks, "--case", kSinks + "1",
                                "--save-failures", dir, "--save-limit", "1"});
  EXPECT_EQ(limited.code, 1);
  EXPECT_THAT(limited.err, HasSubstr("NOT SAVED: 1 failure beyond the limits of 1 bundles and 1G"));
  const std::string file = scratch.file("file", "x");
  const Ended refused = attest({"run", "-b", "cpu:vec", "--case", kSinks, "--save-failures", file + "/below"});
  EXPECT_EQ(refused.code, 3);
  EXPECT_EQ(refused.out, "");
  EXPECT_EQ(attest({"run", "-b", "cpu:vec", "--case", kSinks, "--save-limit", "3"}).code, 2);
  EXPECT_EQ(attest({"run", "-b", "cpu:vec", "--case", kSinks, "--save-failures", dir, "--save-bytes", "much"}).code, 2);
}

TEST(Check, MistakesAreTheUsers) {
  const ScratchDir scratch;
  EXPECT_EQ(attest({"check", (scratch.path() / "none.toml").string()}).code, 2);
  EXPECT_EQ(attest({"check", scratch.path().string()}).code, 2);
  const Ended wrong =
      attest({"check", scratch.file("m.toml", "[[case]]\nq = \"q.npy\"\nkk = \"k.npy\"\n"), "-b", "cpu:vec"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err,
              AllOf(HasSubstr("m.toml:3:1: unknown key 'kk' in a case"), HasSubstr("\n  kk = \"k.npy\"\n  ^")));
}

TEST(Shrink, ALineThatPassesIsNothingToShrink) {
  const Ended run = attest({"shrink", kSinks, "-b", "cpu:vec"});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, HasSubstr("PASS on cpu:vec: there is no failure to keep"));
  EXPECT_EQ(attest({"shrink", kSinks}).code, 2);
  EXPECT_EQ(attest({"shrink", kSinks, "-b", "cpu:nec"}).code, 3);
}

TEST(Shrink, GoesOnFromItsStateAndAppendsToACorpusOnce) {
  const ScratchDir scratch;
  const std::string state = (scratch.path() / "state").string(),
                    corpus = scratch.file("corpus.txt", "# mine\nflash_attn_ext n_kv=5");
  const std::vector<std::string> words{"shrink", kSinks,     "-b",  "mutant:sink-scaled", "--quiet", "--state",
                                       state,    "--corpus", corpus};
  auto few = words;
  few.insert(few.end(), {"--max-runs", "5"});
  const Ended cut = attest(few);
  EXPECT_EQ(cut.code, 0) << cut.err;
  EXPECT_THAT(cut.out, HasSubstr("there may be a plainer line"));
  const Ended first = attest(words), second = attest(words);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_THAT(first.out, AllOf(HasSubstr("minimal   flash_attn_ext d=64 n_head=1 n_q=1 n_kv=64 kv=f16 sinks=normal\n"),
                               HasSubstr("5 of them known from"), HasSubstr("appended to"),
                               HasSubstr("sinks=normal: without it PASS")));
  EXPECT_THAT(second.out, HasSubstr("has it already"));
  const std::string lines = contents(corpus);
  EXPECT_THAT(lines, AllOf(HasSubstr("# mine\nflash_attn_ext n_kv=5\n"), HasSubstr("sinks=normal\n")));
  EXPECT_EQ(attest({"shrink", "flash_attn_ext n_kv=7 sinks=normal", "-b", "mutant:sink-scaled", "--state", state}).code,
            2);
}

// Answers that are not the backend's any more lead to a line that is not printed as the minimal one.
TEST(Shrink, RunsTheMinimalLineItselfWhereAnswersAreKept) {
  const ScratchDir scratch;
  const std::string state = (scratch.path() / "state").string();
  const std::vector<std::string> words{"shrink", kSinks, "-b", "mutant:sink-scaled", "--quiet", "--state", state};
  EXPECT_EQ(attest(words).code, 0);
  const std::string kept = contents(state);
  const auto fail = kept.find("\nFAIL\t");
  ASSERT_NE(fail, std::string::npos);
  const std::string answer = kept.substr(fail, kept.find('\t', fail + 6) + 1 - fail);
  scratch.file("state", std::regex_replace(kept, std::regex("\nPASS\t\t"), answer));
  const Ended again = attest(words);
  EXPECT_EQ(again.code, 3) << again.out;
  EXPECT_THAT(again.out, Not(HasSubstr("minimal")));
  EXPECT_THAT(again.err, AllOf(HasSubstr("PASS"), HasSubstr(state)));
}

TEST(Shrink, MutantsComeDownToFourKeysAndTwiceToTheSameLine) {
  const Shrunk once = shrink(kMutantFailures[2]), twice = shrink(kMutantFailures[2]),
               other = shrink(kMutantFailures[5]);
  EXPECT_GE(once.before, 12);
  EXPECT_LE(once.left, 4) << once.line;
  EXPECT_LE(other.left, 4) << other.line;
  EXPECT_EQ(once.line, twice.line);
}

}  // namespace
}  // namespace attest::testing
