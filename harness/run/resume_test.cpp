#include "harness/run/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "harness/merge.h"
#include "harness/mock_backend.h"
#include "harness/run/runner.h"
#include "reports/jsonl.h"

namespace attest {
namespace {

using ::testing::_;
using ::testing::HasSubstr;
using ::testing::Invoke;
using ::testing::NiceMock;
using ::testing::Return;

constexpr int kCases = 24;

RunPlan plan_of(int cases = kCases, Shard shard = {}) {
  RunPlan plan;
  for (int n = 1; n <= cases; ++n) plan.cases.push_back(*parse_case("flash_attn_ext d=16 n_kv=" + std::to_string(n)));
  plan.backends = {"right", "wrong"};
  plan.shard = shard;
  return plan;
}

// "right" passes everything, "wrong" is off in every case with an even n_kv.
std::unique_ptr<Subject> make(const std::string& backend, const std::string& build) {
  return make_in_process_subject([=]() -> Expected<std::unique_ptr<Backend>> {
    auto mock = std::make_unique<NiceMock<MockBackend>>();
    ON_CALL(*mock, name()).WillByDefault(Return(backend));
    ON_CALL(*mock, build_id()).WillByDefault(Return(build));
    ON_CALL(*mock, supports(_)).WillByDefault(Return(Support{}));
    ON_CALL(*mock, run(_, _)).WillByDefault(Invoke([=](const AttentionInputs& in, const MutableTensorView& out) {
      write_truth(in, out);
      if (backend == "wrong" && in.problem->n_kv % 2 == 0) *reinterpret_cast<float*>(out.data) += 1;
      return Outcome{};
    }));
    return std::unique_ptr<Backend>(std::move(mock));
  });
}

RunHeader opening() {
  RunHeader header;
  header.version = "1";
  return header;
}

struct Played {
  std::string text;  // what the record got
  std::vector<VerdictRecord> earlier, fresh;
  std::vector<std::string> started;
  Expected<RunSummary> summary = RunSummary{};
};

Played play(const RunPlan& plan, const RecordFile* earlier = nullptr, RunHeader header = opening(),
            Ledger* ledger = nullptr, const std::string& build = "1") {
  auto owned = std::make_unique<StringSink>();
  const StringSink& sink = *owned;
  class Both : public JsonlReporter {
   public:
    Both(std::unique_ptr<Sink> s, Played& p) : JsonlReporter(std::move(s)), played(p) {}
    void on_case_start(std::string_view line, std::string_view id, std::string_view backend) override {
      JsonlReporter::on_case_start(line, id, backend);
      played.started.push_back(pair_key(std::string(id), std::string(backend)));
    }
    void on_earlier_verdict(const VerdictRecord& r) override { played.earlier.push_back(r); }
    void on_verdict(const VerdictRecord& r) override {
      JsonlReporter::on_verdict(r);
      played.fresh.push_back(r);
    }
    Played& played;
  };
  Played played;
  Both listener(std::move(owned), played);
  RunOptions options;
  options.jobs = 2;
  options.earlier = earlier;
  options.ledger = ledger;
  played.summary = run(
      plan, options, [&](const auto& b, const auto&) { return make(b, build); }, header, listener);
  played.text = sink.text();
  return played;
}

// The verdict lines of a record without their times, sorted.
std::multiset<std::string> verdicts(const RecordFile& file) {
  std::multiset<std::string> out;
  for (VerdictRecord r : file.verdicts) {
    r.backend_cpu_s = r.backend_wall_s = r.judge_s = 0;
    out.insert(to_json(r));
  }
  return out;
}

RecordFile parsed(const std::string& text) { return *parse_record_file(text, "r.jsonl"); }

TEST(Resume, FromAnyByteTheUnionIsThatOfAnUndisturbedRunAndNothingRunsTwice) {
  const Played whole = play(plan_of());
  const auto expected = verdicts(parsed(whole.text));
  ASSERT_EQ(expected.size(), 2U * kCases);
  for (int i = 0; i <= 20; ++i) {
    std::string text = whole.text.substr(0, whole.text.size() * static_cast<std::size_t>(i) / 20);
    const RecordFile earlier = parsed(text);
    const Played rest = play(plan_of(), &earlier);
    ASSERT_TRUE(rest.summary) << rest.summary.error().text();
    if (!text.empty() && text.back() != '\n') text += '\n';  // as FileMode::append does
    const RecordFile joined = parsed(text + rest.text);
    EXPECT_EQ(verdicts(joined), expected) << "cut after " << i << "/20";
    EXPECT_EQ(rest.earlier.size(), earlier.verdicts.size());
    EXPECT_EQ(rest.fresh.size() + earlier.verdicts.size(), 2U * kCases);
    EXPECT_EQ(rest.summary->ruled, rest.summary->selected);
    EXPECT_EQ(rest.summary->counts, whole.summary->counts);
    EXPECT_EQ(rest.summary->max_err_over_b, whole.summary->max_err_over_b);
    for (const VerdictRecord& r : earlier.verdicts) {
      EXPECT_THAT(rest.started, testing::Not(testing::Contains(pair_key(r.case_id, r.backend))));
    }
  }
}

TEST(Resume, EveryCaseIsNamedWithItsIdBeforeItRuns) {
  const Played played = play(plan_of(3));
  std::set<std::string> started;
  for (std::size_t at = 0; at < played.text.size();) {
    const std::size_t end = played.text.find('\n', at);
    const std::string line = played.text.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("{\"started\":\"flash_attn_ext ")) started.insert(line.substr(line.find("\"case_id\"")));
    if (!line.starts_with("{\"verdict\"")) continue;
    const VerdictRecord r = *record_from_json(line);
    EXPECT_TRUE(started.contains("\"case_id\":\"" + r.case_id + "\",\"backend\":\"" + r.backend + "\"}")) << line;
  }
  EXPECT_EQ(started.size(), 6U);
}

TEST(Resume, SaysWhatMakesItAnotherRun) {
  const RecordFile earlier = parsed(play(plan_of()).text);
  const auto refusal = [&](const RunPlan& plan, const RunHeader& header, const std::string& build = "1") {
    const Played played = play(plan, &earlier, header, nullptr, build);
    EXPECT_EQ(played.text, "") << "nothing may be reported";
    return played.summary ? "" : played.summary.error().text();
  };
  RunHeader header = opening();
  header.seed = 7;
  EXPECT_THAT(refusal(plan_of(), header), HasSubstr("r.jsonl: is the record of another run: seed is '7', was '0'"));
  header = opening();
  header.suite = "ggml";
  EXPECT_THAT(refusal(plan_of(), header), HasSubstr("suite is 'ggml', was ''"));
  header = opening();
  header.options = "rows=8";
  EXPECT_THAT(refusal(plan_of(), header), HasSubstr("options is 'rows=8', was ''"));
  header = opening();
  header.version = "2";
  EXPECT_THAT(refusal(plan_of(), header), HasSubstr("version is '2', was '1'"));
  EXPECT_THAT(refusal(plan_of(kCases + 1), opening()), HasSubstr("the cases are others"));
  EXPECT_THAT(refusal(plan_of(kCases, {1, 2}), opening()), HasSubstr("shard is 1/2, was 0/1"));
  EXPECT_THAT(refusal(plan_of(), opening(), "2"), HasSubstr("the build of right is '2', was '1'"));
  RunPlan one = plan_of();
  one.backends = {"right"};
  EXPECT_THAT(refusal(one, opening()), HasSubstr("backends is 'right', was 'right, wrong'"));
}

TEST(Resume, VerdictsThatAreNotOfThisRunAreRefused) {
  RecordFile earlier = parsed(play(plan_of()).text);
  earlier.verdicts.push_back(earlier.verdicts.front());
  EXPECT_THAT(play(plan_of(), &earlier).summary.error().text(), HasSubstr("is there twice"));
  earlier.verdicts.back().case_id = "0123456789abcdef";
  EXPECT_THAT(play(plan_of(), &earlier).summary.error().text(), HasSubstr("is none of this run's"));
}

TEST(Resume, TheLedgerCountsWhatItForgaveInTheEarlierPart) {
  const char* toml = R"([[entry]]
backend = "wrong"
match = "d=16"
verdict = "FAIL"
mode = "tolerated"
sometimes = true
reason = "even lengths"
link = "https://example.org/1"
repro = "flash_attn_ext d=16 n_kv=2"
)";
  const auto ledger = Ledger::parse(toml, "l.toml");
  ASSERT_TRUE(ledger) << ledger.error().text();
  Ledger first = *ledger, second = *ledger;
  const Played whole = play(plan_of(), nullptr, opening(), &first);
  EXPECT_EQ(whole.summary->counts.at("wrong").at(Verdict::XFAIL), kCases / 2);
  const RecordFile earlier = parsed(whole.text);
  const Played rest = play(plan_of(), &earlier, opening(), &second);
  EXPECT_TRUE(rest.fresh.empty());
  EXPECT_EQ(rest.summary->counts, whole.summary->counts);
  EXPECT_TRUE(second.finish().unused.empty());
  EXPECT_TRUE(second.finish().never_failed.empty());
}

