// Plug-ins from outside: what does not load, what lies, what misbehaves in a case, and the examples on suite quick.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/verdicts.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// No key is visible: the right answer is 0, which the plug-in gives where it is not told to do something else.
constexpr const char* kLine = "flash_attn_ext d=16 n_head=2 n_q=2 n_kv=24 kv=f32 mask=dead:all";

std::string plugin(const std::string& name, const std::string& options = "") {
  return "plugin:" ATTEST_PLUGIN_DIR "/" + name + options;
}

// ---- what does not become a backend

struct BadPlugin {
  std::string backend, how, message;
};
void PrintTo(const BadPlugin& bad, std::ostream* out) { *out << bad.backend << " " << bad.how; }

class BadPlugins : public ::testing::TestWithParam<BadPlugin> {};

TEST_P(BadPlugins, EndTheRunWithAReason) {
  const BadPlugin& bad = GetParam();
  const Ended run = attest({"run", "-b", bad.backend, "--case", kLine}, {{"ATTEST_TEST_PLUGIN", bad.how}});
  EXPECT_EQ(run.code, 3) << run.out << run.err;
  EXPECT_THAT(run.err, HasSubstr(bad.message));
}

const std::string kMisbehaving = plugin("misbehaving_plugin.so");

INSTANTIATE_TEST_SUITE_P(
    Plugin, BadPlugins,
    ::testing::Values(BadPlugin{"plugin:/nowhere/kernel.so", "", "/nowhere/kernel.so: no such file"},
                      BadPlugin{"plugin:/tmp", "", "/tmp is a directory"},
                      BadPlugin{"plugin:" ATTEST_SOURCE_DIR "/README.md", "", "README.md is not a shared library"},
                      BadPlugin{plugin("no_entry.so"), "",
                                "has no function attest_plugin_entry (declare it extern \"C\""},
                      BadPlugin{kMisbehaving, "null", "returned NULL: it does not serve ABI version 1"},
                      BadPlugin{kMisbehaving, "version", "is built for ABI version 99, this attest has version 1"},
                      BadPlugin{kMisbehaving, "size", "its struct attest_plugin has 24 bytes, ABI version 1 has"},
                      BadPlugin{kMisbehaving, "name", "has no name"},
                      BadPlugin{kMisbehaving, "supports", "its function supports is NULL"},
                      BadPlugin{kMisbehaving, "run", "its function run is NULL"},
                      BadPlugin{kMisbehaving, "crash", "died while starting: signal 6"},
                      BadPlugin{kMisbehaving + ",speed=9", "", "does not take the option 'speed=9': it was told to"},
                      BadPlugin{kMisbehaving + ",speed=9", "optional", "takes no options: 'speed'"},
                      BadPlugin{kMisbehaving + ",threads=0", "", "threads=0 is not a number of threads"},
                      BadPlugin{"plugin", "", "plugin needs a file"},
                      BadPlugin{kMisbehaving + ",bug=no-reason", "", "took none of the 1 cases"}));

// ---- what a case shows

struct Misdeed {
  std::string bug, verdict, detail;
};
void PrintTo(const Misdeed& misdeed, std::ostream* out) { *out << misdeed.bug; }

class Misdeeds : public ::testing::TestWithParam<Misdeed> {};

TEST_P(Misdeeds, GetTheirVerdict) {
  const Misdeed& misdeed = GetParam();
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "run.jsonl";
  const std::string backend = kMisbehaving + (misdeed.bug.empty() ? "" : ",bug=" + misdeed.bug);
  std::vector<std::string> words{"run", "-b", backend, "--case", kLine, "--jsonl", jsonl};
  // A short deadline only where it is waited for: on a busy machine the others may take their time.
  if (misdeed.verdict == "HANG") words.insert(words.end(), {"--timeout", "0.3"});
  const Ended run = attest(words);
  const Verdicts verdicts = verdicts_in(jsonl);
  ASSERT_EQ(verdicts.size(), 1U) << run.err;
  const VerdictRecord& record = verdicts.begin()->second;
  EXPECT_EQ(info(record.verdict).name, misdeed.verdict) << record.detail;
  EXPECT_THAT(record.detail, HasSubstr(misdeed.detail));
  EXPECT_EQ(record.backend, backend);
  EXPECT_THAT(record.build_id, MatchesRegex("misbehaving build 7 [0-9a-f]+"));
  EXPECT_EQ(run.code, misdeed.verdict == "PASS" ? 0 : misdeed.verdict == "UNSUPPORTED" ? 3 : 1);
}

