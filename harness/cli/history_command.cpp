// attest history: what the runs in a history file say about a backend, or about one of its cases.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <set>

#include "cases/case.h"
#include "harness/cli/verbs.h"
#include "reports/history/history_text.h"
#include "reports/sink.h"

namespace attest::cli {

namespace {

struct HistoryArguments {
  std::string db, backend, line, suite;
  std::int64_t limit = 30;
};

// A descriptor, a test-backend-ops line, or the id itself.
Expected<std::uint64_t> case_named(const std::string& text) {
  if (const auto id = hex_number(text)) return *id;
  return parse_case(text).map([](const Case& c) { return hex_number(case_id(c)).value_or(0); });
}

Expected<void> known(const std::vector<StoredRun>& runs, const HistoryArguments& a) {
  std::set<std::string> backends, suites;
  for (const StoredRun& run : runs) {
    suites.insert(run.header.suite);
    if (a.suite.empty() || run.header.suite == a.suite) {
      backends.insert(run.header.backends.begin(), run.header.backends.end());
    }
  }
  const auto missing = [&](const char* what, const std::string& name, const std::set<std::string>& all) -> Unexpected {
    const std::vector<std::string> names(all.begin(), all.end());
    const std::string near = did_you_mean(name, names);
    return input_error(fmt::format("no run of {} '{}' in {}", what, name, a.db),
                       near.empty() ? fmt::format("there is {}", fmt::join(names, ", ")) : near);
  };
  if (!a.suite.empty() && !suites.contains(a.suite)) return missing("suite", a.suite, suites);
  if (!a.backend.empty() && !backends.contains(a.backend)) return missing("backend", a.backend, backends);
  return {};
}

Expected<std::string> told(History& history, const HistoryArguments& a) {
  auto runs = history.runs();
  if (!runs) return Unexpected(runs.error());
  if (runs->empty()) return input_error(fmt::format("{} holds no run", a.db), "attest run --db adds one");
  if (auto fine = known(*runs, a); !fine) return Unexpected(fine.error());
  if (!a.suite.empty()) std::erase_if(*runs, [&](const StoredRun& run) { return run.header.suite != a.suite; });
  if (a.backend.empty()) return runs_text(*runs, a.db);

  Timeline timeline(a.backend);
  if (a.line.empty()) {
    for (const StoredRun& run : *runs) {
      const auto read = history.read(run);
      if (!read) return Unexpected(read.error());
      timeline.add(run.id, *read);
    }
    return timeline_text(timeline, a.db, static_cast<std::size_t>(a.limit),
                         [&](std::uint64_t id) { return history.line(id).value_or(fmt::format("case {:016x}", id)); });
  }

  const auto id = case_named(a.line);
  if (!id) return Unexpected(id.error());
  const auto line = history.line(*id);
  if (!line) return Unexpected(line.error());
  std::vector<std::optional<StoredVerdict>> points;
  for (const StoredRun& run : *runs) {
    const auto& names = run.header.backends;
    const auto at = std::find(names.begin(), names.end(), a.backend);
    if (at == names.end()) continue;
    auto found = history.verdict(run, static_cast<std::size_t>(at - names.begin()), *id);
    if (!found) return Unexpected(found.error());
    BriefRun alone;
    alone.header = run.header;
    alone.complete = run.finished;
    timeline.add(run.id, alone);
    points.push_back(std::move(*found));
  }
  if (std::none_of(points.begin(), points.end(), [](const auto& p) { return p.has_value(); })) {
    return input_error(
        fmt::format("no run of {} in {} has this case: {}", a.backend, a.db, line->empty() ? a.line : *line),
        "seeds and every key count; attest list cases --suite NAME prints the lines of a suite");
  }
  return case_text(timeline, *id, *line, points, static_cast<std::size_t>(a.limit));
}

int history_verb(const HistoryArguments& a) {
  if (!a.line.empty() && a.backend.empty()) {
    return report(input_error("--case needs the backend: -b NAME").value());
  }
  auto history = History::open(a.db, false);
  if (!history) return report(history.error());
  const auto text = told(*history, a);
  if (!text) return report(text.error());
  FdSink out = FdSink::standard_output();
  const auto written = out.write(*text);
  return written ? kOk : report(written.error());
}

}  // namespace

Verb add_history(CLI::App& app) {
  auto a = std::make_shared<HistoryArguments>();
  CLI::App* verb = app.add_subcommand("history", "runs kept with --db: last good, first bad, error trend, flake rate");
  verb->add_option("--db", a->db, "the history file (attest run --db FILE, attest report --db FILE)")->required();
  verb->add_option("-b,--backend", a->backend, "one backend over its runs; default: every run, one line each");
  verb->add_option("--case", a->line, "one case through all runs: a descriptor, a test-backend-ops line, or a case id");
  verb->add_option("--suite", a->suite, "only runs of this suite");
  verb->add_option("--limit", a->limit, "runs shown at most, the last ones; default 30")->check(CLI::PositiveNumber);
  verb->footer(
      "Runs are in the order in which they started. A case that the ledger excuses (XFAIL) counts as bad here: last\n"
      "good is the last run in which it was right. Exit codes: 0 told; 2 no such file, backend, suite or case; 3 the\n"
      "file cannot be read. Verdicts do not change the exit code: attest compare has --fail-on.");
  return [a] { return history_verb(*a); };
}

}  // namespace attest::cli