TEST(Resume, ABackendAskedForTwiceIsRefused) {
  RunPlan plan = plan_of();
  plan.backends = {"right", "right"};
  const Played played = play(plan);
  ASSERT_FALSE(played.summary);
  EXPECT_EQ(played.summary.error().kind, ErrorKind::input);
  EXPECT_THAT(played.summary.error().text(), HasSubstr("backend right is asked for twice"));
}

class Merge : public testing::Test {
 protected:
  RecordFile shard(int index, int count, const RunHeader& header = opening()) {
    return *parse_record_file(play(plan_of(kCases, {index, count}), nullptr, header).text,
                              "s" + std::to_string(index) + ".jsonl");
  }
  std::string refusal(std::vector<RecordFile> files) {
    const auto merged = merge(std::move(files));
    return merged ? "" : merged.error().text();
  }
};

TEST_F(Merge, ShardsInAnyOrderEqualTheUnshardedRun) {
  const auto whole = merge({parsed(play(plan_of()).text)});
  ASSERT_TRUE(whole) << whole.error().text();
  const auto joined = merge({shard(2, 3), shard(0, 3), shard(1, 3)});
  ASSERT_TRUE(joined) << joined.error().text();
  EXPECT_EQ(joined->header, whole->header);
  EXPECT_EQ(joined->summary.counts, whole->summary.counts);
  EXPECT_EQ(joined->summary.ruled, 2 * kCases);
  ASSERT_EQ(joined->verdicts.size(), whole->verdicts.size());
  for (std::size_t i = 0; i < joined->verdicts.size(); ++i) {
    VerdictRecord a = joined->verdicts[i], b = whole->verdicts[i];
    a.backend_cpu_s = a.backend_wall_s = a.judge_s = b.backend_cpu_s = b.backend_wall_s = b.judge_s = 0;
    EXPECT_EQ(to_json(a), to_json(b));
    if (i > 0) {
      EXPECT_LT(pair_key(joined->verdicts[i - 1].case_id, joined->verdicts[i - 1].backend),
                pair_key(a.case_id, a.backend));
    }
  }
}