INSTANTIATE_TEST_SUITE_P(
    Plugin, Misdeeds,
    ::testing::Values(Misdeed{"", "PASS", ""}, Misdeed{"crash", "CRASH", "signal 11"},
                      Misdeed{"over-read", "OOB", "read 256 bytes past the end of K"},
                      Misdeed{"write-out", "OOB", "write 256 bytes past the end of output"},
                      Misdeed{"write-input", "INPUT-WRITTEN", "write to Q"},
                      Misdeed{"loop", "HANG", "no answer within 0.3 s"},
                      Misdeed{"workspace-past", "OOB", "write 0 bytes past the end of the workspace of 100 bytes"},
                      Misdeed{"workspace-before", "OOB", "write 5 bytes before the start of the workspace"},
                      Misdeed{"workspace-far", "OOB", "write 4900 bytes past the end of the workspace"},
                      Misdeed{"workspace-stale", "NAN", ""},
                      Misdeed{"workspace-huge", "ERROR", "the workspace of 4294967296 GiB cannot be had"},
                      Misdeed{"alignment", "ERROR", "workspace_alignment = 48 is no power of two up to 4096"},
                      Misdeed{"output-too-small", "ERROR", "run writes 252 bytes of output; this problem has 256"},
                      Misdeed{"prepare-fails", "ERROR", "prepare returned 4: it was told to"},
                      Misdeed{"run-fails", "ERROR", "run returned 6: it was told to"},
                      Misdeed{"answers-7", "ERROR", "supports returned 7, which is neither yes (1) nor no (0)"},
                      Misdeed{"no-reason", "UNSUPPORTED", "misbehaving: the plug-in says no and gives no reason"},
                      Misdeed{"reason-unended", "UNSUPPORTED", "misbehaving: xxxx"},
                      Misdeed{"contract-fails", "ERROR", "contract returned 5: it was told to"},
                      Misdeed{"u-acc", "ERROR", "its contract: u_acc = -1 is no relative error: 0 to below 1"},
                      Misdeed{"eps-nan", "ERROR", "eps_exp = nan is no relative error"},
                      Misdeed{"tile-0", "ERROR", "tile = 0 is no number of keys or chunks: 1 or more"},
                      Misdeed{"chunks-0", "ERROR", "chunks = 0 is no number of keys or chunks"},
                      Misdeed{"q-rounding", "ERROR", "q_rounding = 99 is no rounding of Q that attest knows"},
                      Misdeed{"flag-2", "ERROR", "truncating = 2 is no yes or no"},
                      Misdeed{"path", "ERROR", "path does not end within 32 bytes"}));

TEST(Plugin, NeedsOnlySupportsAndRun) {
  const Ended run =
      attest({"run", "-b", kMisbehaving, "--case", kLine, "--repeat", "3"}, {{"ATTEST_TEST_PLUGIN", "optional"}});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
}

TEST(Plugin, GivesReasonsInOneLine) {
  const std::string three = "flash_attn_ext d=16 n_head=2 n_q=3 n_kv=24 kv=f32 mask=dead:all";
  const Ended run = attest({"run", "-b", kMisbehaving, "--case", kLine, "--case", three});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("misbehaving: three queries are too many"));
}

// One key: the output is its row of V. Rounding that to 11 bits is wrong of a kernel that states f32.
TEST(Plugin, IsHeldToTheContractItStates) {
  for (const auto& [bug, code] : {std::pair{"rounds", 1}, {"rounds-and-says-so", 0}}) {
    const Ended run =
        attest({"run", "-b", kMisbehaving + ",bug=" + bug, "--case", "flash_attn_ext d=64 n_kv=1 kv=f32"});
    EXPECT_EQ(run.code, code) << run.out << run.err;
  }
}

