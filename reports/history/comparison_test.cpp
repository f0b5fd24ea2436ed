#include "reports/history/comparison.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "reports/approval.h"
#include "reports/history/comparison_text.h"

namespace attest {
namespace {

using testing::Contains;
using testing::HasSubstr;

// Two runs of the same ten cases that pass on two backends: what a test changes is all that differs.
class Compared : public testing::Test {
 protected:
  void SetUp() override {
    a_ = run("old.jsonl", "0ad4a86");
    b_ = run("new.jsonl", "4ee1f00");
  }
  static RecordFile run(const std::string& name, const std::string& commit) {
    RecordFile file;
    file.name = name;
    RunHeader h;
    h.version = "0.1.0";
    h.suite = "quick";
    h.host = "bench";
    h.started_utc = "2026-01-02T03:04:05Z";
    h.commit = commit;
    h.backends = {"cpu:vec", "ggml:CPU"};
    h.build_ids = {"attest 0.1.0", fmt::format("ggml ({})", commit)};
    h.verdicts_expected = 20;
    file.runs.push_back(h);
    for (std::uint64_t i = 0; i < 20; ++i) {
      VerdictRecord r;
      r.case_id = fmt::format("{:016x}", (i / 2 + 1) * std::uint64_t{0x9e3779b97f4a7c15});
      r.line = fmt::format("flash_attn_ext n_kv={}", i / 2);
      r.backend = h.backends[i % 2];
      r.path = i < 10 ? "vec" : "tiled";
      r.err_over_b = 0.1;
      r.nmse = 1e-10;
      r.backend_cpu_s = 1;
      r.digest = fmt::format("{:016x}", i + 1);
      file.verdicts.push_back(r);
    }
    return file;
  }
  VerdictRecord& was(std::size_t i) { return a_.verdicts[i]; }
  VerdictRecord& is(std::size_t i) { return b_.verdicts[i]; }
  Expected<Comparison> result(const CompareOptions& options = {}) {
    left_ = *brief(a_);
    right_ = *brief(b_);
    return compare_runs(left_, right_, options);
  }
  // What changed, by word; a path that is slower as a whole is "slower path".
  std::map<std::string, std::size_t> found(const CompareOptions& options = {}) {
    std::map<std::string, std::size_t> counts;
    const auto comparison = result(options);
    if (!comparison) return {{comparison.error().text(), 1}};
    for (const ChangeInfo& c : all_changes()) {
      if (!comparison->of(c.change).empty()) counts[std::string(c.word)] = comparison->of(c.change).size();
    }
    for (const PathTime& t : comparison->times) counts["slower path"] += t.slower ? 1 : 0;
    std::erase_if(counts, [](const auto& c) { return c.second == 0; });
    return counts;
  }
  using Counts = std::map<std::string, std::size_t>;

