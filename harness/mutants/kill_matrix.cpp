#include "harness/mutants/kill_matrix.h"

#include <algorithm>

#include "reports/progress.h"

namespace attest {

namespace {

bool kills(Verdict v) { return info(v).bad && v != Verdict::ORACLE; }

}  // namespace

KillMatrix::KillMatrix(std::vector<Suspect> suspects, KillOptions options)
    : suspects_(std::move(suspects)), options_(options), open_(suspects_.size()) {
  for (std::size_t i = 0; i < suspects_.size(); ++i) index_.emplace(suspects_[i].row.backend, i);
}

void KillMatrix::on_start(const RunHeader& header) { cases_ = header.cases; }

void KillMatrix::on_case_start(std::string_view, std::string_view, std::string_view backend) {
  Watch& watch = watches_[{std::this_thread::get_id(), std::string(backend)}];
  if (watch.pending++ == 0) watch.since = steady_seconds();
}

double KillMatrix::lap(const std::string& backend) {
  Watch& watch = watches_[{std::this_thread::get_id(), backend}];
  const double now = steady_seconds();
  double& total = seconds_[backend];
  if (watch.pending > 0) {
    total += now - watch.since;
    watch.since = now;
    --watch.pending;
  }
  return total;
}

void KillMatrix::on_verdict(const VerdictRecord& record) {
  const double seconds = lap(record.backend);
  if (record.verdict == Verdict::ORACLE) ++oracle_faults_;
  if (record.backend == kStandardParty) standard_[record.case_id] = record.max_abs;
  const auto at = index_.find(record.backend);
  if (at == index_.end()) return;
  Suspect& suspect = suspects_[at->second];
  ++suspect.cases;
  ++suspect.counts[record.verdict];
  if (!suspect.kill && kills(record.verdict)) {
    suspect.kill = {record.verdict, record.line, record.detail, record.triage.suspect, suspect.cases, seconds};
  }
  if (!options_.rules) return;
  const auto standard = standard_.find(record.case_id);
  const RuleSays says = rejected_by(record, standard == standard_.end() ? 0 : standard->second);
  for (std::size_t r = 0; r < kClassicalRules; ++r) suspect.rejected[r] += says[r] ? 1 : 0;
}

bool KillMatrix::leaves(const VerdictRecord& record) {
  if (options_.full) return false;
  if (record.backend == kStandardParty) return open_ == 0;
  const auto at = index_.find(record.backend);
  if (at == index_.end()) return false;
  const Suspect& suspect = suspects_[at->second];
  if (suspect.legal || !suspect.kill) return false;
  const bool rules_too = std::all_of(suspect.rejected.begin(), suspect.rejected.end(), [](auto n) { return n > 0; });
  if (options_.rules && !rules_too) return false;
  --open_;
  if (on_leave) on_leave(cases_ - suspect.cases);
  return true;
}

KillScore score(const std::vector<Suspect>& suspects) {
  KillScore score;
  std::vector<double> seconds;
  for (const Suspect& s : suspects) {
    if (s.legal) {
      ++score.variants;
      for (const auto& [verdict, count] : s.counts) score.false_alarms += kills(verdict) ? count : 0;
      continue;
    }
    ++score.mutants;
    if (!s.kill) continue;
    ++score.killed;
    seconds.push_back(s.kill->seconds);
    if (s.kill->seconds >= score.slowest_seconds) {
      score.slowest_seconds = s.kill->seconds;
      score.slowest = s.row.backend;
    }
  }
  if (!seconds.empty()) {
    std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
    score.median_seconds = seconds[seconds.size() / 2];
  }
  return score;
}

}  // namespace attest
