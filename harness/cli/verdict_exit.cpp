#include "harness/cli/verdict_exit.h"

#include <fmt/format.h>

#include "harness/cli/verbs.h"

namespace attest::cli {

int verdict_exit(const RunSummary& summary, const RunHeader& header, bool otherwise_bad) {
  if (summary.interrupted) {
    if (header.backends.empty()) fmt::print(stderr, "attest: interrupted before the first case\n");
    return kInterrupted;
  }
  const bool part = header.shard_count > 1;
  const bool cut_short = summary.ruled < summary.selected;
  bool bad = false;
  for (const auto& [backend, counts] : summary.counts) {
    for (const auto& [verdict, count] : counts) bad |= count > 0 && info(verdict).bad;
  }
  if (bad || otherwise_bad) return kBad;
  if (cut_short) {
    fmt::print(stderr, "attest: error: {} of {} verdicts are missing: the run is not complete\n",
               summary.selected - summary.ruled, summary.selected);
    return kHarness;
  }
  if (part && header.cases == 0) {
    fmt::print(stderr, "attest: shard {}/{} of this selection is empty: nothing was to be done\n", header.shard_index,
               header.shard_count);
    return kOk;
  }
  if (header.backends.empty()) {
    fmt::print(stderr, "attest: error: 0 cases: nothing was compared\n");
    return kHarness;
  }
  for (const auto& backend : header.backends) {
    const auto counts = summary.counts.find(backend);
    std::int64_t all = 0, not_taken = 0, range = 0;
    if (counts != summary.counts.end()) {
      for (const auto& [verdict, count] : counts->second) {
        all += count;
        if (verdict == Verdict::UNSUPPORTED || verdict == Verdict::QUARANTINED) not_taken += count;
        if (verdict == Verdict::RANGE) range += count;
      }
    }
    if (all != not_taken + range) continue;
    const std::string but = range > 0 ? fmt::format(" but {} RANGE", range) : "";
    if (part) {
      fmt::print(stderr, "attest: note: backend '{}' took none of the {} cases of shard {}/{}{}\n", backend, all,
                 header.shard_index, header.shard_count, but);
    } else {
      fmt::print(stderr, "attest: error: backend '{}' took none of the {} cases{}: nothing was compared\n", backend,
                 all, but);
      return kHarness;
    }
  }
  return kOk;
}

}  // namespace attest::cli