  RecordFile a_, b_;
  BriefRun left_, right_;
};

TEST_F(Compared, EqualRunsDifferInNothing) {
  EXPECT_EQ(found(), Counts{});
  EXPECT_EQ(result()->common, 20);
  EXPECT_THAT(result()->warnings, testing::IsEmpty());
}

TEST_F(Compared, ANewFailureIsFound) {
  is(3).verdict = Verdict::FAIL;
  EXPECT_EQ(found(), (Counts{{"new-failure", 1}}));
  was(3).verdict = Verdict::UNSUPPORTED;
  EXPECT_EQ(found(), (Counts{{"new-failure", 1}})) << "bad where nothing was compared before";
  was(3).verdict = Verdict::XPASS;
  EXPECT_EQ(found(), (Counts{{"new-failure", 1}})) << "an XPASS was right";
  a_.verdicts.erase(a_.verdicts.begin() + 3);
  EXPECT_EQ(found(), (Counts{{"new-failure", 1}})) << "bad and not there before";
}

TEST_F(Compared, AFailureThatStaysIsNone) {
  was(3).verdict = is(3).verdict = Verdict::FAIL;
  EXPECT_EQ(found(), Counts{});
  is(3).verdict = Verdict::CRASH;
  EXPECT_EQ(found(), (Counts{{"other-failure", 1}}));
  was(3).verdict = Verdict::XFAIL;
  EXPECT_EQ(found(), (Counts{{"other-failure", 1}})) << "the ledger no longer excuses it";
}

TEST_F(Compared, WhatIsRightAgainIsFixed) {
  was(3).verdict = Verdict::FAIL;
  EXPECT_EQ(found(), (Counts{{"fixed", 1}}));
  was(3).verdict = Verdict::XFAIL;
  is(3).verdict = Verdict::XPASS;
  EXPECT_EQ(found(), (Counts{{"fixed", 1}}));
}

TEST_F(Compared, AFailureThatTheLedgerExcusesIsSaid) {
  is(3).verdict = Verdict::XFAIL;
  EXPECT_EQ(found(), (Counts{{"excused", 1}}));
  was(3).verdict = Verdict::XFAIL;
  EXPECT_EQ(found(), Counts{});
}

TEST_F(Compared, AnErrorThatGrewThreefoldIsFoundThoughItPasses) {
  is(3).err_over_b = 0.3;
  EXPECT_EQ(found(), (Counts{{"error", 1}}));
  CompareOptions four;
  four.grown = 4;
  EXPECT_EQ(found(four), Counts{});
  is(3).err_over_b = 0.19;
  EXPECT_EQ(found(), Counts{});
  is(3).nmse = 9.1e-10;  // three times the root mean square
  EXPECT_EQ(found(), (Counts{{"error", 1}}));
  was(3).nmse = 0;
  was(3).err_over_b = 0;
  EXPECT_EQ(found(), (Counts{{"error", 1}})) << "from nothing to something";
}

TEST_F(Compared, AnErrorInTheNoiseOrUnderABoundDoesNotCountAsGrown) {
  was(3).err_over_b = 1e-5;
  is(3).err_over_b = 9e-3;
  was(3).nmse = 1e-18;
  is(3).nmse = 9e-14;
  EXPECT_EQ(found(), Counts{});
  was(4).err_over_b = 0.1;
  is(4).err_over_b = 0.4;
  is(4).err_over_b_is_bound = true;
  EXPECT_EQ(found(), Counts{}) << "at most 0.4 may be 0.1";
  was(4).err_over_b_is_bound = true;
  EXPECT_EQ(found(), (Counts{{"error", 1}})) << "two bounds of one kind";
  is(4).err_over_b_is_bound = false;
  EXPECT_EQ(found(), (Counts{{"error", 1}})) << "at most 0.1, now 0.4";
}

TEST_F(Compared, OtherBitsAreFound) {
  is(3).digest = "00000000000000ff";
  EXPECT_EQ(found(), (Counts{{"bits", 1}}));
  is(3).digest = "";
  EXPECT_EQ(found(), Counts{});
  EXPECT_THAT(result()->warnings, Contains(HasSubstr("bits are not known of 1 cases")));
}

TEST_F(Compared, LostCoverageIsFound) {
  is(3).verdict = Verdict::UNSUPPORTED;
  is(4).verdict = Verdict::BLIND;
  b_.verdicts.pop_back();
  b_.runs[0].verdicts_expected = 19;
  EXPECT_EQ(found(), (Counts{{"coverage", 3}}));
  was(3).verdict = Verdict::UNSUPPORTED;
  EXPECT_EQ(found(), (Counts{{"coverage", 2}}));
}

TEST_F(Compared, FewerRowsAreLostCoverage) {
  for (std::size_t i : {3U, 4U, 5U, 6U, 7U}) was(i).rows_judged = 512;
  for (std::size_t i : {3U, 4U, 5U, 6U}) is(i).rows_judged = 1;
  is(7).rows_judged = 512;
  is(4).verdict = Verdict::FAIL;
  is(5).verdict = Verdict::CRASH;
  was(6).verdict = Verdict::FAIL;
  EXPECT_EQ(found(), (Counts{{"coverage", 2}, {"new-failure", 2}, {"fixed", 1}}));
  is(3).rows_judged = 1024;
  EXPECT_EQ(found(), (Counts{{"coverage", 1}, {"new-failure", 2}, {"fixed", 1}}));
  const auto comparison = result();
  EXPECT_THAT(comparison_text(*comparison, left_, right_),
              testing::AllOf(HasSubstr("PASS in fewer rows, was FAIL"), HasSubstr("1 row judged, was 512")));
}

TEST_F(Compared, ABackendThatIsGoneIsLostCoverageAndAWarning) {
  std::erase_if(b_.verdicts, [](const VerdictRecord& r) { return r.backend == "cpu:vec"; });
  b_.runs[0].backends = {"ggml:CPU"};
  b_.runs[0].build_ids = {"ggml (4ee1f00)"};
  b_.runs[0].verdicts_expected = 10;
  EXPECT_EQ(found(), (Counts{{"coverage", 10}}));
  EXPECT_THAT(result()->warnings, Contains(HasSubstr("backends of A alone, all their coverage is lost: cpu:vec")));
}

TEST_F(Compared, TimesCountByCaseAndByPath) {
  is(3).backend_cpu_s = 1.2;
  EXPECT_EQ(found(), (Counts{{"slower", 1}}));
  for (std::size_t i = 1; i < 10; i += 2) is(i).backend_cpu_s = 1.2;
  EXPECT_EQ(found(), (Counts{{"slower", 5}, {"slower path", 1}}));
  CompareOptions half;
  half.slower = 0.5;
  EXPECT_EQ(found(half), Counts{});
  for (std::size_t i = 0; i < 20; ++i) {
    was(i).backend_cpu_s = 1e-4;
    is(i).backend_cpu_s = 9e-4;
  }
  EXPECT_EQ(found(), Counts{}) << "under the noise";
}

TEST_F(Compared, SeedsSuitesMachinesAndUnfinishedRunsAreSaid) {
  RunHeader& h = b_.runs[0];
  h.seed = 7;
  h.suite = "standard";
  h.host = "other";
  h.options = "rows=8";
  h.version = "0.2.0";
  h.verdicts_expected = 400;
  const auto warnings = result()->warnings;
  for (const char* word :
       {"seeds differ: '0' and '7'", "suites differ: 'quick' and 'standard'", "machines differ",
        "options of the runs differ", "versions of attest differ", "B is not finished: 20 of 400 verdicts"}) {
    EXPECT_THAT(warnings, Contains(HasSubstr(word)));
  }
}

TEST_F(Compared, NothingInCommonIsAnErrorThatSaysWhy) {
  for (VerdictRecord& r : b_.verdicts) r.case_id[0] = '0' + static_cast<char>(r.case_id[0] == '0');
  b_.runs[0].seed = 7;
  const auto none = result();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, ErrorKind::input);
  EXPECT_THAT(none.error().text(), testing::AllOf(HasSubstr("no case is in both"), HasSubstr("seeds differ")));
}

TEST_F(Compared, BackendsOfOtherNamesAreComparedOnlyWhereOneSaysSo) {
  for (VerdictRecord& r : b_.verdicts) r.backend += "2";
  b_.runs[0].backends = {"cpu:vec2", "ggml:CPU2"};
  const auto none = result();
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().text(), testing::AllOf(HasSubstr("no backend is in both"), HasSubstr("-b X=Y")));
  is(3).verdict = Verdict::NAN_;
  CompareOptions mapped;
  mapped.backends = {{"ggml:CPU", "ggml:CPU2"}};
  EXPECT_EQ(found(mapped), (Counts{{"new-failure", 1}}));
  EXPECT_EQ(result(mapped)->common, 10);
  mapped.backends = {{"ggml:CPU", "ggml:Vulkan0"}};
  EXPECT_THAT(result(mapped).error().text(), HasSubstr("new.jsonl has no backend 'ggml:Vulkan0'"));
}

