#include "reports/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "reports/approval.h"
#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string console_text(const SyntheticRun& run, ConsoleOptions options = {}) {
  StringSink sink;
  ConsoleReporter console(sink, options);
  play(run, console);
  EXPECT_TRUE(console.failed());
  return sink.text();
}

TEST(Console, WritesTheApprovedText) {
  const std::string plain = unapproved("console.txt", console_text(synthetic_run()));
  EXPECT_TRUE(plain.empty()) << plain;
  ConsoleOptions color;
  color.color = true;
  const std::string colored = unapproved("console-color.txt", console_text(synthetic_run(), color));
  EXPECT_TRUE(colored.empty()) << colored;
}

TEST(Console, TextIsTheSameInWhateverOrderTheVerdictsCome) {
  SyntheticRun run = synthetic_run();
  const std::string text = console_text(run);
  std::reverse(run.records.begin(), run.records.end());
  EXPECT_EQ(console_text(run), text);
}

TEST(Console, OnlyReproLinesAreWiderThanTheScreen) {
  SyntheticRun run = synthetic_run();
  for (auto& record : run.records) {
    if (!record.detail.empty()) record.detail += " and " + std::string(300, 'x') + " so on, and so on, and so on";
    record.build_id = std::string(200, 'b');
    if (record.backend == "ggml:CPU") record.backend = "process:/a/very/long/path/to/" + std::string(80, 'k');
  }
  run.header.backends[1] = run.records[1].backend;
  for (const std::size_t width : {100U, 80U}) {
    ConsoleOptions options;
    options.width = width;
    std::istringstream lines(console_text(run, options));
    for (std::string line; std::getline(lines, line);) {
      if (line.find("attest run ") != std::string::npos) continue;
      EXPECT_LE(line.size(), width) << line;
    }
  }
}

TEST(Console, MissingVerdictsAreLoud) {
  SyntheticRun run = synthetic_run();
  run.records.pop_back();
  const auto total = std::to_string(run.summary.selected), seen = std::to_string(run.records.size());
  EXPECT_THAT(console_text(run),
              HasSubstr("x 2 backends = " + total + " verdicts, but " + total + " ruled and " + seen));
  run = synthetic_run();
  --run.summary.ruled;
  EXPECT_THAT(console_text(run), HasSubstr("NOT ACCOUNTED FOR"));
  EXPECT_THAT(console_text(synthetic_run()), HasSubstr("= " + total + " verdicts, all accounted for"));
}

TEST(Console, InterruptedRunSaysHowFarItCame) {
  SyntheticRun run = synthetic_run();
  run.records.resize(10);
  run.summary.ruled = 10;
  run.summary.interrupted = true;
  const std::string text = console_text(run);
  EXPECT_THAT(text, HasSubstr("interrupted: 10 of " + std::to_string(run.header.cases) + " cases x 2 backends"));
  EXPECT_THAT(text, Not(HasSubstr("NOT ACCOUNTED FOR")));
}

TEST(Console, AThousandFailuresAlikeAreOneGroupWithTheWorstExample) {
  SyntheticRun run = synthetic_run();
  const VerdictRecord example = run.records[2 * static_cast<std::size_t>(Verdict::FAIL) + 1];
  ASSERT_EQ(example.verdict, Verdict::FAIL);
  run.records.clear();
  for (int i = 0; i < 1000; ++i) {
    VerdictRecord r = example;
    r.line += " n=" + std::to_string(i);
    r.err_over_b = i == 617 ? 99 : 2;
    r.detail = "head " + std::to_string(i) + " is off by " + std::to_string(i) + ".25e-3 budgets";
    run.records.push_back(r);
  }
  const std::string text = console_text(run);
  EXPECT_THAT(text, HasSubstr("1000 cases"));
  EXPECT_THAT(text, HasSubstr("head 617 is off"));
  std::size_t repros = 0;
  for (std::size_t at = text.find("  repro"); at != std::string::npos; at = text.find("  repro", at + 1)) ++repros;
  EXPECT_EQ(repros, 1U);
}

TEST(Console, ReproLineSurvivesTheShell) {
  SyntheticRun run = synthetic_run();
  run.records.resize(1);
  VerdictRecord& r = run.records[0];
  r.verdict = Verdict::FAIL;
  r.backend = "process:./it's $HOME `id`";
  r.line = "flash_attn_ext d=64 \"x\" 'y' \\ !";
  const std::string text = console_text(run);
  const std::size_t at = text.find("attest run -b ");
  ASSERT_NE(at, std::string::npos);
  std::string command = text.substr(at, text.find('\n', at) - at);
  command = "set -- " + command.substr(std::string_view("attest run").size()) + "; printf '%s\\n' \"$@\"";
  FILE* shell = popen(command.c_str(), "r");
  ASSERT_NE(shell, nullptr);
  std::string said;
  for (int c = fgetc(shell); c != EOF; c = fgetc(shell)) said += static_cast<char>(c);
  EXPECT_EQ(pclose(shell), 0);
  EXPECT_EQ(said, "-b\n" + r.backend + "\n--case\n" + r.line + "\n");
}

TEST(Console, ControlCharactersOfABackendDoNotReachTheTerminal) {
  SyntheticRun run = synthetic_run();
  for (auto& r : run.records) r.detail = "\x1b[2J\nboom\a";
  const std::string text = console_text(run);
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\a")));
  EXPECT_THAT(text, HasSubstr("boom"));
}

TEST(Console, ClosedOutputIsReportedThroughFailed) {
  auto full = open_file_sink("/dev/full", FileMode::append);
  ASSERT_TRUE(full);
  ConsoleReporter console(**full);
  play(synthetic_run(), console);
  ASSERT_FALSE(console.failed());
  EXPECT_THAT(console.failed().error().message, HasSubstr("/dev/full"));
}

TEST(Color, IsForTerminalsThatWantIt) {
  const StringSink terminal(true), file(false);
  unsetenv("NO_COLOR");
  setenv("TERM", "xterm", 1);
  EXPECT_TRUE(wants_color(terminal));
  EXPECT_FALSE(wants_color(file));
  setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(wants_color(terminal));
  setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(wants_color(terminal)) << "an empty NO_COLOR is no wish";
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(wants_color(terminal));
}

}  // namespace
}  // namespace attest
