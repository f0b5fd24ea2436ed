// The command line from outside: exit codes, messages, and that what is printed can be pasted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using Words = std::vector<std::string>;

constexpr const char* kSmall = "flash_attn_ext d=16 n_kv=8";

// `line`, then a caret under the first character of `at`, as messages show it.
std::string caret_under(const std::string& line, const std::string& at) {
  return "\n  " + line + "\n  " + std::string(line.find(at), ' ') + "^\n";
}

// ---- a bad line: exit 2

struct BadLine {
  std::string line, at, message;
};
void PrintTo(const BadLine& bad, std::ostream* out) { *out << bad.line; }

class BadLines : public ::testing::TestWithParam<BadLine> {};

TEST_P(BadLines, AreShownWithACaretUnderTheMistake) {
  const BadLine& bad = GetParam();
  const Ended run = attest({"run", "-b", "cpu:vec", "--case", bad.line});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, AllOf(StartsWith("attest: error: "), HasSubstr(bad.message)));
  EXPECT_THAT(run.err, HasSubstr(caret_under(bad.line, bad.at)));
  EXPECT_EQ(run.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    Cli, BadLines,
    ::testing::Values(BadLine{"flash_attn_ext n_hed=4", "n_hed", "did you mean 'n_head'?"},
                      BadLine{"flash_attn_ext n_q=two", "two", "number"},
                      BadLine{"flash_attn_ext kv=q8_1", "q8_1", "did you mean 'q8_0'?"},
                      BadLine{"flash_attn_ext d=72 kv=q8_0", "d=72", "32"},
                      BadLine{"flash_attn_ext n_head=6 n_head_kv=4", "n_head_kv", "n_head"},
                      BadLine{"flash_atn_ext n_q=1", "flash_atn_ext", "did you mean 'flash_attn_ext'?"},
                      BadLine{"FLASH_ATTN_EXT(hsk=64,hsl=64,nh=2,kv=9,nb=1)", "hsl", "did you mean 'hsk'?"}));

// ---- bad words on the command line: exit 2

struct BadWords {
  Words words;
  std::string message;
};
void PrintTo(const BadWords& bad, std::ostream* out) {
  for (const auto& word : bad.words) *out << word << ' ';
}

class BadUsage : public ::testing::TestWithParam<BadWords> {};

TEST_P(BadUsage, IsExitCode2AndNamesTheNearestWord) {
  const Ended run = attest(GetParam().words);
  EXPECT_EQ(run.code, 2) << run.err;
  EXPECT_THAT(run.err, AllOf(StartsWith("attest: error: "), HasSubstr(GetParam().message)));
  EXPECT_EQ(run.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    Cli, BadUsage,
    ::testing::Values(BadWords{{}, "subcommand"}, BadWords{{"rum"}, "unknown verb 'rum' (did you mean 'run'?)"},
                      BadWords{{"lost"}, "did you mean 'list'?"},
                      BadWords{{"run", "--suit", "quick"}, "did you mean '--suite'?"},
                      BadWords{{"run", "--rows", "0"}, "--rows"}, BadWords{{"run", "--jobs", "many"}, "--jobs"},
                      BadWords{{"run", "--oracle", "half"}, "--oracle"}, BadWords{{"run", "--case"}, "--case"},
                      BadWords{{"run", "--case", kSmall, "--suite", "quick"}, "--suite"},
                      BadWords{{"run", "--suite", "quik"}, "did you mean 'quick'?"},
                      BadWords{{"run", "--cases", "/nowhere/cases.txt"}, "/nowhere/cases.txt"},
                      BadWords{{"run", "--ledger", "/nowhere/ledger.toml"}, "/nowhere/ledger.toml"},
                      BadWords{{"run", "-o", "flash_attn"}, "did you mean 'flash_attn_ext'?"},
                      BadWords{{"run", "--relations", "gqa,row-alon"}, "did you mean 'row-alone'?"},
                      BadWords{{"run", "--max-memory", "5X"}, "e.g. 512M"},
                      BadWords{{"run", "--max-memory", "1e30"}, "e.g. 512M"},
                      BadWords{{"run", "--debug", "gbd", "--case", kSmall}, "--debug"},
                      BadWords{{"run", "--debug", "gdb"}, "--case LINE"}, BadWords{{"list"}, "what"},
                      BadWords{{"list", "bakends"}, "did you mean 'backends'?"},
                      BadWords{{"list", "cases", "--suite", "quik"}, "did you mean 'quick'?"},
                      BadWords{{"show"}, "line"},
                      BadWords{{"show", "flash_attn_ext n_hed=4"}, "did you mean 'n_head'?"}));

// ---- bad files: exit 2, with file, line and column

TEST(BadFiles, CasesPointAtLineAndColumn) {
  const ScratchDir dir;
  const std::string file = dir.file("cases.txt", std::string(kSmall) + "\n# fine so far\nflash_attn_ext n_q=two\n");
  const Ended run = attest({"run", "-b", "cpu:vec", "--cases", file});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, AllOf(HasSubstr(file + ":3:20: "), HasSubstr(caret_under("flash_attn_ext n_q=two", "two"))));
}

