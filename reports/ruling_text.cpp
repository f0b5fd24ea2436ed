#include "reports/ruling_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "reports/text.h"

namespace attest {

std::string place_text(const WorstElement& w) {
  return fmt::format("seq {}, head {}, query {}, column {}", w.seq, w.head, w.query, w.column);
}

std::string worst_text(const VerdictRecord& r) {
  if (r.rows_judged == 0) return {};
  const std::string ratio = std::isnan(r.err_over_b) ? "no err/B" : fmt::format("err/B {:.3g}", r.err_over_b);
  return fmt::format("{}: got {:.9g}, expected {:.9g}, {}", place_text(r.worst), r.worst.got, r.worst.expected, ratio);
}

std::string budget_text(const VerdictRecord& r) {
  if (r.rows_judged == 0) return {};
  std::string text = fmt::format("{:.3g}", r.worst.budget);
  if (!r.worst.dominant.empty()) text += ", mostly " + r.worst.dominant;
  if (r.bad_elements > 0) {
    text += fmt::format("; {} over it in {} of {} rows judged", count_of(r.bad_elements, "element", "elements"),
                        r.rows_judged, r.rows);
  }
  return text;
}

std::vector<std::pair<std::string_view, std::string>> triage_lines(const TriageRecord& t) {
  std::vector<std::pair<std::string_view, std::string>> lines{
      {"suspect", t.says},
      {"like", t.fingerprint},
      {"where", t.place},
      {"hints", fmt::format("{}", fmt::join(t.hints, "; "))},
  };
  std::erase_if(lines, [](const auto& line) { return line.second.empty(); });
  return lines;
}

std::string relation_words(const VerdictRecord& record) {
  return record.relations_broken.empty() ? "" : fmt::format("--relations {} ", record.relations_broken.front());
}

std::string repro_text(const VerdictRecord& r, const std::string& options) {
  if (!r.source.empty()) {
    const std::string backend = r.backend == "file" ? "" : " -b " + shell_quoted(r.backend);  // else the files' own output
    return fmt::format("attest check {}{}{}{}", options, options.empty() ? "" : " ", r.source, backend);
  }
  return fmt::format("attest run {}{}{}-b {} --case {}", options, options.empty() ? "" : " ", relation_words(r),
                     shell_quoted(r.backend), shell_quoted(r.line));
}

}  // namespace attest
