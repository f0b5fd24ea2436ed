#include "reports/console.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "reports/ruling_text.h"
#include "reports/text.h"

namespace attest {

namespace {

constexpr const char* kRed = "31;1";
constexpr const char* kGreen = "32";
constexpr const char* kYellow = "33";
constexpr const char* kBold = "1";
constexpr std::size_t kLabel = 10;  // where the text behind "  worst", "  repro" ... starts

constexpr char kTied = '\x1f';  // a space that no line breaks at

std::string untied(std::string text) {
  std::replace(text.begin(), text.end(), kTied, ' ');
  return text;
}

}  // namespace

void ConsoleReporter::on_start(const RunHeader& header) {
  header_ = header;
  tally_.announce(header.backends);
  variants_.announce(header.backends);
  std::string text = fmt::format("attest {}", header.version);
  if (!header.suite.empty()) text += fmt::format("  suite {}", header.suite);
  if (header.shard_count > 1) text += fmt::format("  shard {}/{}", header.shard_index, header.shard_count);
  text += fmt::format("  {}  seed {}\n", count_of(header.cases, "case", "cases"), header.seed);
  std::size_t widest = 0;
  for (const auto& backend : header.backends) widest = std::max(widest, backend.size());
  widest = std::min(widest, options_.width / 3);
  for (std::size_t i = 0; i < header.backends.size() && i < header.build_ids.size(); ++i) {
    text += fmt::format("  {:<{}}  {}\n", shortened(header.backends[i], widest), widest,
                        shortened(printable(header.build_ids[i]), options_.width - widest - 4));
  }
  put(text);
}

void ConsoleReporter::on_verdict(const VerdictRecord& record) {
  tally_.add(record);
  variants_.add(record);
}

void ConsoleReporter::on_finish(const RunSummary& summary) {
  put(table() + coverage() + failures() + notes(Verdict::XFAIL, "Known failures (ledger)") +
      notes(Verdict::QUARANTINED, "Not started (ledger)") + notes(Verdict::UNSUPPORTED, "Unsupported") +
      notes(Verdict::BLIND, "Blind: right, and so would be a kernel that gets this wrong") + losses() +
      variant_text(variants_.families(), options_.width, options_.repro_options) + slowest(summary) + remarks() +
      reckoning(summary));
}

Expected<void> ConsoleReporter::failed() const {
  if (error_) return Unexpected(*error_);
  return {};
}

std::string ConsoleReporter::table() const {
  std::size_t widest = std::string_view("backend").size();
  for (const auto& row : tally_.backends()) widest = std::max(widest, row.backend.size());
  widest = std::min(widest, options_.width / 3);

  const std::string head = fmt::format("{:<{}}  {:>7}  {:>7}  {:>9}  {:>9}  not PASS", "backend", widest, "cases",
                                       "PASS", "max err/B", "CPU s");
  const std::size_t last_column = head.size() - std::string_view("not PASS").size();
  std::string text = '\n' + paint(kBold, head) + "\n";
  for (const auto& row : tally_.backends()) {
    std::string others;
    bool bad = false;
    for (const bool bad_ones : {true, false}) {
      for (const auto& [verdict, count] : row.counts) {
        if (verdict == Verdict::PASS || info(verdict).bad != bad_ones) continue;
        bad = bad || bad_ones;
        // The name and its count stay on one line.
        others += fmt::format("{}{}{}{}", others.empty() ? "" : ", ", info(verdict).name, kTied, count);
      }
    }
    const auto pass = row.counts.find(Verdict::PASS);
    text += fmt::format("{:<{}}  {:>7}  {:>7}  {:>9.3g}  {:>9.2f}  ", shortened(row.backend, widest), widest, row.cases,
                        pass == row.counts.end() ? 0 : pass->second, row.max_err_over_b, row.cpu_s);
    text += others.empty() ? "-" : paint(bad ? kRed : kYellow, untied(wrapped(others, options_.width, last_column)));
    text += '\n';
  }
  return text;
}

// A PASS is worth what was looked at.
std::string ConsoleReporter::coverage() const {
  std::string text;
  for (const auto& row : tally_.backends()) {
    if (row.cases == 0) continue;
    const auto blind = row.counts.find(Verdict::BLIND);
    std::string line = fmt::format("{}: {} of {} judged", shortened(row.backend, options_.width / 3), row.cases_judged,
                                   count_of(row.cases, "case", "cases"));
    if (row.rows_judged > 0) {
      line += fmt::format("; rows: {} of {} judged, {} by both references", row.rows_judged, row.rows,
                          row.rows_confirmed);
    }
    if (blind != row.counts.end()) line += fmt::format("; {} BLIND", blind->second);
    text += wrapped(line, options_.width, 0) + "\n";
  }
  return text.empty() ? "" : "\n" + text;
}

// Nothing to know where all cases together take no time.
std::string ConsoleReporter::slowest(const RunSummary& summary) const {
  if (!(summary.backend_cpu_s >= 1)) return "";
  std::string text = '\n' + paint(kBold, "Slowest cases") + "\n";
  for (const SlowCase& slow : tally_.slowest()) {
    const std::string head =
        fmt::format("{:>9}  {}  ", duration(slow.cpu_s), shortened(slow.backend, options_.width / 3));
    text += head + shortened(printable(slow.line), options_.width - head.size()) + "\n";
  }
  return text;
}

std::string ConsoleReporter::failures() const {
  const auto groups = tally_.failures();
  std::string text;
  for (std::size_t i = 0; i < std::min(groups.size(), options_.max_groups); ++i) text += group(groups[i]);
  if (groups.size() > options_.max_groups) {
    text += fmt::format("\n{} more; the JSONL record has them all\n",
                        count_of(static_cast<std::int64_t>(groups.size() - options_.max_groups), "group", "groups"));
  }
  return text;
}

std::string ConsoleReporter::group(const FailureGroup& g) const {
  const VerdictRecord& r = g.worst;
  const auto labelled = [&](std::string_view label, std::string_view body) {
    return fmt::format("  {:<{}}{}\n", label, kLabel - 2, wrapped(printable(body), options_.width, kLabel));
  };
  std::string title = shortened(g.backend, options_.width / 3);
  if (!g.path.empty()) title += ", path " + g.path;
  title += ": " + count_of(g.count, "case", "cases");
  const std::string name(info(g.verdict).name);
  if (!r.triage.suspect.empty()) {
    title += ", suspected: " + r.triage.suspect;
  } else if (r.detail.empty() && !g.cause.empty()) {
    title += ", mostly " + g.cause;
  }
  std::string text =
      '\n' + paint(kRed, name) + "  " + wrapped(printable(title), options_.width, name.size() + 2) + "\n";

  if (!r.detail.empty()) text += labelled("detail", r.detail);
  if (!r.underlying.empty()) text += labelled("behind", r.underlying);
  if (!r.also.empty()) text += labelled("also", fmt::format("{}", fmt::join(r.also, ", ")));
  for (const auto& [label, said] : triage_lines(r.triage)) text += labelled(label, said);
  if (const std::string worst = worst_text(r); !worst.empty()) {
    text += labelled("worst", worst);
    text += labelled("budget", budget_text(r));
    text += labelled(
        "NMSE", fmt::format("{:.3g} (test-backend-ops passes up to 5e-4), max abs error {:.3g}", r.nmse, r.max_abs));
  }
  text += fmt::format("  {:<{}}{}\n", "repro", kLabel - 2, repro_text(r, options_.repro_options));
  return text;
}

std::string ConsoleReporter::notes(Verdict verdict, std::string_view title) const {
  const auto groups = tally_.notes(verdict);
  if (groups.empty()) return "";
  std::string text = '\n' + paint(kBold, title) + "\n";
  for (std::size_t i = 0; i < std::min(groups.size(), options_.max_groups); ++i) {
    const NoteGroup& g = groups[i];
    const std::string head = fmt::format("{:>7}  {}  ", g.count, shortened(g.backend, options_.width / 3));
    const std::string reason = g.underlying.empty() ? g.reason : fmt::format("{}: {}", g.underlying, g.reason);
    text += head + wrapped(printable(reason), options_.width, head.size()) + "\n";
  }
  if (groups.size() > options_.max_groups) {
    text += fmt::format("{:>7}  more reasons\n", groups.size() - options_.max_groups);
  }
  return text;
}

std::string ConsoleReporter::losses() const {
  const auto groups = tally_.losses();
  if (groups.empty()) return "";
  std::string text =
      '\n' + paint(kBold, "Allowed by the stated contract, and far from the exact answer all the same") + "\n";
  for (std::size_t i = 0; i < std::min(groups.size(), options_.max_groups); ++i) {
    const LossGroup& g = groups[i];
    std::string what = g.loss == "overflow" ? "overflow to Inf or NaN"
                                            : fmt::format("mostly {}: NMSE up to {:.2g}", g.loss, g.worst.nmse);
    if (!g.path.empty()) what = fmt::format("path {}, {}", g.path, what);
    const std::string head = fmt::format("{:>7}  {}  ", g.count, shortened(g.backend, options_.width / 3));
    text += head + wrapped(printable(what), options_.width, head.size()) + "\n";
    text += fmt::format("  {:<{}}{}\n", "repro", kLabel - 2, repro_text(g.worst, options_.repro_options));
  }
  return text;
}

std::string ConsoleReporter::remarks() const {
  std::string text;
  const auto remark = [&](std::string_view backend, std::int64_t count, std::string_view what) {
    if (count == 0) return;
    const std::string line =
        fmt::format("{}: {}: {}", shortened(backend, options_.width / 3), count_of(count, "case", "cases"), what);
    text += wrapped(line, options_.width, 0) + "\n";
  };
  for (const auto& row : tally_.backends()) {
    remark(row.backend, row.prec_not_honoured, "prec=f32 asked for, answered by narrower accumulators");
    const std::int64_t tried = row.relations_held + row.relations_broken + row.relations_unsupported;
    if (tried + row.relations_inapplicable > 0) {
      text +=
          wrapped(fmt::format("{}: relations: {} held, {} broken, {} not supported by the backend, {} not applicable",
                              shortened(row.backend, options_.width / 3), row.relations_held, row.relations_broken,
                              row.relations_unsupported, row.relations_inapplicable),
                  options_.width, 0) +
          "\n";
    }
    remark(row.backend, row.suspects, "in doubt at first, passed on fresh seeds");
  }
  return text.empty() ? "" : "\n" + text;
}

std::string ConsoleReporter::reckoning(const RunSummary& summary) const {
  const auto backends = static_cast<std::int64_t>(header_.backends.size());
  std::string sum = count_of(summary.selected, "verdict", "verdicts");
  if (header_.cases * backends == summary.selected) {
    sum = fmt::format("{} x {} = {}", count_of(header_.cases, "case", "cases"),
                      count_of(backends, "backend", "backends"), sum);
  }
  std::string text = "\n";
  const std::int64_t seen = tally_.verdicts();
  const std::int64_t accounted = std::min(seen, summary.ruled);
  if (summary.interrupted) {
    text += paint(kYellow, fmt::format("interrupted: {} of {}", accounted, sum)) + "\n";
  } else if (seen == summary.selected && summary.ruled == summary.selected) {
    text += sum + ", all accounted for\n";
  } else {
    text += paint(kRed, fmt::format("NOT ACCOUNTED FOR: {}, but {} ruled and {} reported", sum, summary.ruled, seen)) +
            "\n";
  }
  // Shards that were joined have no wall time in common.
  const std::string wall = summary.wall_s > 0 ? " in " + duration(summary.wall_s) : "";
  const std::string took = fmt::format("{} (backend CPU {})", wall, duration(summary.backend_cpu_s));
  // What a short run costs is starting up.
  const bool telling = summary.overhead() > 0 && summary.wall_s >= 1;
  const std::string cost =
      telling ? fmt::format("overhead {:.2f} (wall x {} / backend CPU)\n", summary.overhead(), summary.jobs) : "";
  if (tally_.bad() > 0) {
    text += paint(kRed, count_of(tally_.bad(), "bad verdict", "bad verdicts")) + took + "\n";
  } else if (seen == 0) {
    text += "nothing was ruled" + took + "\n";
  } else {
    text += paint(kGreen, "no bad verdict") + took + "\n";
  }
  return text + cost;
}

std::string ConsoleReporter::paint(const char* code, std::string_view text) const {
  return options_.color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

void ConsoleReporter::put(const std::string& text) {
  if (error_) return;
  if (auto written = sink_->write(text); !written) error_ = written.error();
}

}  // namespace attest