TEST(BadFiles, SuitesPointAtLineAndColumn) {
  const ScratchDir dir;
  const std::string syntax = dir.file("syntax.toml", "name = \"own\"\ndescription = \n");
  const Ended broken = attest({"run", "-b", "cpu:vec", "--suite", syntax});
  EXPECT_EQ(broken.code, 2);
  EXPECT_THAT(broken.err, HasSubstr(syntax + ":2:"));

  const std::string key = dir.file("key.toml",
                                   "name = \"own\"\ndescription = \"x\"\n[[group]]\ntags = [\"a\"]\nwhy = \"y\"\n"
                                   "lnie = \"flash_attn_ext\"\n");
  const Ended misspelt = attest({"run", "-b", "cpu:vec", "--suite", key});
  EXPECT_EQ(misspelt.code, 2);
  EXPECT_THAT(misspelt.err, AllOf(HasSubstr(key + ":6:1: "), HasSubstr("did you mean 'line'?")));
}

TEST(BadFiles, LedgersPointAtLineAndColumn) {
  const ScratchDir dir;
  const std::string file =
      dir.file("ledger.toml", "[[entry]]\nbackend = \"cpu*\"\nmatch = \"n_q>=1\"\nverdit = \"FAIL\"\n");
  const Ended run = attest({"run", "-b", "cpu:vec", "--ledger", file, "--case", kSmall});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, AllOf(HasSubstr(file + ":4:1: "), HasSubstr("did you mean 'verdict'?")));
}

TEST(BadFiles, ADirectoryIsNamedWhereAFileIsMeant) {
  const ScratchDir dir;
  dir.file("own.toml/keep", "");
  dir.file("corpus/x.txt/keep", "");
  const std::string at = dir.path().string();
  const std::pair<Words, std::string> asked[] = {
      {{"run", "-b", "cpu:vec", "--cases", at}, at},
      {{"run", "-b", "cpu:vec", "--suite", at + "/own.toml"}, at + "/own.toml"},
      {{"run", "-b", "cpu:vec", "--case", kSmall, "--resume", at}, at},
      {{"fuzz", "-b", "cpu:vec", "--corpus", at + "/corpus"}, at + "/corpus/x.txt"},
      {{"report", at}, at},
      {{"merge", at, "-o", at + "/merged"}, at}};
  for (const auto& [words, named] : asked) {
    const Ended ended = attest(words);
    EXPECT_EQ(ended.code, 2) << words[0] << ended.err;
    EXPECT_THAT(ended.err, StartsWith("attest: error: " + named + ": cannot be read: Is a directory")) << words[0];
  }
}

TEST(BadFiles, ThatTheFileSystemRefusesAreNoFailureOfStandardOutput) {
  const Ended ended = attest({"run", "-b", "cpu:vec", "--case", kSmall, "--resume", std::string(5000, 'x')});
  EXPECT_EQ(ended.code, 3);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("File name too long"), Not(HasSubstr("standard output"))));
  const ScratchDir dir;
  const Ended gone = shell("cd '" + dir.path().string() + "' && mkdir gone && cd gone && rmdir ../gone && '" +
                           attest_executable().string() + "' list backends");
  EXPECT_EQ(gone.code, 0) << gone.err;
  EXPECT_THAT(gone.out, HasSubstr("cpu:vec "));
}

