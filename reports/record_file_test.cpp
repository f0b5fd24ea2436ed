#include "reports/record_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports/jsonl.h"
#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;

std::string file_of(const SyntheticRun& run) {
  auto owned = std::make_unique<StringSink>();
  const StringSink& sink = *owned;
  JsonlReporter jsonl(std::move(owned));
  play(run, jsonl);
  return sink.text();
}

std::string error_of(std::string_view text) {
  const auto file = parse_record_file(text, "r.jsonl");
  return file ? "" : file.error().text();
}

TEST(RecordFile, GivesBackWhatWasWritten) {
  const SyntheticRun run = synthetic_run();
  const auto file = parse_record_file(file_of(run), "r.jsonl");
  ASSERT_TRUE(file) << file.error().text();
  ASSERT_EQ(file->runs.size(), 1U);
  EXPECT_EQ(file->runs[0], run.header);
  ASSERT_EQ(file->verdicts.size(), run.records.size());
  for (std::size_t i = 0; i < run.records.size(); ++i) EXPECT_EQ(to_json(file->verdicts[i]), to_json(run.records[i]));
}

TEST(RecordFile, CutAnywhereItHoldsTheWholeLinesBeforeTheCut) {
  const std::string text = file_of(synthetic_run());
  std::size_t whole = 0, line = 0;
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string_view rest = std::string_view(text).substr(line, cut - line);
    const bool complete = (cut == text.size() || text[cut] == '\n') && rest.starts_with("{\"verdict\"");
    if (cut % 101 == 0 || complete) {
      const auto file = parse_record_file(std::string_view(text).substr(0, cut), "r.jsonl");
      ASSERT_TRUE(file) << cut << ": " << file.error().text();
      ASSERT_EQ(file->verdicts.size(), whole + (complete ? 1 : 0)) << cut;
    }
    if (cut < text.size() && text[cut] == '\n') {
      whole += complete ? 1 : 0;
      line = cut + 1;
    }
  }
}

TEST(RecordFile, ACutLineIsForgivenBeforeAResumedRunAndNowhereElse) {
  const std::string run = to_json(synthetic_run().header) + "\n", verdict = to_json(synthetic_run().records[0]) + "\n";
  const std::string cut = "{\"verdict\":\"PA\n";
  EXPECT_EQ(error_of(run + verdict + cut + run + verdict), "");
  EXPECT_THAT(error_of(run + cut + verdict), HasSubstr("r.jsonl:2: record: not JSON"));
  EXPECT_THAT(error_of(run + "garbage\n" + verdict), HasSubstr("r.jsonl:2: record: not a JSON object"));
}

TEST(RecordFile, AWholeLineThatIsWrongIsAnErrorWhereverItStands) {
  const std::string run = to_json(synthetic_run().header) + "\n";
  EXPECT_THAT(error_of(run + "{\"verdict\":\"PASSED\",\"case_id\":\"1\",\"line\":\"\",\"backend\":\"\"}\n"),
              HasSubstr("r.jsonl:2: 'PASSED' is not a verdict"));
  EXPECT_THAT(error_of("{\"run\":{\"schema\":99,\"version\":\"9\"}}\n"), HasSubstr("schema 99 is newer"));
  EXPECT_THAT(error_of(to_json(synthetic_run().records[0]) + "\n"), HasSubstr("before the first 'run'"));
  EXPECT_EQ(error_of(run + "{\"future\":1}\n"), "");
}

TEST(RecordFile, AFileThatIsNotThereIsNamed) {
  const auto file = read_record_file("/nowhere/r.jsonl");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind, ErrorKind::input);
  EXPECT_THAT(file.error().text(), HasSubstr("/nowhere/r.jsonl: cannot be read: No such file"));
}

}  // namespace
}  // namespace attest
