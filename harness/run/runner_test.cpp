#include "harness/run/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "harness/mock_backend.h"
#include "oracles/error_budget.h"
#include "reports/mock_run_listener.h"

namespace attest {
namespace {

using ::testing::_;
using ::testing::AllOf;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::InSequence;
using ::testing::Invoke;
using ::testing::NiceMock;
using ::testing::Return;

Case the_case(const std::string& line) { return *parse_case(line); }

RunPlan plan_of(std::vector<std::string> lines) {
  RunPlan plan;
  for (const auto& line : lines) plan.cases.push_back(the_case(line));
  plan.backends = {"mock"};
  plan.suite = "test";
  return plan;
}

RunOptions one_job() {
  RunOptions options;
  options.jobs = 1;
  return options;
}

using Kernel = std::function<Outcome(const AttentionInputs&, const MutableTensorView&)>;

// A runner over one mocked backend that runs `kernel`.
SubjectMaker backend_with(Kernel kernel, const ArithmeticContract& contract = {}) {
  return [kernel, contract](const std::string&, const std::vector<int>&) {
    return make_in_process_subject([kernel, contract]() -> Expected<std::unique_ptr<Backend>> {
      auto backend = std::make_unique<NiceMock<MockBackend>>();
      ON_CALL(*backend, name()).WillByDefault(Return("mock"));
      ON_CALL(*backend, build_id()).WillByDefault(Return("mock 1"));
      ON_CALL(*backend, supports(_)).WillByDefault(Invoke([](const AttentionProblem& p) {
        return p.softcap > 0 ? Support::no("no softcap here") : Support{};
      }));
      ON_CALL(*backend, contract(_)).WillByDefault(Return(contract));
      ON_CALL(*backend, run(_, _)).WillByDefault(Invoke(kernel));
      return std::unique_ptr<Backend>(std::move(backend));
    });
  };
}

auto verdict_is(Verdict v) { return Field(&VerdictRecord::verdict, v); }

TEST(Runner, TellsTheListenerEveryEventInOrder) {
  NiceMock<MockRunListener> listener;
  {
    InSequence order;
    EXPECT_CALL(listener, on_start(AllOf(Field(&RunHeader::cases, 1), Field(&RunHeader::verdicts_expected, 1))));
    EXPECT_CALL(listener, on_case_start(HasSubstr("n_kv=9"), _, "mock"));
    EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::PASS), Field(&VerdictRecord::build_id, "mock 1"))));
    EXPECT_CALL(listener, on_finish(_));
  }
  const auto summary = run(plan_of({"flash_attn_ext n_kv=9"}), one_job(), backend_with(write_truth), {}, listener);
  ASSERT_TRUE(summary) << summary.error().text();
  EXPECT_EQ(summary->selected, 1);
  EXPECT_EQ(summary->ruled, 1);
}

TEST(Runner, APassThatCouldNotHaveBeenAnythingElseIsBlind) {
  const char* line = "flash_attn_ext n_head=4 n_head_kv=2 n_kv=9 data=v_const";
  {
    NiceMock<MockRunListener> listener;
    EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::BLIND),
                                           Field(&VerdictRecord::blind_to, ::testing::ElementsAre("gqa")),
                                           Field(&VerdictRecord::detail, HasSubstr("gqa")))));
    ASSERT_TRUE(run(plan_of({line}), one_job(), backend_with(write_truth), {}, listener));
  }
  {
    NiceMock<MockRunListener> listener;
    EXPECT_CALL(listener, on_verdict(verdict_is(Verdict::PASS)));
    RunOptions options = one_job();
    options.blindness = false;
    ASSERT_TRUE(run(plan_of({line}), options, backend_with(write_truth), {}, listener));
  }
  NiceMock<MockRunListener> listener;  // only a PASS is ever blind
  EXPECT_CALL(listener, on_verdict(verdict_is(Verdict::FAIL)));
  const auto wrong = [](const AttentionInputs& in, const MutableTensorView& out) {
    const Outcome outcome = write_truth(in, out);
    reinterpret_cast<float*>(out.row(0, 0, 0))[0] += 1;
    return outcome;
  };
  ASSERT_TRUE(run(plan_of({line}), one_job(), backend_with(wrong), {}, listener));
}