TEST(Files, APipeWillDo) {
  const Ended ended = shell(std::string("echo '") + kSmall + "' | '" + attest_executable().string() +
                            "' run -b cpu:vec --cases /dev/stdin");
  EXPECT_EQ(ended.code, 0) << ended.err;
}

// ---- what cannot be had: exit 3

TEST(Unavailable, AGgmlDirectoryThatIsNotThere) {
  const Ended run = attest({"run", "-b", "ggml:CPU", "--ggml", "/nowhere/ggml", "--case", kSmall});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("--ggml '/nowhere/ggml'"), HasSubstr("no such directory")));
  const Ended variable = attest({"run", "-b", "cpu:vec", "--case", kSmall}, {{"ATTEST_GGML_DIR", "/nowhere/ggml"}});
  EXPECT_EQ(variable.code, 3);
  EXPECT_THAT(variable.err, HasSubstr("ATTEST_GGML_DIR '/nowhere/ggml'"));
}

TEST(Unavailable, ADirectoryWithoutGgml) {
  const ScratchDir dir;
  const Ended run = attest({"run", "-b", "ggml:CPU", "--ggml", dir.path(), "--case", kSmall});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("no ggml in " + dir.path().string()), HasSubstr("libggml-base")));
  EXPECT_EQ(run.out, "");
}

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
TEST(Unavailable, ALibraryOfAnotherArchitecture) {
  std::string riscv(64, '\0');
  riscv.replace(0, 7,
                "\x7f"
                "ELF\x02\x01\x01");
  riscv[16] = 3;
  riscv[18] = '\xf3';
  const ScratchDir dir;
  dir.file("libggml-base.so", riscv);
  const Ended run = attest({"run", "-b", "ggml:CPU", "--ggml", dir.path(), "--case", kSmall});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("libggml-base.so"), HasSubstr("built for"), HasSubstr("this machine is")));
}
#endif

struct BadBackend {
  std::string name, message;
};
void PrintTo(const BadBackend& bad, std::ostream* out) { *out << bad.name; }

class BadBackends : public ::testing::TestWithParam<BadBackend> {};

TEST_P(BadBackends, AreExitCode3EvenWhereTheUnavailableIsSkipped) {
  const ScratchDir dir;  // a ggml build by name, which is never opened
  for (const bool skip : {false, true}) {
    Words words{"run", "--ggml", "own=" + dir.path().string(), "--case", kSmall, "-b", GetParam().name};
    if (skip) words.emplace_back("--skip-unavailable");
    const Ended run = attest(words);
    EXPECT_EQ(run.code, 3) << run.err;
    EXPECT_THAT(run.err, AllOf(StartsWith("attest: error: "), HasSubstr(GetParam().message)));
  }
  const Ended show = attest({"show", kSmall, "-b", GetParam().name, "--ggml", "own=" + dir.path().string()});
  EXPECT_EQ(show.code, 3) << show.err;
}

INSTANTIATE_TEST_SUITE_P(
    Cli, BadBackends,
    ::testing::Values(BadBackend{"cpi:vec", "did you mean 'cpu'?"}, BadBackend{"cpu:tield", "did you mean 'tiled'?"},
                      BadBackend{"cpu:vec,thread=2", "did you mean 'threads'?"},
                      BadBackend{"cpu:vec,threads=0", "number of threads"}, BadBackend{"cpu:", "variant is missing"},
                      BadBackend{"eigan:f32", "did you mean 'eigen'?"}, BadBackend{"eigen:f23", "did you mean 'f32'?"},
                      BadBackend{"eigen:f32,threads=2", "neither builds nor options"},
                      BadBackend{"ggml@onw:CPU", "did you mean 'own'?"},
                      BadBackend{"ggml@own:CPU,unfusd", "did you mean 'unfused'?"}));