TEST_F(Compared, BackendsWithEqualsSignsOfTheirOwnAreNamed) {
  const auto named = [&](std::vector<std::string> in_a, std::vector<std::string> in_b, const std::string& word) {
    BriefRun a, b;
    a.name = "A";
    b.name = "B";
    a.header.backends = std::move(in_a);
    b.header.backends = std::move(in_b);
    const auto pair = backend_pair(a, b, word);
    return pair ? pair->first + " | " + pair->second : pair.error().text();
  };
  const std::string random = "metal:sim,order=random:7", haswell = "ggml:CPU,variant=haswell",
                    icelake = "ggml:CPU,variant=icelake";
  EXPECT_EQ(named({random}, {random}, random), random + " | " + random);
  EXPECT_EQ(named({haswell}, {icelake}, haswell + "=" + icelake), haswell + " | " + icelake);
  EXPECT_EQ(named({haswell}, {haswell}, haswell + "=" + haswell), haswell + " | " + haswell);
  EXPECT_EQ(named({"cpu:vec"}, {random}, "cpu:vec=" + random), "cpu:vec | " + random);
  EXPECT_EQ(named({"cpu:vec"}, {"cpu:vec"}, "cpu:vec"), "cpu:vec | cpu:vec");
  EXPECT_THAT(named({"cpu:vec", random}, {"cpu:tiled"}, random),
              testing::AllOf(HasSubstr("-b 'metal:sim,order=random:7' is no backend of both"),
                             HasSubstr("A has cpu:vec, metal:sim,order=random:7; B has cpu:tiled")));
}

TEST_F(Compared, AsApproved) {
  is(1).verdict = is(3).verdict = Verdict::FAIL;
  is(1).err_over_b = 12;
  is(3).err_over_b = 40;
  is(1).triage.suspect = is(3).triage.suspect = "tail";
  is(5).verdict = Verdict::NAN_;
  is(5).err_over_b = NAN;
  was(7).verdict = Verdict::FAIL;
  is(7).verdict = Verdict::CRASH;
  is(9).verdict = Verdict::UNSUPPORTED;
  is(9).detail = "ggml: the mask must be f16";
  is(11).verdict = Verdict::XFAIL;
  is(11).detail = "known since Tuesday";
  is(13).err_over_b = 0.35;
  is(13).digest = is(15).digest = "00000000000000ff";
  was(17).verdict = Verdict::FAIL;
  is(2).backend_cpu_s = 3;
  b_.verdicts.pop_back();
  b_.runs[0].host = "laptop";
  const auto comparison = result();
  ASSERT_TRUE(comparison) << comparison.error().text();
  EXPECT_EQ(unapproved("compare.txt", comparison_text(*comparison, left_, right_)), "");
}

TEST(Changes, AreNamedOrTheNearestWordIs) {
  EXPECT_EQ(parse_changes("bits,error")->size(), 2U);
  EXPECT_EQ(parse_changes("none")->size(), 0U);
  EXPECT_EQ(parse_changes("all")->size(), 7U) << "fixed is no regression";
  EXPECT_THAT(parse_changes("bit").error().text(), HasSubstr("did you mean 'bits'?"));
  EXPECT_FALSE(parse_changes("fixed"));
  EXPECT_FALSE(parse_changes(""));
  EXPECT_FALSE(parse_changes("bits,"));
}

}  // namespace
}  // namespace attest
