// What has changed between two runs: failures, errors that grew, other bits, times, and what is no longer looked at.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reports/history/brief_run.h"

namespace attest {

enum class Change : std::uint8_t {
#define ATTEST_CHANGE(name, word, regression, meaning) name,
#include "reports/history/changes.def"
#undef ATTEST_CHANGE
};
inline constexpr std::size_t kChangeCount = 0
#define ATTEST_CHANGE(name, word, regression, meaning) +1
#include "reports/history/changes.def"
#undef ATTEST_CHANGE
    ;
struct ChangeInfo {
  Change change;
  std::string_view word, meaning;
  bool regression;
};
const std::vector<ChangeInfo>& all_changes();
// "new-failure,bits", "all" or "none": regressions. The error names the nearest word.
Expected<std::vector<Change>> parse_changes(std::string_view list);

struct CompareOptions {
  std::vector<std::pair<std::string, std::string>> backends;  // name in A, name in B; empty: those of equal names
  double grown = 2;                                           // factor of the error
  double slower = 0.10;                                       // part of the time
};

// Below these a larger error is noise: five roundings in f32 as root mean square, a hundredth of the budget.
inline constexpr double kNoiseNmse = 1e-13, kNoiseRatio = 0.01;
inline constexpr double kNoiseSeconds = 0.01;

// One case on both sides; nullptr where it is not there.
struct Pair {
  const BriefVerdict *a = nullptr, *b = nullptr;
};

// CPU time of the cases that both sides have, by backend and path of B.
struct PathTime {
  std::string backend, path;
  std::int64_t cases = 0;
  double a_s = 0, b_s = 0;
  bool slower = false;
};

// Its pairs point into the two runs.
struct Comparison {
  std::vector<std::string> warnings;  // why the two may not be comparable, worst first
  std::array<std::vector<Pair>, kChangeCount> changes;
  std::vector<std::pair<std::string, std::string>> backends;  // compared
  std::vector<PathTime> times;
  std::int64_t common = 0, only_a = 0, only_b = 0;
  std::int64_t bits_known = 0, bits_unknown = 0;  // of the common ones: both sides have a digest, or are right without

  const std::vector<Pair>& of(Change change) const { return changes[static_cast<std::size_t>(change)]; }
  // Whether there is one of the kind: for `slower` a path as a whole counts, too.
  bool has(Change change) const;
};

// The backends that `word` names, X=Y or one that both have. Backends' own options have '=' too: a name that both have
// is meant whole; otherwise the first '=' counts that has a backend of A before it and one of B behind it.
Expected<std::pair<std::string, std::string>> backend_pair(const BriefRun& a, const BriefRun& b,
                                                           const std::string& word);

// Cases are the same where their ids are. Input errors: the two have no backend or no case in common. Whatever else
// differs (suite, seed, options, machine, version) is a warning.
Expected<Comparison> compare_runs(const BriefRun& a, const BriefRun& b, const CompareOptions& options);

// The cases that both have, of a backend in A and its fellow in B ("": none).
std::vector<Pair> common_pairs(const BriefRun& a, const BriefRun& b,
                               const std::pair<std::string, std::string>& backend);

// Whether both were held against the truth, and b in fewer rows.
bool judged_in_fewer_rows(const BriefVerdict& a, const BriefVerdict& b);

// How much larger the error of b is, by err/B or by root mean square, whichever grew more; 0 where neither is above the
// noise. A bound of err/B is only held against another bound.
double growth(const BriefVerdict& a, const BriefVerdict& b);

}  // namespace attest