TEST(Unavailable, IsSkippedWith77OnlyWhenAsked) {
  const ScratchDir dir;
  const Words words{"run", "-b", "cpu:vec", "-b", "ggml:CPU", "--ggml", dir.path(), "--case", kSmall};
  EXPECT_EQ(attest(words).code, 3);
  Words skipping = words;
  skipping.emplace_back("--skip-unavailable");
  const Ended run = attest(skipping);
  EXPECT_EQ(run.code, 77);
  EXPECT_THAT(run.err, AllOf(StartsWith("attest: skipped: "), HasSubstr("no ggml in")));
}

// ---- nothing to compare: exit 3

TEST(NothingToCompare, AnEmptyFileIsNoSuccess) {
  const ScratchDir dir;
  const Ended run = attest({"run", "-b", "cpu:vec", "--cases", dir.file("cases.txt", "# none\n")});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, HasSubstr("0 cases selected"));
}

std::string ledger(const std::string& fields) {
  return "[[entry]]\nbackend = \"cpu:vec\"\nmatch = \"n_q>=1\"\nreason = \"known\"\nrepro = \"flash_attn_ext\"\n" +
         fields;
}

TEST(NothingToCompare, ABackendThatTookNoCaseIsNoSuccess) {
  const ScratchDir dir;
  const std::string file = dir.file("ledger.toml", ledger("mode = \"quarantined\"\n"));
  const Ended run = attest({"run", "-b", "cpu:vec", "--ledger", file, "--case", kSmall});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, HasSubstr("took none of the 1 cases"));
  EXPECT_THAT(run.out, HasSubstr("QUARANTINED 1"));
}

// ---- verdicts and exit codes

TEST(Verdicts, APassIs0) {
  const Ended run = attest({"run", "-b", "cpu:vec", "--case", kSmall});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(run.out, AllOf(HasSubstr("no bad verdict"), HasSubstr("all accounted for")));
}

// No backend does this within a nanosecond: a bad verdict without a bad backend.
const Words& late() {
  static const Words words{
      "run", "-b", "cpu:vec", "--timeout", "1e-9", "--rows", "1", "--case", "flash_attn_ext d=128 n_q=64 n_kv=16384"};
  return words;
}

TEST(Verdicts, ABadOneIs1AndItsReproLineCanBePasted) {
  const ScratchDir dir;  // --ggml is part of what was asked: the line carries it
  Words words = late();
  words.insert(words.end(), {"--ggml", dir.path().string() + "'s builds"});
  std::filesystem::create_directory(dir.path().string() + "'s builds");
  const Ended run = attest(words);
  std::filesystem::remove(dir.path().string() + "'s builds");
  EXPECT_EQ(run.code, 1) << run.err;
  EXPECT_THAT(run.out, HasSubstr("HANG"));
  const auto at = run.out.find("attest run ");
  ASSERT_NE(at, std::string::npos) << run.out;
  const std::string repro = run.out.substr(at, run.out.find('\n', at) - at);
  EXPECT_THAT(repro, HasSubstr("--ggml '" + dir.path().string() + "'\\''s builds'"));

  std::filesystem::create_directory(dir.path().string() + "'s builds");
  const std::string pasted = "'" + attest_executable().string() + "'" + repro.substr(std::string("attest").size());
  const Ended again = shell(pasted);
  std::filesystem::remove(dir.path().string() + "'s builds");
  EXPECT_EQ(again.code, 1) << pasted << again.err;
  EXPECT_THAT(again.out, HasSubstr(repro));
}

TEST(Verdicts, AKnownFailureIs0) {
  const ScratchDir dir;
  Words words = late();
  words.insert(words.end(), {"--ledger", dir.file("l.toml", ledger("mode = \"tolerated\"\nverdict = \"HANG\"\n"))});
  const Ended run = attest(words);
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("XFAIL 1"), HasSubstr("HANG: known")));
}

TEST(Verdicts, AKnownFailureThatPassesIs1) {
  const ScratchDir dir;
  const std::string file = dir.file("l.toml", ledger("mode = \"tolerated\"\nverdict = \"FAIL\"\n"));
  const Ended run = attest({"run", "-b", "cpu:vec", "--case", kSmall, "--ledger", file});
  EXPECT_EQ(run.code, 1) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("XPASS 1"), HasSubstr(file + ":1")));
}