TEST(Runner, AWrongAnswerOfAnOpWithAJudgeOfItsOwnIsNotAskedForItsCausalAlignment) {
  const auto wrong = [](const AttentionInputs&, const MutableTensorView& out) {
    std::fill_n(reinterpret_cast<float*>(out.data), out.view().elements(), 5.0F);
    return Outcome{};
  };
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(verdict_is(Verdict::FAIL)));
  ASSERT_TRUE(run(plan_of({"soft_max_ext n_head=2 n_q=3 mask=causal"}), one_job(), backend_with(wrong), {}, listener));
}

TEST(Runner, ABackendThatLeavesIsRuledOnNoFurtherCaseAndCheapOnesComeFirst) {
  std::vector<std::string> lines;
  for (int n = 1; n <= 60; ++n) lines.push_back("flash_attn_ext n_kv=" + std::to_string(n));
  RunOptions options = one_job();
  options.cheapest_first = true;
  options.leaves = [](const VerdictRecord& r) { return r.line.find("n_kv=3 ") != std::string::npos; };
  std::vector<std::string> seen;
  NiceMock<MockRunListener> listener;
  ON_CALL(listener, on_verdict(_)).WillByDefault(Invoke([&](const VerdictRecord& r) { seen.push_back(r.line); }));
  const auto summary = run(plan_of(lines), options, backend_with(write_truth), {}, listener);
  ASSERT_TRUE(summary) << summary.error().text();
  EXPECT_EQ(summary->ruled, 3);
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_THAT(seen[0], HasSubstr("n_kv=1"));
  EXPECT_THAT(seen[2], HasSubstr("n_kv=3"));
}

TEST(Runner, LongestCasesFirstAndEveryCaseRuledOnce) {
  std::vector<std::string> lines;
  for (int n = 1; n <= 60; ++n) lines.push_back("flash_attn_ext n_kv=" + std::to_string(n));
  std::vector<std::string> seen;
  NiceMock<MockRunListener> listener;
  ON_CALL(listener, on_verdict(_)).WillByDefault(Invoke([&](const VerdictRecord& r) { seen.push_back(r.line); }));
  const auto summary = run(plan_of(lines), one_job(), backend_with(write_truth), {}, listener);
  ASSERT_TRUE(summary);
  ASSERT_EQ(seen.size(), 60U);
  EXPECT_THAT(seen.front(), HasSubstr("n_kv=60"));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
}

TEST(Runner, UnsupportedCarriesTheBackendsReason) {
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener,
              on_verdict(AllOf(verdict_is(Verdict::UNSUPPORTED), Field(&VerdictRecord::detail, "no softcap here"))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext softcap=30"}), one_job(), backend_with(write_truth), {}, listener));
}

// Memory for it can be reserved: whoever fills it is killed.
TEST(Runner, ACaseLargerThanTheMachinesMemoryIsOutOfMemoryAndTheOthersRun) {
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::OOM),
                                         Field(&VerdictRecord::detail, AllOf(HasSubstr("the tensors need 32768."),
                                                                             HasSubstr("this machine has "))))));
  EXPECT_CALL(listener, on_verdict(verdict_is(Verdict::PASS)));
  const auto summary = run(plan_of({"flash_attn_ext d=64 n_head=32 n_q=2147483647 n_kv=96", "flash_attn_ext n_kv=9"}),
                           one_job(), backend_with(write_truth), {}, listener);
  ASSERT_TRUE(summary) << summary.error().text();
  EXPECT_EQ(summary->ruled, 2);
}

TEST(Runner, ABackendThatReportsAnErrorIsError) {
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::ERROR), Field(&VerdictRecord::detail, "device lost"))));
  const Kernel lost = [](const AttentionInputs&, const MutableTensorView&) {
    return Outcome{false, "device lost", 0, 0};
  };
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), one_job(), backend_with(lost), {}, listener));
}