TEST_F(Merge, NamesTheShardsThatAreMissing) {
  EXPECT_THAT(refusal({shard(1, 4)}), HasSubstr("3 of 4 shards missing: 0/4, 2/4, 3/4"));
}

TEST_F(Merge, RefusesWhatDoesNotBelongTogether) {
  EXPECT_THAT(refusal({shard(0, 2), shard(0, 2)}), HasSubstr("s0.jsonl: is shard 0/2, and so is s0.jsonl"));
  EXPECT_THAT(refusal({shard(0, 2), shard(1, 3)}), HasSubstr("s1.jsonl: is shard 1/3, but s0.jsonl is shard 0/2"));
  RunHeader other = opening();
  other.seed = 7;
  EXPECT_THAT(refusal({shard(0, 2), shard(1, 2, other)}),
              HasSubstr("s1.jsonl: does not belong to s0.jsonl: seed is '7', was '0'"));
  RecordFile empty;
  empty.name = "e.jsonl";
  EXPECT_THAT(refusal({shard(0, 2), empty}), HasSubstr("e.jsonl: is empty"));
  EXPECT_THAT(refusal({}), HasSubstr("nothing to merge"));
}

TEST_F(Merge, RefusesAShardThatIsNotFinishedOrWasTamperedWith) {
  RecordFile cut = shard(1, 2);
  cut.verdicts.pop_back();
  EXPECT_THAT(refusal({shard(0, 2), cut}), HasSubstr("s1.jsonl: is not finished: 23 of 24 verdicts are there"));
  RecordFile twice = shard(1, 2);
  twice.verdicts.back() = twice.verdicts.front();
  EXPECT_THAT(refusal({shard(0, 2), twice}), HasSubstr("s1.jsonl: has two verdicts on 'flash_attn_ext d=16"));
  RecordFile foreign = shard(1, 2);
  for (VerdictRecord& r : foreign.verdicts) r.case_id[0] = r.case_id[0] == 'f' ? '0' : 'f';
  EXPECT_THAT(refusal({shard(0, 2), foreign}), HasSubstr("not those of the selection"));
}

}  // namespace
}  // namespace attest