TEST(Verdicts, RepeatedRunsOfOurKernelsAreBitIdentical) {
  const Ended run = attest({"run", "-b", "cpu:split,threads=2", "--repeat", "5", "--case", "flash_attn_ext n_kv=2048"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
}

// ---- list, show, help

TEST(List, EveryWordPrintsWhatItNames) {
  EXPECT_THAT(attest({"list", "ops"}).out, HasSubstr("FLASH_ATTN_EXT"));
  const Ended backends = attest({"list", "backends"});
  EXPECT_EQ(backends.code, 0) << backends.err;
  EXPECT_THAT(backends.out, AllOf(HasSubstr("cpu:vec "), HasSubstr("cpu:tiled "), HasSubstr("cpu:split "),
                                  HasSubstr("eigen:f32 "), HasSubstr("ggml")));
  EXPECT_THAT(attest({"list", "suites"}).out, AllOf(HasSubstr("quick "), HasSubstr("5158 cases")));
  EXPECT_THAT(attest({"list", "families"}).out, AllOf(HasSubstr("normal"), HasSubstr("structured")));
  EXPECT_THAT(attest({"list", "axes"}).out, AllOf(HasSubstr("n_head_kv"), HasSubstr("v-in-k | left")));
  EXPECT_THAT(attest({"list", "verdicts"}).out, AllOf(HasSubstr("INPUT-WRITTEN"), HasSubstr("NONDETERMINISTIC")));
  EXPECT_THAT(attest({"list", "relations"}).out,
              AllOf(HasSubstr("hidden      bitwise "), HasSubstr("gqa         budget ")));
  const Ended cases = attest({"list", "cases"});
  EXPECT_EQ(cases.code, 0);
  EXPECT_GE(std::count(cases.out.begin(), cases.out.end(), '\n'), 300);
  EXPECT_EQ(cases.err, "");
}

TEST(List, CasesCanBeRunFromAFile) {
  const ScratchDir dir;
  const std::string lines = attest({"list", "cases"}).out;
  const std::string file = dir.file("cases.txt", lines.substr(0, lines.find('\n') + 1));
  EXPECT_EQ(attest({"run", "-b", "cpu:vec", "--cases", file}).code, 0);
}

TEST(Show, ADescriptorIsTensorsBytesCostAndPaths) {
  const Ended show = attest({"show", "flash_attn_ext d=64 n_head=4 n_head_kv=2 n_kv=96 kv=q8_0 mask=causal", "-b",
                             "cpu:tiled", "-b", "eigen:f32"});
  EXPECT_EQ(show.code, 0) << show.err;
  EXPECT_THAT(show.out,
              AllOf(HasSubstr("[64, 96, 2, 1]"), HasSubstr("strides [34, 68, 6528, 13056]"), HasSubstr("13056 bytes"),
                    HasSubstr("FLOP"), HasSubstr("cpu:tiled"), HasSubstr("tiled ")));
}

TEST(Show, ATestBackendOpsLineIsShownAsADescriptor) {
  const Ended show = attest({"show",
                             "FLASH_ATTN_EXT(hsk=72,hsv=72,nh=4,nr23=[4,1],kv=113,nb=2,mask=1,sinks=0,"
                             "max_bias=0.000000,logit_softcap=0.000000,prec=f32,type_KV=q8_0,permute=[0,1,2,3])",
                             "-b", "cpu:vec"});
  EXPECT_EQ(show.code, 0) << show.err;
  EXPECT_THAT(show.out, AllOf(HasSubstr("flash_attn_ext d=96 n_head=16 n_head_kv=4"), HasSubstr("scale=1/sqrt(72)")));
}

TEST(Help, NamesEveryExitCode) {
  for (const Words& words : {Words{"--help"}, Words{"run", "--help"}}) {
    const Ended help = attest(words);
    EXPECT_EQ(help.code, 0);
    EXPECT_EQ(help.err, "");
    for (const char* code : {"0 ", "1 ", "2 ", "3 ", "77 ", "130 "}) {
      const auto at = help.out.find("Exit codes:");
      ASSERT_NE(at, std::string::npos);
      EXPECT_THAT(help.out.substr(at), HasSubstr(code));
    }
  }
  for (const char* verb : {"run", "list", "show"}) EXPECT_THAT(attest({"--help"}).out, HasSubstr(verb));
  EXPECT_THAT(attest({"--version"}).out, StartsWith("attest "));
}

// ---- terminals

TEST(Colour, OnlyOnATerminalThatWantsIt) {
  EXPECT_THAT(attest(late()).out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(attest(late()).err, Not(HasSubstr("\x1b")));
  EXPECT_THAT(attest_on_terminal(late(), {{"NO_COLOR", ""}, {"TERM", "xterm"}}).out, HasSubstr("\x1b[31"));
  EXPECT_THAT(attest_on_terminal(late(), {{"NO_COLOR", "1"}, {"TERM", "xterm"}}).out, Not(HasSubstr("\x1b")));
  EXPECT_THAT(attest_on_terminal(late(), {{"NO_COLOR", ""}, {"TERM", "dumb"}}).out, Not(HasSubstr("\x1b")));
}

TEST(Output, ThatCannotBeWrittenIsExitCode3) {
  const Ended full = shell("'" + attest_executable().string() + "' run -b cpu:vec --case '" + kSmall + "' > /dev/full");
  EXPECT_EQ(full.code, 3);
  EXPECT_THAT(full.err, HasSubstr("No space left on device"));
  const Ended record = attest({"run", "-b", "cpu:vec", "--case", kSmall, "--jsonl", "/nowhere/run.jsonl"});
  EXPECT_EQ(record.code, 3);
  EXPECT_THAT(record.err, HasSubstr("/nowhere/run.jsonl"));
}

// ---- the Metal simulator

TEST(Output, ListingThatCouldNotBeWrittenIsExitThree) {
  for (const char* verb : {"list mutants", "list axes", "show 'flash_attn_ext d=64 n_head=2 n_q=1 n_kv=64 kv=f16'"}) {
    const Ended full = shell("'" + attest_executable().string() + "' " + verb + " > /dev/full");
    EXPECT_EQ(full.code, 3) << verb;
    EXPECT_EQ(full.err, "attest: error: cannot write standard output: No space left on device\n") << verb;
  }
  const Ended closed = shell("{ sleep 0.2; '" + attest_executable().string() + "' list mutants; echo $? >&2; } | true");
  EXPECT_EQ(closed.err, "attest: error: cannot write standard output: Broken pipe\n3\n");
}

TEST(Race, OurKernelsHaveNoneInAnyOrder) {
  const Ended race = attest({"race", "--case", "flash_attn_ext d=64 n_q=2 n_kv=600 kv=f16", "--orders", "4"});
  EXPECT_EQ(race.code, 0) << race.out << race.err;
  EXPECT_THAT(race.out,
              AllOf(HasSubstr("model=tsan"), HasSubstr("order=lifo"), HasSubstr("order=random:2"),
                    HasSubstr("model=lockstep"), HasSubstr("no race: 4 orders and lanes in step give the same bits")));
}

TEST(Race, GoesThroughManyCasesAndShowsOnlyThoseThatRace) {
  const ScratchDir dir;
  const std::string cases = dir.file("cases.txt", std::string(kSmall) + "\nset_rows d=32 n_rows=3 n_ctx=9 kv=q4_0\n" +
                                                      "flash_attn_ext d=640 n_q=2 n_kv=60\n");
  const Ended race = attest({"race", "--cases", cases, "--orders", "3"});
  EXPECT_EQ(race.code, 0) << race.out << race.err;
  EXPECT_THAT(race.out, AllOf(HasSubstr("order=random:1          2      0"), HasSubstr("no race in 2 cases: 3 orders"),
                              HasSubstr("unsupported: 1 metal: d_k is no multiple of 4 up to 576")));
}

TEST(Race, IsForSimulatorsAndChoosesTheOrderItself) {
  for (const char* backend : {"cpu:vec", "metal:sim,order=lifo"}) {
    const Ended race = attest({"race", "-b", backend, "--case", kSmall});
    EXPECT_EQ(race.code, 2) << race.err;
    EXPECT_THAT(race.err, HasSubstr("-b metal:sim"));
  }
  const Ended none = attest({"race"});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.err, HasSubstr("--suite NAME"));
}

TEST(Metal, WithoutACompilerTheSimulatorSaysHowToGetOne) {
  const Ended run = attest({"run", "-b", "metal:sim", "--case", kSmall}, {{"ATTEST_CLANG", "no-such-clang"}});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("needs clang 19"), HasSubstr("ci/setup")));
}