// Adds 0 * V over all keys, hidden ones too: harmless until a hidden byte is NaN.
Outcome leaks(const AttentionInputs& in, const MutableTensorView& out) {
  write_truth(in, out);
  float leak = 0;
  for (std::int64_t j = 0; j < in.v.ne[1]; ++j) leak += 0.0F * element(in.v, 0, j, 0, 0);
  for (std::int64_t e = 0; e < out.ne[0]; ++e) reinterpret_cast<float*>(out.data)[e] += leak;
  return {};
}

TEST(Runner, HiddenNanIsNotForABackendThatStatesFiniteHiddenBytes) {
  ArithmeticContract contract;
  contract.needs_finite_hidden = true;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::UNSUPPORTED), Field(&VerdictRecord::underlying, "NAN"))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext n_kv=64 mask=used:40 poison=hidden:nan"}), one_job(),
                  backend_with(leaks, contract), {}, listener));
}

TEST(Runner, HiddenNanThatReachesTheOutputIsStaleNotFail) {
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::STALE), Field(&VerdictRecord::underlying, "NAN"))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext n_kv=64 mask=used:40 poison=hidden:nan"}), one_job(), backend_with(leaks),
                  {}, listener));
}

// Moves one element to between the 8 sigma and the 13.9 sigma budget.
Kernel just_above_suspect(int* runs, int from) {
  return [runs, from](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    if (++*runs > from) return Outcome{};
    const EmulatedInputs plain(in, QRounding::none);
    const RowBudget budget = ErrorBudget(plain, ArithmeticContract{}, true).row({0, 0, 0});
    auto* o = reinterpret_cast<float*>(out.data);
    for (std::size_t e = 0; e < budget.fail.size(); ++e) {
      if (!(budget.fail[e] > 1.2 * budget.suspect[e])) continue;
      o[e] = static_cast<float>(budget.reference[e] + 0.5 * (budget.suspect[e] + budget.fail[e]));
      return Outcome{};
    }
    return Outcome{false, "no element between the two budgets", 0, 0};
  };
}

TEST(Runner, SuspectOnceIsPassWithANote) {
  int runs = 0;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::PASS), Field(&VerdictRecord::suspect, true),
                                         Field(&VerdictRecord::suspect_reruns, 3))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext n_kv=300 kv=f32"}), one_job(), backend_with(just_above_suspect(&runs, 1)),
                  {}, listener));
  EXPECT_EQ(runs, 4);
}

TEST(Runner, SuspectAgainOnTwoFreshSeedsIsFail) {
  int runs = 0;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::FAIL), Field(&VerdictRecord::suspect, true))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext n_kv=300 kv=f32"}), one_job(), backend_with(just_above_suspect(&runs, 99)),
                  {}, listener));
}

// The right answer, but for the last element of every `period`-th run.
Kernel wobbles(int* runs, int period) {
  return [runs, period](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    auto* last = reinterpret_cast<float*>(out.row(out.ne[1] - 1, out.ne[2] - 1, 0)) + out.ne[0] - 1;
    if (++*runs % period == 0) *last = std::nextafter(*last, 10.0F);
    return Outcome{true, "", 0.5, 0.25};
  };
}

TEST(Runner, RepeatedRunsThatDifferInOneBitAreNondeterministic) {
  int runs = 0;
  RunOptions options = one_job();
  options.repeat = 5;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener,
              on_verdict(AllOf(verdict_is(Verdict::NONDETERMINISTIC), Field(&VerdictRecord::underlying, "PASS"),
                               Field(&VerdictRecord::detail,
                                     AllOf(HasSubstr("run 3 of 5 differs from run 1"),
                                           HasSubstr("seq 0, head 1, query 2, column 15"), HasSubstr(", then "))))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext d=16 n_head=2 n_q=3 n_kv=9"}), options, backend_with(wobbles(&runs, 3)), {},
                  listener));
  EXPECT_EQ(runs, 3);
}

