// Processes as backends, from outside: what does not start, what goes wrong in a case, and the examples on suite quick.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "harness/cli/testing/attest_process.h"
#include "harness/cli/testing/verdicts.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// No key is visible: the right answer is 0, which the program gives where it is not told to do something else.
constexpr const char* kLine = "flash_attn_ext d=16 n_head=2 n_q=2 n_kv=24 kv=f32 mask=dead:all";

std::string misbehaving(const std::string& mode) { return "process:" ATTEST_MISBEHAVING_PROCESS " " + mode; }

struct BadProcess {
  std::string backend, message;
};
void PrintTo(const BadProcess& bad, std::ostream* out) { *out << bad.backend; }

class BadProcesses : public ::testing::TestWithParam<BadProcess> {};

TEST_P(BadProcesses, EndTheRunWithAReason) {
  const Ended run = attest({"run", "-b", GetParam().backend, "--case", kLine});
  EXPECT_EQ(run.code, 3) << run.out << run.err;
  EXPECT_THAT(run.err, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Process, BadProcesses,
    ::testing::Values(
        BadProcess{"process", "process needs a command"}, BadProcess{"process:sh -c 'exit", "has an open quote"},
        BadProcess{"process:/nowhere/kernel --fast", "cannot start '/nowhere/kernel': No such file or directory"},
        BadProcess{"process:cat,speed=9", "process has no option 'speed'"},
        BadProcess{"process:sh -c 'echo no numpy here >&2; exit 4'", "ended with code 4; last words: no numpy here"},
        BadProcess{misbehaving("silent-death"),
                   "the process ended with code 3 (it is asked for its capabilities first)"},
        BadProcess{misbehaving("start-garbage"),
                   "expected its capabilities, a JSON object in one line, the process "
                   "wrote 'hello, I am a kernel'"},
        BadProcess{"process:cat", "have a field 'ask'"},
        BadProcess{misbehaving("version"), "it speaks version 7 of the protocol, this attest version 1"},
        BadProcess{misbehaving("no-version"), "expected its capabilities with \"attest\": 1"},
        BadProcess{misbehaving("ops"), "'ops' does not name flash_attn_ext"},
        BadProcess{misbehaving("dtype"), "'k' names a type 'f23' (did you mean 'f32'?)"},
        BadProcess{misbehaving("feature"), "there is no feature 'softcaps' (did you mean 'softcap'?)"},
        BadProcess{misbehaving("spelling"), "have a field 'featurs' (did you mean 'features'?)"},
        BadProcess{misbehaving("transfer"), "'transfer' is neither npy nor memory"},
        BadProcess{misbehaving("contract"), "its contract: u_acc = -1 is no relative error"},
        BadProcess{misbehaving("field"), "its contract has no field 'u_ac' (did you mean 'u_acc'?)"}));

struct Misdeed {
  std::string mode, verdict, detail;
};
void PrintTo(const Misdeed& misdeed, std::ostream* out) { *out << misdeed.mode; }

class Misdeeds : public ::testing::TestWithParam<Misdeed> {};

TEST_P(Misdeeds, GetTheirVerdict) {
  const Misdeed& misdeed = GetParam();
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "run.jsonl";
  std::vector<std::string> words{"run", "-b", misbehaving(misdeed.mode), "--case", kLine, "--jsonl", jsonl};
  // A short deadline only where it is waited for: on a busy machine the others may take their time.
  if (misdeed.verdict == "HANG") words.insert(words.end(), {"--timeout", "0.4"});
  const Ended run = attest(words);
  const Verdicts verdicts = verdicts_in(jsonl);
  ASSERT_EQ(verdicts.size(), 1U) << run.err;
  const VerdictRecord& record = verdicts.begin()->second;
  EXPECT_EQ(info(record.verdict).name, misdeed.verdict) << record.detail;
  EXPECT_THAT(record.detail, HasSubstr(misdeed.detail));
  EXPECT_EQ(record.backend, misbehaving(misdeed.mode));
  EXPECT_EQ(record.build_id, "misbehaving 7");
  EXPECT_EQ(run.code, misdeed.verdict == "PASS" ? 0 : misdeed.verdict == "UNSUPPORTED" ? 3 : 1);
}

INSTANTIATE_TEST_SUITE_P(
    Process, Misdeeds,
    ::testing::Values(
        Misdeed{"well", "PASS", ""}, Misdeed{"asks", "PASS", ""},
        Misdeed{"crash", "CRASH", "the process ended by signal 11 (Segmentation fault); last words: run 1"},
        Misdeed{"exit", "CRASH", "the process ended with code 5; last words: run 1"},
        Misdeed{"close", "CRASH", "closed its standard output and went on running"},
        Misdeed{"loop", "HANG", "no answer within 0.4 s; last words: run 1"},
        Misdeed{"sleep", "HANG", "no answer within 0.4 s"},
        Misdeed{"garbage", "ERROR", "the process wrote 'Traceback: something' (standard output is for replies"},
        Misdeed{"no-newline", "ERROR", "a line of more than 1 MiB"},
        Misdeed{"other-id", "ERROR", "a reply with \"id\": 1, the process wrote '{\"id\":99999}'"},
        Misdeed{"error", "ERROR", "misbehaving: head size 16 is not compiled in; last words: run 1"},
        Misdeed{"missing", "ERROR", "output.npy does not exist"},
        Misdeed{"elsewhere", "ERROR", "the output file /nowhere/out.npy does not exist"},
        Misdeed{"long-name", "ERROR", "xxx does not exist"},
        Misdeed{"negative-time", "ERROR", "expected \"cpu_seconds\" of 0 or more, the process wrote '{\"id\":1,"},
        Misdeed{"shape", "ERROR", "holds f32 [1, 16, 2, 2]; this problem has f32 [1, 2, 2, 16]"},
        Misdeed{"type", "ERROR", "holds f64 [1, 2, 2, 16]; this problem has f32"},
        Misdeed{"truncated", "ERROR", "the output file is no array"},
        Misdeed{"asks-no", "UNSUPPORTED", "misbehaving: it says no and gives no reason"},
        Misdeed{"asks-garbage", "ERROR", "\"supports\", the process wrote"}));

// A process that dies is started again; the cases before and after keep their verdicts.
TEST(Process, ADeathCostsOneCase) {
  std::vector<std::string> words{"run", "--jobs", "1", "-b", misbehaving("crash-once")};
  for (int seed = 1; seed <= 5; ++seed)
    words.insert(words.end(), {"--case", kLine + (" seed=" + std::to_string(seed))});
  const Ended run = attest(words);
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.out, HasSubstr("CRASH 2"));  // the second run of each of its lives
}