// ---- debuggers

TEST(Debug, StartsTheDebuggerOnTheSameRunInOneProcess) {
  const ScratchDir dir;
  const std::string program = attest_executable().string();
  for (const auto& [name, separator] : {std::pair<std::string, std::string>{"gdb", "--args"}, {"lldb", "--"}}) {
    const std::string fake = dir.file(name, "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 5\n");
    std::filesystem::permissions(fake, std::filesystem::perms::owner_all);
    const std::string path = dir.path().string() + ":/usr/bin:/bin";
    const Ended run =
        attest({"run", "-b", "cpu:vec", "--case", kSmall, "--debug", name, "--seed", "3"}, {{"PATH", path}});
    EXPECT_EQ(run.code, 5) << "the debugger's own exit code: " << run.err;
    EXPECT_EQ(run.out, "<" + separator + "><" + program + "><run><--in-process><--jobs><1><-b><cpu:vec><--case><" +
                           kSmall + "><--seed><3>");
  }
}

TEST(Debug, ADebuggerThatIsNotInstalledIsExitCode3) {
  const ScratchDir dir;
  const Ended run = attest({"run", "-b", "cpu:vec", "--case", kSmall, "--debug", "gdb"}, {{"PATH", dir.path()}});
  EXPECT_EQ(run.code, 3);
  EXPECT_THAT(run.err, AllOf(HasSubstr("cannot start 'gdb'"), HasSubstr("installed")));
}