// Its f16 accumulator overflows in every row, as it says: that holds it to nothing.
TEST(Plugin, WhoseContractPredictsOverflowEverywhereIsNotCompared) {
  const Ended run = attest({"run", "-b", kMisbehaving + ",bug=narrow", "--case",
                            "flash_attn_ext d=64 n_kv=100 kv=f32 data=normal:0.3+v_scale:20000"});
  EXPECT_EQ(run.code, 3) << run.out << run.err;
  EXPECT_THAT(run.err, HasSubstr("took none of the 1 cases but 1 RANGE: nothing was compared"));
}

// The workspace is judged in the subject; what explain shows is that verdict.
TEST(Plugin, ThatWritesBesideItsWorkspaceIsOobInExplainToo) {
  const Ended explain = attest({"explain", "-b", kMisbehaving + ",bug=workspace-before", kLine});
  EXPECT_EQ(explain.code, 1) << explain.out << explain.err;
  EXPECT_THAT(explain.out, HasSubstr("OOB"));
}

// It answers 0 everywhere. Its name and its build string say nothing of what is in the file.
TEST(Plugin, AnswersOfAnotherBuildAreNotThisOnes) {
  const ScratchDir dir;
  const std::string file = dir.path() / "kernel.so", state = dir.path() / "state";
  std::filesystem::copy_file(ATTEST_PLUGIN_DIR "/misbehaving_plugin.so", file);
  const std::vector<std::string> words{
      "shrink", "flash_attn_ext d=16 n_kv=24 kv=f32", "-b", "plugin:" + file, "--quiet", "--max-runs", "3", "--state",
      state};
  EXPECT_EQ(attest(words).code, 0);
  EXPECT_EQ(attest(words).code, 0);
  std::ofstream(file, std::ios::app | std::ios::binary) << "built again";
  const Ended rebuilt = attest(words);
  EXPECT_EQ(rebuilt.code, 2) << rebuilt.out;
  EXPECT_THAT(rebuilt.err, HasSubstr("the state of another question or build"));
}

// ---- the examples

TEST(PluginExamples, PassQuickOrSayWhyNot) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "quick.jsonl";
  const std::vector<std::string> backends{plugin("plain_attention.so"), plugin("tiled_attention.so", ",tile=7")};
  const Ended run = attest(
      {"run", "--suite", "quick", "--relations", "none", "-b", backends[0], "-b", backends[1], "--jsonl", jsonl});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  std::map<std::string, int> passes;
  for (const auto& [key, record] : verdicts_in(jsonl)) {
    if (record.verdict == Verdict::PASS) {
      ++passes[key.second];
      continue;
    }
    EXPECT_EQ(info(record.verdict).name, "UNSUPPORTED") << key.second << ": " << key.first << ": " << record.detail;
    EXPECT_NE(record.detail, "");
  }
  EXPECT_GE(passes[backends[0]], 350);
  EXPECT_GE(passes[backends[1]], 350);
}

TEST(PluginExamples, KeepEveryRelationThreadsIncluded) {
  std::vector<std::string> words{"run",
                                 "--relations",
                                 "all",
                                 "-b",
                                 plugin("plain_attention.so"),
                                 "-b",
                                 plugin("tiled_attention.so", ",tile=5,threads=2")};
  for (const char* line :
       {"flash_attn_ext d=32 n_head=4 n_head_kv=2 n_q=5 n_kv=77 kv=f16 mask=causal softcap=20 poison=nan",
        "flash_attn_ext d=40 n_head=4 n_head_kv=1 n_q=1 n_kv=130 kv=f32 mask=used:100 max_bias=8 "
        "sinks=normal layout=0213 threads=3"}) {
    words.insert(words.end(), {"--case", line});
  }
  const Ended run = attest(words);
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("held, 0 broken, 0 not supported")));
}

}  // namespace
}  // namespace attest::testing