TEST(Runner, RepeatRunsEachCaseSoOftenAndEqualBitsPass) {
  int runs = 0;
  RunOptions options = one_job();
  options.repeat = 4;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::PASS), Field(&VerdictRecord::backend_cpu_s, 2.0))))
      .Times(3);
  ASSERT_TRUE(run(plan_of({"flash_attn_ext n_kv=1", "flash_attn_ext n_kv=2", "flash_attn_ext n_kv=3"}), options,
                  backend_with(wobbles(&runs, 99)), {}, listener));
  EXPECT_EQ(runs, 12);
}

TEST(Runner, AnErrorInALaterRunIsFlakyAndNamesTheRun) {
  int runs = 0;
  RunOptions options = one_job();
  options.repeat = 3;
  const Kernel tires = [&runs](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    return ++runs < 3 ? Outcome{} : Outcome{false, "device lost", 0, 0};
  };
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::FLAKY), Field(&VerdictRecord::underlying, "ERROR"),
                                         Field(&VerdictRecord::detail, "run 1 of 3: PASS; run 3: device lost"))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), options, backend_with(tires), {}, listener));
}

TEST(Runner, BytesWrittenNextToTheOutputInALaterRunAreSeen) {
  int runs = 0;
  RunOptions options = one_job();
  options.repeat = 3;
  int first = 2;  // the run in which it begins
  const Kernel spills = [&](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    if (++runs >= first) out.data[-1] = std::byte{1};
    return Outcome{};
  };
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::FLAKY), Field(&VerdictRecord::underlying, "OOB"),
                                         Field(&VerdictRecord::detail,
                                               "run 1 of 3: PASS; run 2: bytes next to the output were written"))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), options, backend_with(spills), {}, listener));
  first = runs = 0;
  EXPECT_CALL(listener, on_verdict(verdict_is(Verdict::OOB)));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), options, backend_with(spills), {}, listener));
  EXPECT_EQ(runs, 3);
}

// What is wrong stays known behind what is written on top of it: a ledger entry for that alone would hide it.
TEST(Runner, AWrongAnswerIsNotForgottenWhereItsBitsDifferFromRunToRun) {
  int runs = 0;
  RunOptions options = one_job();
  options.repeat = 2;
  const Kernel wrong = [&runs](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    *reinterpret_cast<float*>(out.data) += static_cast<float>(++runs);
    return Outcome{};
  };
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::NONDETERMINISTIC),
                                         Field(&VerdictRecord::also, ::testing::ElementsAre("FAIL")))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), options, backend_with(wrong), {}, listener));
}

TEST(Runner, AWrongAnswerIsNotForgottenWhereBytesBesideItAreWritten) {
  const Kernel wrong = [](const AttentionInputs& in, const MutableTensorView& out) {
    write_truth(in, out);
    *reinterpret_cast<float*>(out.data) += 1;
    out.data[-1] = std::byte{1};
    return Outcome{};
  };
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener,
              on_verdict(AllOf(verdict_is(Verdict::OOB), Field(&VerdictRecord::also, ::testing::ElementsAre("FAIL")))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), one_job(), backend_with(wrong), {}, listener));
}

// A subject whose answers are scripted; it never touches memory.
struct Script {
  std::vector<SubjectAnswer> answers;
  std::size_t next = 0;
  int starts = 0, posts = 0;
};

SubjectAnswer fault_of(Verdict verdict, std::string detail) {
  SubjectAnswer answer;
  answer.kind = SubjectAnswer::Kind::fault;
  answer.fault = {verdict, std::move(detail)};
  return answer;
}

SubjectAnswer unsupported() {
  SubjectAnswer answer;
  answer.kind = SubjectAnswer::Kind::unsupported;
  answer.text = "scripted";
  return answer;
}

