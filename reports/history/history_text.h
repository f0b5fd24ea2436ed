// A backend's history as text for a terminal: its runs, what is bad and since when, or one case through all runs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "reports/history/history.h"
#include "reports/history/timeline.h"

namespace attest {

inline constexpr std::size_t kHistoryWidth = 100;  // columns; only repro lines may be longer

// Every run, whatever the backends.
std::string runs_text(const std::vector<StoredRun>& runs, const std::string& file);

// The last `most` runs as a table, then what is bad in the last verdict of each case: since which run, and until when
// it was good; then verdicts that flip.
std::string timeline_text(const Timeline& timeline, const std::string& file, std::size_t most,
                          const std::function<std::string(std::uint64_t)>& line);

// One case through all runs. `points` go with timeline.runs(): nothing where the case was not in the run.
std::string case_text(const Timeline& timeline, std::uint64_t case_id, const std::string& line,
                      const std::vector<std::optional<StoredVerdict>>& points, std::size_t most);

}  // namespace attest
