#include "reports/history/timeline.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "reports/approval.h"
#include "reports/history/history_text.h"

namespace attest {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kIds[] = {"0000000000000001", "8000000000000002", "0000000000000003"};

struct Seen {
  Verdict verdict;
  double ratio = 0.25;
  const char* digest = "00000000000000aa";
};

// One run of three cases on one backend; a case may be missing.
BriefRun run_of(int number, const std::string& commit, const std::vector<std::optional<Seen>>& seen) {
  RecordFile file;
  file.name = fmt::format("run {}", number);
  RunHeader h;
  h.started_utc = fmt::format("2026-01-{:02}T03:04:05Z", number);
  h.suite = "quick";
  h.commit = commit;
  h.backends = {"cpu:vec", "ggml:CPU"};
  h.build_ids = {"attest", fmt::format("ggml ({})", commit)};
  file.runs.push_back(h);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (!seen[i]) continue;
    VerdictRecord r;
    r.case_id = kIds[i];
    r.line = fmt::format("flash_attn_ext n_kv={}", i + 1);
    r.backend = "ggml:CPU";
    r.path = "tiled";
    r.verdict = seen[i]->verdict;
    r.err_over_b = seen[i]->ratio;
    r.nmse = 1e-9;
    r.digest = seen[i]->digest;
    r.backend_cpu_s = 0.5;
    if (info(r.verdict).bad) r.triage.suspect = "tail";
    file.verdicts.push_back(r);
  }
  return *brief(file);
}

class Told : public testing::Test {
 protected:
  void add(const std::string& commit, const std::vector<std::optional<Seen>>& seen) {
    const int number = static_cast<int>(runs_.size()) + 1;
    runs_.push_back(run_of(number, commit, seen));
    timeline_.add(number, runs_.back());
  }
  const CaseTrack& track(std::size_t i) { return timeline_.cases().at(*hex_number(kIds[i])); }
  std::string overview() {
    return timeline_text(timeline_, "runs.db", 30,
                         [&](std::uint64_t id) { return fmt::format("flash_attn_ext id={:x}", id); });
  }
  std::string of_case(std::size_t i) {
    std::vector<std::optional<StoredVerdict>> points;
    for (const BriefRun& run : runs_) {
      points.emplace_back();
      for (const BriefVerdict& v : run.verdicts) {
        if (v.case_id == *hex_number(kIds[i])) points.back() = {v, run.texts[v.path], run.texts[v.suspect], ""};
      }
    }
    return case_text(timeline_, *hex_number(kIds[i]), "flash_attn_ext n_kv=1", points, 30);
  }

  Timeline timeline_{"ggml:CPU"};
  std::vector<BriefRun> runs_;
};

constexpr Seen kGood{Verdict::PASS}, kBad{Verdict::FAIL, 30, "00000000000000bb"}, kKnown{Verdict::XFAIL, 30},
    kUnsupported{Verdict::UNSUPPORTED};

TEST_F(Told, FirstBadIsTheFirstFailureAfterTheLastGoodRun) {
  add("a", {kBad, kGood});
  add("b", {kGood, kGood});
  add("c", {kUnsupported, kGood});
  add("d", {kBad, kGood});
  add("e", {kKnown, kGood});
  add("f", {kBad, kGood});
  EXPECT_EQ(track(0).last_good, 1) << "a verdict that judges nothing is not good";
  EXPECT_EQ(track(0).first_bad, 3);
  EXPECT_TRUE(track(0).failing);
  EXPECT_EQ(track(1).first_bad, CaseTrack::kNone);
  EXPECT_EQ(track(1).last_good, 5);
  EXPECT_FALSE(track(1).failing);
  EXPECT_THAT(of_case(0), HasSubstr("first bad   run 4, 2026-01-04 03:04, commit d"));
  EXPECT_THAT(of_case(0), HasSubstr("last good   run 2, 2026-01-02 03:04, commit b"));
  EXPECT_THAT(of_case(0), HasSubstr("build       ggml (b) -> ggml (d)"));
}

TEST_F(Told, AVerdictFlipsOnlyWhereTheBuildIsTheSame) {
  add("a", {kGood, kGood});
  add("b", {kBad, kGood});
  add("b", {kGood, kGood});
  add("b", {kGood, {{Verdict::PASS, 0.25, "00000000000000cc"}}});
  EXPECT_EQ(track(0).repeats, 2);
  EXPECT_EQ(track(0).flips, 1);
  EXPECT_EQ(track(0).other_bits, 1);
  EXPECT_EQ(track(1).flips, 0);
  EXPECT_EQ(track(1).other_bits, 1);
  EXPECT_THAT(overview(), HasSubstr("25 %: 1 of 4 repeats on an unchanged build changed the verdict; 2 changed"));
}

TEST_F(Told, ABuildThatNeverRanTwiceHasNoFlakeRate) {
  add("a", {kGood});
  add("b", {kBad});
  EXPECT_THAT(overview(), HasSubstr("flake rate  not known"));
  EXPECT_THAT(of_case(0), HasSubstr("flake rate  not known"));
}

TEST_F(Told, ACaseThatWasNeverJudgedIsNotGood) {
  add("a", {kUnsupported});
  EXPECT_THAT(of_case(0), HasSubstr("never held against the truth"));
  EXPECT_THAT(of_case(0), Not(HasSubstr("last good")));
}

TEST_F(Told, AsApproved) {
  add("0ad4a86", {kGood, kGood, kUnsupported});
  add("0ad4a86", {kGood, {{Verdict::PASS, 0.3, "00000000000000ac"}}, kUnsupported});
  add("4ee1f00d5badc0ffee", {kBad, kGood, kUnsupported});
  add("4ee1f00d5badc0ffee", {{{Verdict::NAN_, NAN, "00000000000000bc"}}, kGood, std::nullopt});
  EXPECT_EQ(unapproved("history.txt", overview()), "");
  EXPECT_EQ(unapproved("history-case.txt", of_case(0)), "");
}

}  // namespace
}  // namespace attest