TEST(Process, IsNotAskedForWhatItDoesNotName) {
  const Ended run = attest({"run", "-b", misbehaving("well"), "--case", kLine, "--case",
                            "flash_attn_ext d=16 n_head=2 n_q=2 n_kv=24 kv=f32 softcap=5", "--case",
                            "flash_attn_ext d=16 kv=f16", "--case", "set_rows d=16"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("it does not name the feature softcap"),
                             HasSubstr("K of type f16 is not among its types"), HasSubstr("has no op set_rows")));
}

// Command lines of running processes with `word` in them. Linux only; elsewhere empty.
int running_with(const std::string& word) {
  int count = 0;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", none)) {
    std::ifstream file(entry.path() / "cmdline");
    const std::string words((std::istreambuf_iterator<char>(file)), {});
    count += words.find(word) != std::string::npos ? 1 : 0;
  }
  return count;
}

// However a case ends, the subject is killed at last: its janitor ends the program and removes the files.
TEST(Process, LeavesNeitherFilesNorProcessesBehind) {
  const ScratchDir dir;
  const std::string mark = "marked-" + dir.path().filename().string();
  for (const char* mode : {"well", "loop", "crash"}) {
    std::vector<std::string> words{"run", "-b", misbehaving(mode) + " " + mark, "--case", kLine};
    if (mode == std::string("loop")) words.insert(words.end(), {"--timeout", "0.3"});
    const Ended run = attest(words, {{"ATTEST_EXCHANGE_DIR", dir.path().string()}});
    EXPECT_EQ(run.code, std::string(mode) == "well" ? 0 : 1) << run.err;
    // The janitor works after the subject has gone: give it a moment.
    const auto clean = [&] { return std::filesystem::is_empty(dir.path()) && running_with(mark) == 0; };
    for (int i = 0; i < 200 && !clean(); ++i) shell("sleep 0.02");
    EXPECT_TRUE(clean()) << mode;
  }
}

// ---- the examples

void expect_passes(const std::string& backend, int passes) {
  const ScratchDir dir;
  const std::string jsonl = dir.path() / "quick.jsonl";
  const Ended run = attest({"run", "--suite", "quick", "--relations", "none", "-b", backend, "--jsonl", jsonl});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  int passed = 0;
  for (const auto& [key, record] : verdicts_in(jsonl)) {
    if (record.verdict == Verdict::PASS) {
      ++passed;
      continue;
    }
    EXPECT_EQ(info(record.verdict).name, "UNSUPPORTED") << key.first << ": " << record.detail;
    EXPECT_NE(record.detail, "");
  }
  EXPECT_GE(passed, passes);
}

TEST(ProcessExamples, ACompiledProgramPassesQuick) { expect_passes("process:" ATTEST_MAPPED_ATTENTION, 350); }

TEST(ProcessExamples, NumPyPassesQuick) {
  for (const char* python : {"python3", "/usr/bin/python3"}) {
    if (shell(std::string(python) + " -c 'import numpy'").code != 0) continue;
    expect_passes(
        std::string("process:") + python + " " ATTEST_SOURCE_DIR "/backends/process/examples/numpy_attention.py", 350);
    return;
  }
  GTEST_SKIP() << "no Python with NumPy here (Debian: python3-numpy)";
}

}  // namespace
}  // namespace attest::testing