TEST(Debug, WhatTheDebuggerRunsIsARun) {
  EXPECT_EQ(attest({"run", "--in-process", "--jobs", "1", "-b", "cpu:vec", "--case", kSmall}).code, 0);
}

// ---- explain, bench-accuracy

TEST(Explain, NamesSuspectPlaceAndWhoStandsAloneInAHundredColumns) {
  const Ended run = attest({"explain", "-b", "mutant:sink-dropped",
                            "flash_attn_ext d=64 n_head=2 n_q=5 n_kv=80 kv=f16 sinks=uniform:2 data=normal:2"});
  EXPECT_EQ(run.code, 1) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("\nverdict   FAIL\n"), HasSubstr("\nsuspect   sink: the sink is left out\n"),
                             HasSubstr("goes away without sinks"), HasSubstr("\nalone     mutant:sink-dropped\n"),
                             HasSubstr("seq 0  head 1")));
  std::size_t longest = 0, start = run.out.find('\n') + 1;  // the first line is the case
  for (std::size_t end = start; (end = run.out.find('\n', start)) != std::string::npos; start = end + 1) {
    longest = std::max(longest, end - start);
  }
  EXPECT_LE(longest, 100U);
}

TEST(Explain, NamesTheArithmeticOfAPass) {
  const Ended run = attest({"explain", "-b", "cpu:vec", "flash_attn_ext d=64 n_q=5 n_kv=80"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("\nlike      f32 throughout\n"), HasSubstr("\nalone     nobody\n")));
}

TEST(BenchAccuracy, StandsBesideThePapersNumbersAndIsTheSameForASeed) {
  const Ended run = attest({"bench-accuracy", "--rows", "8", "--seed", "1"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, AllOf(HasSubstr("3.2e-4"), HasSubstr("1.9e-4"), HasSubstr("seed 1")));
  EXPECT_EQ(run.out, attest({"bench-accuracy", "--rows", "8", "--seed", "1"}).out);
}

}  // namespace
}  // namespace attest::testing
