#include "cases/error.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace attest {

std::string Error::text() const {
  std::string out;
  if (!file.empty()) out += file + ":";
  if (line > 0) out += fmt::format("{}:", line);
  if (column > 0 && (!file.empty() || line > 0)) out += fmt::format("{}:", column);
  if (!out.empty()) out += ' ';
  out += message;
  if (!hint.empty()) out += fmt::format(" ({})", hint);
  if (!source_line.empty()) {
    out += "\n  " + source_line;
    if (column > 0) out += "\n  " + std::string(static_cast<std::size_t>(column - 1), ' ') + "^";
  }
  return out;
}

namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitute = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = word.size() / 3 + 2;
  for (const auto& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string best = nearest_word(word, candidates);
  return best.empty() ? "" : fmt::format("did you mean '{}'?", best);
}

}  // namespace attest
