#include "reports/markdown.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/ruling_text.h"
#include "reports/tally.h"
#include "reports/text.h"

namespace attest {

namespace {

constexpr std::size_t kGroups = 40;       // failures by cause
constexpr std::size_t kReasons = 40;      // notes per kind
constexpr std::size_t kTextLength = 600;  // of one detail

// A cell of a table: no line ends, no column marks, nothing that Markdown or HTML would read.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : shortened(printable(text), kTextLength)) {
    if (c == '|' || c == '*' || c == '_' || c == '`' || c == '[' || c == ']' || c == '\\') out += '\\';
    out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  }
  return out;
}

std::string table(const Tally& tally) {
  std::string out = "| backend | cases | PASS | not PASS | max err/B | CPU s |\n|---|---:|---:|---|---:|---:|\n";
  for (const BackendTally& row : tally.backends()) {
    std::string others;
    std::int64_t pass = 0;
    for (const auto& [verdict, count] : row.counts) {
      if (verdict == Verdict::PASS) {
        pass = count;
        continue;
      }
      others += fmt::format("{}{}{} {}{}", others.empty() ? "" : ", ", info(verdict).bad ? "**" : "",
                            info(verdict).name, count, info(verdict).bad ? "**" : "");
    }
    out += fmt::format("| {} | {} | {} | {} | {:.3g} | {:.2f} |\n", cell(row.backend), row.cases, pass,
                       others.empty() ? "-" : others, row.max_err_over_b, row.cpu_s);
  }
  return out;
}

std::string failures(const Tally& tally, const std::string& repro_options) {
  const auto groups = tally.failures();
  std::string out;
  for (std::size_t i = 0; i < std::min(groups.size(), kGroups); ++i) {
    const FailureGroup& g = groups[i];
    out += fmt::format("\n#### {} {}{}: {}\n\n", info(g.verdict).name, cell(g.backend),
                       g.path.empty() ? "" : " path " + cell(g.path), count_of(g.count, "case", "cases"));
    if (!g.worst.detail.empty()) out += cell(g.worst.detail) + "\n\n";
    for (const auto& [label, said] : triage_lines(g.worst.triage)) out += fmt::format("- {}: {}\n", label, cell(said));
    if (!triage_lines(g.worst.triage).empty()) out += "\n";
    if (const std::string worst = worst_text(g.worst); !worst.empty()) {
      out += fmt::format("{}; budget {}\n\n", cell(worst), cell(budget_text(g.worst)));
    }
    out += fmt::format("```sh\n{}\n```\n", printable(repro_text(g.worst, repro_options)));
  }
  if (groups.size() > kGroups) out += fmt::format("\n{} more groups: see the record.\n", groups.size() - kGroups);
  return out;
}

std::string notes(const Tally& tally) {
  std::string rows;
  for (const Verdict v : all_verdicts()) {
    if (info(v).bad || v == Verdict::PASS) continue;
    const auto groups = tally.notes(v);
    for (std::size_t i = 0; i < std::min(groups.size(), kReasons); ++i) {
      const NoteGroup& g = groups[i];
      rows += fmt::format("| {} | {} | {} | {}{} |\n", g.count, info(v).name, cell(g.backend),
                          g.underlying.empty() ? "" : g.underlying + ": ", cell(g.reason));
    }
  }
  if (rows.empty()) return {};
  return "\n<details><summary>Known, unsupported, not compared</summary>\n\n| cases | | backend | reason "
         "|\n|---:|---|---|---|\n" +
         rows + "\n</details>\n";
}

}  // namespace

std::string markdown_summary(const RecordFile& file, const std::string& repro_options) {
  const RunHeader header = file.runs.empty() ? RunHeader{} : file.runs.back();
  Tally tally;
  tally.announce(header.backends);
  for (const VerdictRecord& r : file.verdicts) tally.add(r);
  std::string what = "nothing was ruled";
  if (tally.bad() > 0) {
    what = count_of(tally.bad(), "bad verdict", "bad verdicts");
  } else if (tally.verdicts() > 0) {
    what = "no bad verdict";
  }
  std::string out = fmt::format("### attest{}: {} in {}\n\n", header.suite.empty() ? "" : ' ' + cell(header.suite),
                                what, count_of(tally.verdicts(), "verdict", "verdicts"));
  if (header.verdicts_expected > tally.verdicts()) {
    out += fmt::format("**{} of {} verdicts are missing from this record.**\n\n",
                       header.verdicts_expected - tally.verdicts(), header.verdicts_expected);
  }
  return out + table(tally) + failures(tally, repro_options) + notes(tally);
}

}  // namespace attest
