#include <algorithm>

#include "harness/bisect/history.h"

namespace attest {

LinearHistory::LinearHistory(std::vector<Step> steps)
    : steps_(std::move(steps)), search_(0, static_cast<std::int64_t>(steps_.size()) - 1) {}

Expected<void> LinearHistory::begin() {
  search_ = Search(0, static_cast<std::int64_t>(steps_.size()) - 1);
  return {};
}

Expected<std::optional<Step>> LinearHistory::next() {
  const auto at = search_.next();
  if (!at) return std::optional<Step>();
  return std::optional(steps_[static_cast<std::size_t>(*at)]);
}

Expected<void> LinearHistory::record(const Step& step, Answer like_newer) {
  const auto at = std::find(steps_.begin(), steps_.end(), step);
  if (at != steps_.end()) search_.record(at - steps_.begin(), like_newer);
  return {};
}

Expected<StepsLeft> LinearHistory::left() { return StepsLeft{search_.untested(), search_.questions_left()}; }

Expected<Bracket> LinearHistory::bracket() {
  Bracket found;
  found.last_no = steps_[static_cast<std::size_t>(search_.last_no())];
  for (std::int64_t at = search_.last_no() + 1; at <= search_.first_yes(); ++at) {
    found.candidates.push_back(steps_[static_cast<std::size_t>(at)]);
  }
  return found;
}

}  // namespace attest
