// A comparison as text for a terminal: what was compared, what changed, alike changes in groups with a line for each.
#pragma once

#include <string>
#include <vector>

#include "reports/history/comparison.h"

namespace attest {

// Changes alike: same backend, path, verdicts, suspected class and reason.
struct ChangeGroup {
  std::string title;
  std::string worst;  // what is said of the worst member; "" where none is worse than another
  std::string repro;  // the command that repeats that one
  std::int64_t count = 0;
};
// The largest group first.
std::vector<ChangeGroup> change_groups(const Comparison& comparison, const BriefRun& a, const BriefRun& b,
                                       Change change);

// At most 100 columns, but for repro lines; at most `most` groups of a kind.
std::string comparison_text(const Comparison& comparison, const BriefRun& a, const BriefRun& b, std::size_t most = 10);

}  // namespace attest