SubjectMaker scripted(Script& script) {
  return [&script](const std::string&, const std::vector<int>&) -> std::unique_ptr<Subject> {
    auto subject = std::make_unique<NiceMock<MockSubject>>();
    ON_CALL(*subject, start()).WillByDefault(Invoke([&script]() -> Expected<SubjectInfo> {
      ++script.starts;
      return SubjectInfo{"mock", "mock 1", ""};
    }));
    ON_CALL(*subject, post(_, _, _, _)).WillByDefault(Invoke([&script](auto&&...) { ++script.posts; }));
    ON_CALL(*subject, next(_)).WillByDefault(Invoke([&script](double) { return script.answers.at(script.next++); }));
    return subject;
  };
}

TEST(Runner, ACrashIsTriedOnceMoreAloneAndTheRunGoesOn) {
  Script script{
      {unsupported(), fault_of(Verdict::CRASH, "signal 11"), fault_of(Verdict::CRASH, "signal 11"), unsupported()}};
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(verdict_is(Verdict::UNSUPPORTED))).Times(2);
  EXPECT_CALL(listener,
              on_verdict(AllOf(verdict_is(Verdict::CRASH), Field(&VerdictRecord::detail, HasSubstr("signal 11")))));
  RunPlan plan = plan_of({"flash_attn_ext n_kv=3", "flash_attn_ext n_kv=2", "flash_attn_ext n_kv=1"});
  const auto summary = run(plan, one_job(), scripted(script), {}, listener);
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->ruled, 3);
  EXPECT_EQ(script.starts, 3);  // at first, for the case alone, and for what follows
}

TEST(Runner, AFaultThatDoesNotComeBackIsFlaky) {
  Script script{{fault_of(Verdict::HANG, "no answer within 10 s"), unsupported()}};
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::FLAKY), Field(&VerdictRecord::underlying, "HANG"),
                                         Field(&VerdictRecord::detail, HasSubstr("then, alone: UNSUPPORTED")))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), one_job(), scripted(script), {}, listener));
}

TEST(Runner, AWrongAnswerIsNotForgottenWhereTheFirstRunCrashed) {
  SubjectAnswer done;
  Script script{{fault_of(Verdict::CRASH, "signal 11"), done}};
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(AllOf(verdict_is(Verdict::FLAKY), Field(&VerdictRecord::underlying, "CRASH"),
                                         Field(&VerdictRecord::also, ::testing::ElementsAre("UNWRITTEN")))));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), one_job(), scripted(script), {}, listener));
}

TEST(Runner, AReportThatCannotBeWrittenStopsTheRunAsAHarnessError) {
  NiceMock<MockRunListener> listener;
  ON_CALL(listener, failed()).WillByDefault(Return(harness_error("out.jsonl: No space left on device")));
  const auto summary = run(plan_of({"flash_attn_ext n_kv=1", "flash_attn_ext n_kv=2"}), one_job(),
                           backend_with(write_truth), {}, listener);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().kind, ErrorKind::harness);
}

TEST(Runner, AnInterruptStopsBetweenCasesAndStillFinishes) {
  std::atomic<bool> interrupted{true};
  RunOptions options = one_job();
  options.interrupted = &interrupted;
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_verdict(_)).Times(0);
  EXPECT_CALL(listener, on_finish(Field(&RunSummary::interrupted, true)));
  ASSERT_TRUE(run(plan_of({"flash_attn_ext"}), options, backend_with(write_truth), {}, listener));
}

TEST(Runner, ABackendThatDoesNotStartIsSaidBeforeAnyCase) {
  const SubjectMaker broken = [](const std::string&, const std::vector<int>&) {
    return make_in_process_subject(
        []() -> Expected<std::unique_ptr<Backend>> { return harness_error("libggml-base.so: no such file"); });
  };
  NiceMock<MockRunListener> listener;
  EXPECT_CALL(listener, on_start(_)).Times(0);
  EXPECT_FALSE(run(plan_of({"flash_attn_ext"}), one_job(), broken, {}, listener));
}

}  // namespace
}  // namespace attest
