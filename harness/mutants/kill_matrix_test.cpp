#include "harness/mutants/kill_matrix.h"

#include <gtest/gtest.h>

#include <limits>

#include "harness/mutants/kill_report.h"

namespace attest {
namespace {

Suspect suspect(const std::string& backend, bool legal = false) {
  Suspect s;
  s.row.backend = backend;
  s.row.suspected_class = "mask";
  s.legal = legal;
  return s;
}

VerdictRecord verdict(const std::string& backend, Verdict v, double nmse = 0, const std::string& id = "case") {
  VerdictRecord record;
  record.backend = backend;
  record.verdict = v;
  record.line = "flash_attn_ext";
  record.case_id = id;
  record.rows_judged = 1;
  record.nmse = nmse;
  return record;
}

// As the runner has it: the verdict, then the question whether its backend leaves.
bool tell(KillMatrix& matrix, const VerdictRecord& record) {
  matrix.on_case_start(record.line, record.case_id, record.backend);
  matrix.on_verdict(record);
  return matrix.leaves(record);
}

TEST(KillMatrix, AMutantLeavesAtItsFirstKillAndALegalVariantNever) {
  KillMatrix matrix({suspect("mutant:a"), suspect("mutant:b"), suspect("legal:c", true)}, {});
  std::int64_t fewer = 0;
  matrix.on_leave = [&](std::int64_t n) { fewer += n; };
  RunHeader header;
  header.cases = 10;
  matrix.on_start(header);
  EXPECT_FALSE(tell(matrix, verdict("mutant:a", Verdict::PASS)));
  EXPECT_TRUE(tell(matrix, verdict("mutant:a", Verdict::STALE)));
  EXPECT_EQ(fewer, 8);
  EXPECT_FALSE(tell(matrix, verdict("mutant:b", Verdict::ORACLE)));
  EXPECT_FALSE(tell(matrix, verdict("legal:c", Verdict::FAIL)));
  const KillScore s = score(matrix.suspects());
  EXPECT_EQ(s.mutants, 2);
  EXPECT_EQ(s.killed, 1) << "a contradiction of the references kills nothing";
  EXPECT_EQ(s.variants, 1);
  EXPECT_EQ(s.false_alarms, 1);
  EXPECT_EQ(matrix.oracle_faults(), 1);
  EXPECT_EQ(matrix.suspects()[0].kill->verdict, Verdict::STALE);
  EXPECT_EQ(matrix.suspects()[0].kill->cases, 2);
}

TEST(KillMatrix, NobodyLeavesAFullMatrix) {
  KillMatrix matrix({suspect("mutant:a")}, {.full = true});
  EXPECT_FALSE(tell(matrix, verdict("mutant:a", Verdict::FAIL)));
  EXPECT_FALSE(tell(matrix, verdict("mutant:a", Verdict::NAN_)));
  EXPECT_EQ(matrix.suspects()[0].cases, 2);
  EXPECT_EQ(matrix.suspects()[0].kill->verdict, Verdict::FAIL);
}

TEST(KillMatrix, WithRulesAMutantStaysUntilEveryRuleRejectsIt) {
  KillMatrix matrix({suspect("mutant:a")}, {.rules = true});
  EXPECT_FALSE(tell(matrix, verdict(kStandardParty, Verdict::PASS)));
  EXPECT_FALSE(tell(matrix, verdict("mutant:a", Verdict::FAIL, 1e-2)));
  EXPECT_TRUE(tell(matrix, verdict("mutant:a", Verdict::NAN_)));
  EXPECT_TRUE(tell(matrix, verdict(kStandardParty, Verdict::PASS))) << "with nobody to be compared with";
}

TEST(ClassicalRules, EachLooksAtItsOwnMeasure) {
  VerdictRecord record = verdict("b", Verdict::PASS);
  EXPECT_EQ(rejected_by(record, 0), (RuleSays{false, false, false, false, false}));
  record.nmse = 6e-4;
  EXPECT_EQ(rejected_by(record, 0), (RuleSays{true, false, false, false, false}));
  record.nmse = 0;
  record.allclose = 5e-3;
  record.max_abs = 3e-7;
  EXPECT_EQ(rejected_by(record, 2e-7), (RuleSays{false, true, false, false, false}));
  EXPECT_EQ(rejected_by(record, 1e-7), (RuleSays{false, true, false, true, false}));
  record.cosine = 0.99;
  EXPECT_EQ(rejected_by(record, 2e-7), (RuleSays{false, true, false, false, true}));
  record.nmse = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(rejected_by(record, 2e-7)[0]) << "NaN passes nothing";
}

TEST(ClassicalRules, SeeWhatAnyoneSeesAndNoGuardPages) {
  const RuleSays all{true, true, true, true, true}, none{};
  EXPECT_EQ(rejected_by(verdict("b", Verdict::NAN_), 0), all);
  EXPECT_EQ(rejected_by(verdict("b", Verdict::CRASH), 0), all);
  VerdictRecord outside = verdict("b", Verdict::OOB);
  outside.rows_judged = 0;
  EXPECT_EQ(rejected_by(outside, 0), none);
}

TEST(KillReport, NamesSurvivorsAndFalseAlarms) {
  KillReport report;
  report.main.suite = "quick";
  report.main.cases = 7;
  report.main.suspects = {suspect("mutant:seen"), suspect("mutant:missed"), suspect("legal:fine", true),
                          suspect("legal:flagged", true)};
  report.main.suspects[0].kill = Kill{};
  report.main.suspects[3].kill = Kill{Verdict::FAIL, "the <line>", "why", "", 3, 0.1};
  report.main.suspects[3].counts[Verdict::FAIL] = 1;
  const std::string console = kill_console(report, false);
  EXPECT_NE(console.find("SURVIVED: mutant:missed"), std::string::npos) << console;
  EXPECT_NE(console.find("FALSE ALARM: legal:flagged"), std::string::npos) << console;
  EXPECT_EQ(console.find("mutant:seen "), std::string::npos) << console;
  EXPECT_EQ(console.find("legal:fine"), std::string::npos) << console;
  EXPECT_NE(console.find("mutation score 50 %"), std::string::npos) << console;
  EXPECT_NE(kill_html(report).find("the &lt;line&gt;"), std::string::npos);
  EXPECT_NE(kill_markdown(report).find("| mask | 2 | 1 |"), std::string::npos) << kill_markdown(report);
}

}  // namespace
}  // namespace attest
