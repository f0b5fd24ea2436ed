// Which deliberate bug was seen by which verdict, on which line, after what time: a listener of a run over mutants.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "backends/mutant/mutant_backend.h"
#include "harness/mutants/classical_rules.h"
#include "reports/reporter.h"

namespace attest {

struct Kill {
  Verdict verdict = Verdict::FAIL;
  std::string line, detail, suspect;  // suspect: the class triage names, where it looked
  std::int64_t cases = 0;             // ruled on this mutant up to and including this one
  double seconds = 0;                 // spent on this mutant alone: its calls, their judgement, a part of the keys
};

// A mutant, or a legal variant, and what became of it.
struct Suspect {
  MutantRow row;
  bool legal = false;
  std::optional<Kill> kill;  // first bad verdict; for a legal variant a false alarm
  std::int64_t cases = 0;
  std::map<Verdict, std::int64_t> counts;
  std::array<std::int64_t, kClassicalRules> rejected{};  // cases each rule rejects
};

struct KillOptions {
  bool full = false;   // no mutant leaves
  bool rules = false;  // a mutant leaves when every rule has rejected it too; needs kStandardParty among the backends
};

// Standard attention in f32: scores, softmax and PV materialised.
inline constexpr const char* kStandardParty = "eigen:f32";

class KillMatrix : public RunListener {
 public:
  KillMatrix(std::vector<Suspect> suspects, KillOptions options);

  // For RunOptions::leaves. Verdicts that say something about attest itself (ORACLE) kill nothing.
  bool leaves(const VerdictRecord& record);
  // Called with the number of verdicts that a mutant that leaves will not have.
  std::function<void(std::int64_t)> on_leave;

  void on_start(const RunHeader& header) override;
  void on_case_start(std::string_view line, std::string_view case_id, std::string_view backend) override;
  void on_verdict(const VerdictRecord& record) override;
  void on_finish(const RunSummary& summary) override { summary_ = summary; }

  const std::vector<Suspect>& suspects() const { return suspects_; }
  const RunSummary& summary() const { return summary_; }
  std::int64_t cases() const { return cases_; }
  std::int64_t oracle_faults() const { return oracle_faults_; }

 private:
  // What a slot is working on: verdicts follow the starts of a batch.
  struct Watch {
    double since = 0;
    std::int64_t pending = 0;
  };
  double lap(const std::string& backend);

  std::vector<Suspect> suspects_;
  KillOptions options_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::pair<std::thread::id, std::string>, Watch> watches_;
  std::map<std::string, double> seconds_;
  std::map<std::string, double> standard_;  // case id -> error of kStandardParty
  std::int64_t cases_ = 0, oracle_faults_ = 0;
  std::size_t open_ = 0;  // suspects that have not left
  RunSummary summary_;
};

// Killed mutants over all mutants; false alarms; the median time to the first kill.
struct KillScore {
  std::int64_t mutants = 0, killed = 0, variants = 0, false_alarms = 0;
  double median_seconds = 0, slowest_seconds = 0;
  std::string slowest;
};
KillScore score(const std::vector<Suspect>& suspects);

}  // namespace attest
