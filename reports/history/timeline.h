// What became of a backend's cases from run to run: last good, first bad, trend of the error, verdicts that flip.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "reports/history/brief_run.h"

namespace attest {

// Wrong, whether a ledger knows of it or not.
bool fails(Verdict verdict);

// One case in the order of the runs. Verdicts that judge nothing (UNSUPPORTED, BLIND, RANGE ...) change nothing.
struct CaseTrack {
  static constexpr std::int32_t kNone = -1;
  std::int32_t last_good = kNone;  // run
  std::int32_t first_bad = kNone;  // run; of the failures since last_good
  std::int32_t first = kNone, last = kNone;
  std::int32_t build = kNone;           // of the last run: build id and commit
  std::int64_t repeats = 0, flips = 0;  // runs of the build of the run before, and those of them that flipped
  std::int64_t other_bits = 0;          // of the repeats
  double first_ratio = 0, last_ratio = 0;
  std::uint64_t digest = 0;
  BriefVerdict latest;
  bool failing = false;

  void add(std::int32_t run, std::int32_t build, const BriefVerdict& verdict);
};

// A run of one backend in numbers.
struct RunPoint {
  std::int64_t run = 0;  // as `attest history` counts
  std::string started, commit, suite, build;
  std::uint64_t seed = 0;
  bool complete = true;
  std::int64_t verdicts = 0, bad = 0, unjudged = 0;
  double worst_ratio = 0, cpu_s = 0;
};

// A backend over its runs, oldest first.
class Timeline {
 public:
  explicit Timeline(std::string backend) : backend_(std::move(backend)) {}

  // Runs without this backend are left out.
  void add(std::int64_t id, const BriefRun& run);

  const std::string& backend() const { return backend_; }
  const std::vector<RunPoint>& runs() const { return runs_; }
  const std::unordered_map<std::uint64_t, CaseTrack>& cases() const { return cases_; }
  const std::vector<std::string>& suspects() const { return suspects_; }  // of a track's latest.suspect

 private:
  std::string backend_;
  std::vector<RunPoint> runs_;
  std::vector<std::string> builds_, suspects_{""};
  std::unordered_map<std::uint64_t, CaseTrack> cases_;
};

}  // namespace attest
