#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports/mock_run_listener.h"
#include "reports/multi.h"
#include "reports/progress.h"
#include "reports/synthetic_run.h"
#include "reports/tally.h"
#include "reports/text.h"

namespace attest {
namespace {

using testing::_;
using testing::HasSubstr;
using testing::InSequence;
using testing::Return;
using testing::StrictMock;

TEST(Tally, LossesAreGroupedWithTheWorstLine) {
  Tally tally;
  VerdictRecord r;
  r.backend = "ggml:CPU";
  r.path = "split";
  for (const auto& [loss, nmse, line] :
       {std::tuple{"accumulator", 0.2, "b"}, {"accumulator", 0.5, "c"}, {"overflow", 0.0, "d"}, {"", 1.0, "e"}}) {
    r.loss = loss;
    r.nmse = nmse;
    r.line = line;
    tally.add(r);
  }
  const auto losses = tally.losses();
  ASSERT_EQ(losses.size(), 2U);
  EXPECT_EQ(losses[0].count, 2);
  EXPECT_EQ(losses[0].worst.line, "c");
  EXPECT_EQ(losses[1].loss, "overflow");
  EXPECT_EQ(tally.bad(), 0);
}

TEST(MultiListener, EveryListenerSeesEveryEventInOrder) {
  StrictMock<MockRunListener> first, second;
  SyntheticRun run = synthetic_run();
  run.records.resize(2);
  {
    const InSequence in_order;
    for (auto* listener : {&first, &second}) EXPECT_CALL(*listener, on_start(run.header));
    for (const auto& record : run.records) {
      for (auto* listener : {&first, &second}) {
        EXPECT_CALL(*listener, on_case_start(std::string_view(record.line), std::string_view(record.case_id),
                                             std::string_view(record.backend)));
      }
      for (auto* listener : {&first, &second}) {
        EXPECT_CALL(*listener, on_verdict(testing::Field(&VerdictRecord::case_id, record.case_id)));
      }
    }
    for (auto* listener : {&first, &second}) EXPECT_CALL(*listener, on_finish(_));
  }
  MultiListener all({&first, &second});
  play(run, all);
}

TEST(MultiListener, ReportsTheFirstFailure) {
  MockRunListener fine, broken;
  EXPECT_CALL(fine, failed()).WillRepeatedly(Return(Expected<void>{}));
  EXPECT_CALL(broken, failed())
      .WillRepeatedly(Return(harness_error("cannot write run.jsonl: No space left on device")));
  EXPECT_TRUE(MultiListener({&fine}).failed());
  const auto failed = MultiListener({&fine, &broken}).failed();
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message, HasSubstr("run.jsonl"));
}

class ProgressTest : public testing::Test {
 protected:
  void run(Sink& sink, int verdicts, double seconds_each) {
    ProgressReporter progress(sink, [this] { return now_; });
    RunHeader header;
    header.verdicts_expected = 100;
    progress.on_start(header);
    for (int i = 0; i < verdicts; ++i) {
      now_ += seconds_each;
      VerdictRecord r;
      r.verdict = i == 0 ? Verdict::FAIL : Verdict::PASS;
      progress.on_verdict(r);
    }
    progress.on_finish({});
  }
  double now_ = 1000;
};

TEST_F(ProgressTest, SaysCountBadRateAndTimeLeftAndErasesItself) {
  StringSink terminal(true);
  run(terminal, 50, 0.125);
  EXPECT_THAT(terminal.text(), HasSubstr("50/100  1 bad  8.0/s  6.25 s left"));
  EXPECT_THAT(terminal.text(), testing::EndsWith("\r\x1b[K"));
  EXPECT_EQ(terminal.text().find('\n'), std::string::npos);
}

TEST_F(ProgressTest, RateIsThatOfTheLastSeconds) {
  StringSink terminal(true);
  ProgressReporter progress(terminal, [this] { return now_; });
  RunHeader header;
  header.verdicts_expected = 1000;
  progress.on_start(header);
  for (int i = 0; i < 100; ++i, now_ += 0.1) progress.on_verdict({});  // 10 per second
  for (int i = 0; i < 20; ++i, now_ += 1.0) progress.on_verdict({});   // 1 per second
  EXPECT_THAT(terminal.text(), HasSubstr("1.0/s"));
}

TEST_F(ProgressTest, SilentInFilesAndInShortRuns) {
  StringSink file(false), terminal(true);
  run(file, 50, 0.1);
  EXPECT_EQ(file.text(), "");
  run(terminal, 19, 0.1);
  EXPECT_EQ(terminal.text(), "");
}

TEST(Tally, NumbersDoNotMakeADifferentCause) {
  EXPECT_EQ(alike("row 5 of 64 like an f16 accumulator"), "row # of # like an f16 accumulator");
  EXPECT_EQ(alike("at 0x7ffd12, 1.5e-07 too much"), "at #, # too much");
  EXPECT_EQ(alike("K=q8_0, exit code 3."), "K=q8_0, exit code #.");
  EXPECT_EQ(alike(""), "");
}

TEST(Tally, WorstOfAGroupIsTheOneWithoutARatioThenTheLargestThenTheShortest) {
  Tally tally;
  VerdictRecord r;
  r.verdict = Verdict::FAIL;
  for (const auto& [line, ratio] :
       std::vector<std::pair<std::string, double>>{{"long line", 3}, {"short", 3}, {"s", 2}}) {
    r.line = line;
    r.err_over_b = ratio;
    tally.add(r);
  }
  ASSERT_EQ(tally.failures().size(), 1U);
  EXPECT_EQ(tally.failures()[0].worst.line, "short");
  r.line = "nan";
  r.err_over_b = std::numeric_limits<double>::quiet_NaN();
  tally.add(r);
  EXPECT_EQ(tally.failures()[0].worst.line, "nan");
  EXPECT_EQ(tally.failures()[0].count, 4);
  EXPECT_EQ(tally.backends()[0].max_err_over_b, 3);
}

TEST(Text, WrapsWordsBehindTheIndent) {
  EXPECT_EQ(wrapped("one two three four", 14, 4), "one two\n    three four");
  EXPECT_EQ(wrapped("", 20, 4), "");
  EXPECT_EQ(wrapped(std::string(25, 'x'), 14, 4), "xxxxxxxxxx\n    xxxxxxxxxx\n    xxxxx");
}

TEST(Text, ShortensInTheMiddle) {
  EXPECT_EQ(shortened("process:/usr/lib/kernel", 15), "proces...kernel");
  EXPECT_EQ(shortened("cpu:vec", 7), "cpu:vec");
}

TEST(Text, DurationsReadLikeDurations) {
  EXPECT_EQ(duration(0.414), "0.41 s");
  EXPECT_EQ(duration(12.34), "12.3 s");
  EXPECT_EQ(duration(245.2), "4 min 05 s");
  EXPECT_EQ(duration(7260), "2 h 01 min");
}

}  // namespace
}  // namespace attest
