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

// About 20 s of CPU; longer runs take other seeds.
TEST(Fuzz, RandomCasesPassOnEveryKernelOfOurs) {
  const Ended ended =
      attest({"fuzz", "-b", "cpu:vec", "-b", "cpu:tiled", "-b", "cpu:split", "--cases", "5000", "--seed", "20"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("5000 cases x 3 backends = 15000 verdicts, all accounted for"));
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

TEST(Fuzz, GoesOnWhereAnEarlierRunStopped) {
  const ScratchDir dir;
  const auto records = [&](const std::string& name, const std::string& skip, const std::string& cases) {
    const std::string jsonl = dir.path() / name;
    const Ended ended =
        attest({"fuzz", "-b", "cpu:vec", "--seed", "4", "--skip", skip, "--cases", cases, "--jsonl", jsonl});
    EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
    return verdicts_in(jsonl);
  };
  Verdicts parts = records("first.jsonl", "0", "40");
  parts.merge(records("rest.jsonl", "40", "30"));
  EXPECT_EQ(parts.size(), 70U);
  EXPECT_EQ(parts, records("whole.jsonl", "0", "70"));
}

// Runs it, asks it to stop after half a second, and waits for its end.
Ended interrupted(const std::string& words) {
  return shell("'" + attest_executable().string() + "' " + words + " & sleep 0.5; kill -INT $!; wait $!");
}

TEST(Fuzz, TimeIsForCasesNotForSkippingThem) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "rest.jsonl";
  const Ended ended =
      attest({"fuzz", "-b", "cpu:vec", "--seed", "1", "--skip", "20000", "--time", "0.05s", "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_FALSE(verdicts_in(jsonl).empty());
}

TEST(Fuzz, AnInterruptIs130WhileItSkipsAndWhileASubjectStarts) {
  for (const char* words : {"fuzz -b cpu:vec --cases 3 --skip 100000000", "fuzz -b 'process:sleep 30' --time 60",
                            "sweep -b 'process:sleep 30' --line 'flash_attn_ext d=16' --axis n_kv=1,2"}) {
    const Ended ended = interrupted(words);
    EXPECT_EQ(ended.code, 130) << words << ended.out << ended.err;
    EXPECT_THAT(ended.err, HasSubstr("interrupted before the first case")) << words;
  }
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

TEST(Fuzz, SavesFailingLinesOnceAndSaysAtOnceThatItCannot) {
  const ScratchDir dir;
  const std::string saved = dir.path() / "failing.txt", kept = "flash_attn_ext d=16 n_kv=8";
  const auto fuzz = [](const std::string& file) {
    return attest({"fuzz", "-b", "mutant:all-inf", "--cases", "3", "--seed", "5", "--save", file});
  };
  EXPECT_EQ(fuzz(saved).code, 1);
  const std::string lines = shell("cat '" + saved + "'").out;
  EXPECT_THAT(lines, HasSubstr("flash_attn_ext "));
  EXPECT_EQ(fuzz(saved).code, 1);
  EXPECT_EQ(shell("cat '" + saved + "'").out, lines);
  // A last line that an editor or a full disk left without its end stays a line of its own.
  dir.file("cut.txt", kept);
  EXPECT_EQ(fuzz(dir.path() / "cut.txt").code, 1);
  const std::string cut = (dir.path() / "cut.txt").string();
  EXPECT_EQ(shell("head -n 1 '" + cut + "'").out, kept + "\n");
  // Lines come in the order in which their cases end.
  EXPECT_EQ(shell("tail -n +2 '" + cut + "' | sort").out, shell("sort '" + saved + "'").out);
  const Ended wrong = fuzz("no/such/dir/failing.txt");
  EXPECT_EQ(wrong.code, 3);
  EXPECT_THAT(wrong.err, HasSubstr("no/such/dir/failing.txt"));
  EXPECT_EQ(wrong.out, "");
}

TEST(Fuzz, TheLedgerHoldsForItToo) {
  const ScratchDir dir;
  dir.file("corpus/a.txt", "flash_attn_ext d=96 n_head=1 n_q=5 n_kv=21 kv=f16\n");
  const std::string ledger = dir.file("known.toml", R"(
[[entry]]
backend = "cpu:vec"
line = "flash_attn_ext d=96 n_head=1 n_q=5 n_kv=21 kv=f16"
verdict = "FAIL"
mode = "quarantined"
reason = "not now"
repro = "flash_attn_ext d=96 n_head=1 n_q=5 n_kv=21 kv=f16"
)");
  const Ended ended = attest(
      {"fuzz", "-b", "cpu:vec", "--cases", "2", "--corpus", dir.path() / "corpus", "--ledger", ledger, "--seed", "3"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("QUARANTINED 1"));
}

TEST(Fuzz, SaysEverythingThatSelectsItsCases) {
  const ScratchDir dir;
  const std::string corpus = dir.path() / "my corpus", jsonl = dir.path() / "a.jsonl";
  dir.file("my corpus/a.txt", "flash_attn_ext d=96 n_head=1 n_q=5 n_kv=21 kv=f16\n");
  const Ended ended = attest({"fuzz", "-b", "cpu:vec", "--seed", "4", "--skip", "1", "--max-flop", "2e6", "--corpus",
                              corpus, "--cases", "2", "--jsonl", jsonl});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  const std::string words = "--seed 4 --skip 1 --max-flop 2000000 --corpus '" + corpus + "'";
  EXPECT_THAT(ended.out, HasSubstr("seed 4: the same cases again with " + words + "\n"));
  EXPECT_THAT(shell("cat '" + jsonl + "'").out, HasSubstr("\"attest fuzz " + words + " --cases 2\""));
  EXPECT_THAT(attest({"fuzz", "-b", "cpu:vec", "--seed", "4", "--cases", "1"}).out,
              HasSubstr("the same cases again with --seed 4\n"));
}

// One value of each kind that history says matters, on every kernel of ours; offsets beyond 2^31 and 2^32 among them.
TEST(Axes, ACheapSubsetRunsOnEveryKernelOfOurs) {
  const ScratchDir dir;
  std::string lines;
  for (const char* words : {"d=72 n_q=21 n_kv=113",
                            "d_k=576 d_v=512 n_kv=33",
                            "d_k=64 d_v=128 n_kv=65",
                            "n_kv=4097",
                            "n_head=40 n_head_kv=8",
                            "n_head=8 n_head_kv=4 n_head_v=2 n_kv=9",
                            "n_seq=4 n_head=2 n_kv=33 mask=random+per-head+per-seq",
                            "n_seq=4 n_seq_kv=2 n_kv=9",
                            "kv=iq4_nl n_kv=65",
                            "k=f16 v=q8_0 n_kv=65",
                            "k=f32 v=f16 n_kv=31",
                            "mask=window:16 n_q=33 n_kv=64",
                            "mask=document:16 n_q=33 n_kv=64",
                            "mask=blocks:32 n_q=33 n_kv=64",
                            "mask=dead:middle n_q=33 n_kv=64",
                            "mask=finite-blocks:-65504 n_q=33 n_kv=64",
                            "mask=causal+f32 n_q=5 n_kv=9",
                            "scale=1/12 n_kv=31",
                            "scale=0 n_kv=31",
                            "scale=-0.125 n_kv=31",
                            "softcap=50 n_kv=31 data=anti_aligned",
                            "mask=causal+random:8 max_bias=16 n_head=12 n_kv=31",
                            "sinks=-inf n_kv=31",
                            "sinks=40 n_kv=31",
                            "prec=f32 n_kv=31",
                            "data=low:7e4 n_kv=65",
                            "data=huge:90 n_kv=65",
                            "data=spike:18.43 n_kv=65",
                            "data=rising:104 n_kv=65",
                            "data=outlier_channel n_kv=65",
                            "data=onehot n_kv=65",
                            "layout=0213 n_head=4 n_kv=9",
                            "layout=kt n_kv=9",
                            "layout=v-in-k n_kv=9",
                            "layout=left n_kv=9",
                            "layout=offset:2 n_kv=9",
                            "layout=tail:64 poison=end:nan n_kv=9",
                            "layout=pad:8 poison=rows:-60000 n_kv=9",
                            "n_head=2 layout=heads:3 poison=heads:inf n_kv=9",
                            "mask=used:3 n_kv=9 poison=hidden:previous:1",
                            "n_kv=9 poison=output:zero",
                            "mask=causal layout=mask-cols:8 n_q=3 n_kv=9 poison=mask-cols:nan",
                            "mask=causal layout=mask-rows:57 n_q=7 n_kv=9 poison=mask-rows:random",
                            "threads=7 n_kv=600",
                            "threads=16 n_kv=600",
                            "n_kv=70 n_head=2 layout=cache:20000000+sparse",
                            "n_kv=70 n_head=2 layout=cache:40000000+sparse"}) {
    lines += std::string("flash_attn_ext ") + words + "\n";
  }
  const Ended ended = attest({"run", "-b", "cpu:vec", "-b", "cpu:tiled", "-b", "cpu:split", "--blindness", "off",
                              "--cases", dir.file("axes.txt", lines)});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("47 cases x 3 backends = 141 verdicts, all accounted for"));
  EXPECT_THAT(ended.out, ::testing::Not(HasSubstr("UNSUPPORTED")));
}

TEST(Probe, SaysWhichCausalMaskABackendApplies) {
  const Ended ended = attest({"probe", "causal", "-b", "cpu:vec"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("12    20  bottom-right  PASS         bottom-right\n"));
  EXPECT_THAT(ended.out, HasSubstr("20    12  top-left      PASS         top-left\n"));
  EXPECT_THAT(ended.out, HasSubstr("16    16  bottom-right  PASS         bottom-right or top-left\n"));
  EXPECT_EQ(attest({"probe", "sinks", "-b", "cpu:vec"}).code, 2);
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
  const Ended ended =
      attest({"coverage", "--suite", "nightly", "--min-pairs", "100", "--min-triples", "95", "--blindness", "off"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("covered   100.000 %"));
  EXPECT_LE(longest_line(ended.out), 100U);
}

TEST(Coverage, WhatABlindCaseClaimsCountsAsMissing) {
  const ScratchDir dir;
  const std::string suite = dir.file("own.toml", R"(
name = "own"
description = "sinks that nobody sees where all of V is 0"
[[covering]]
why = "x"
line = "flash_attn_ext d=32 n_kv=9"
[covering.axes]
sinks = ["none", "0"]
data = ["normal", "v_const:0"]
)");
  const Ended seen = attest({"coverage", "--suite", suite});
  EXPECT_EQ(seen.code, 0) << seen.err;
  EXPECT_THAT(seen.out, HasSubstr("1 of 4 cases are blind"));
  EXPECT_THAT(seen.out, HasSubstr("3 of         4 covered    75.000 %        1 missing"));
  EXPECT_THAT(seen.out, HasSubstr("sinks=0, data=v_const:0"));
  EXPECT_THAT(attest({"coverage", "--suite", suite, "--blindness", "off"}).out, HasSubstr("4 of         4 covered"));
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
