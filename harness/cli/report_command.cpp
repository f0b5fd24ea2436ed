// attest report: a JSONL record becomes an HTML page, JUnit, CSV, Markdown, an entry of the history, or the console's
// table once more.
#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "harness/cli/report_options.h"
#include "harness/cli/verbs.h"
#include "harness/merge.h"
#include "reports/console.h"

namespace attest::cli {

namespace {

struct ReportArguments {
  std::vector<std::string> files;
  ReportFiles where;
  HistoryOptions history;
};

// The parts of one run are joined; a single file may be unfinished and says so itself.
Expected<RecordFile> read_whole(const std::vector<std::string>& names) {
  std::vector<RecordFile> files;
  for (const std::string& name : names) {
    auto file = read_record_file(name);
    if (!file) return tl::unexpected(file.error());
    if (file->runs.empty()) return input_error("'" + name + "' records no run", "the JSONL file of attest run --jsonl");
    files.push_back(std::move(*file));
  }
  if (files.size() == 1) {
    if (auto one = one_run(files.front()); !one) return tl::unexpected(one.error());
    return std::move(files.front());
  }
  auto merged = merge(std::move(files));
  if (!merged) return tl::unexpected(merged.error());
  return RecordFile{"", {merged->header}, std::move(merged->verdicts)};
}

// Says which run of the history the record is.
Expected<void> import_record(const RecordFile& file, const std::string& db) {
  auto history = History::open(db, true);
  if (!history) return Unexpected(history.error());
  const auto imported = history->import(file);
  if (!imported) return Unexpected(imported.error());
  fmt::print("{}: run {}{}{}\n", db, imported->run, imported->was_there ? " (was there already)" : "",
             imported->commit_given ? ", now of commit " + file.runs.front().commit : "");
  return {};
}

int report_verb(const ReportArguments& a) {
  auto file = read_whole(a.files);
  if (!file) return report(file.error());
  if (!a.history.commit.empty()) {
    for (RunHeader& run : file->runs) {
      if (!run.commit.empty() && run.commit != a.history.commit) {
        return report(
            input_error(fmt::format("the record says commit '{}', --commit '{}'", run.commit, a.history.commit),
                        "--commit is for records that do not say")
                .value());
      }
      run.commit = a.history.commit;
    }
  }
  if (a.where.any() || !a.history.db.empty()) {
    auto written = write_reports(*file, a.where);
    if (written && !a.history.db.empty()) written = import_record(*file, a.history.db);
    return written ? kOk : report(written.error());
  }
  FdSink out = FdSink::standard_output();
  ConsoleReporter console(out, {.color = wants_color(out)});
  RunSummary summary;
  const RunHeader& header = file->runs.back();
  console.on_start(header);
  for (const VerdictRecord& record : file->verdicts) {
    summary.add(record);
    console.on_verdict(record);
  }
  summary.selected = std::max(header.verdicts_expected, summary.ruled);
  console.on_finish(summary);
  const auto written = console.failed();
  return written ? kOk : report(written.error());
}

}  // namespace

void add_report_options(CLI::App& verb, ReportFiles& where) {
  verb.add_option("--html", where.html, "write one self-contained HTML page to this file");
  verb.add_option("--junit", where.junit, "write JUnit XML to this file");
  verb.add_option("--csv", where.csv, "write a table of all verdicts to this file");
  verb.add_option("--markdown", where.markdown, "write a summary for a CI step to this file ('-': standard output)");
}

void add_history_options(CLI::App& verb, HistoryOptions& options) {
  verb.add_option("--db", options.db, "add the run to this history (SQLite; attest history, attest compare)");
  verb.add_option("--commit", options.commit,
                  "revision of the code under test, for the record; default: ATTEST_COMMIT, GITHUB_SHA or "
                  "CI_COMMIT_SHA");
}

std::string commit_under_test(const HistoryOptions& options) {
  if (!options.commit.empty()) return options.commit;
  for (const char* name : {"ATTEST_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != 0) return value;
  }
  return "";
}

Expected<std::unique_ptr<HistoryReporter>> open_history(const HistoryOptions& options,
                                                        std::optional<RunHeader> resumed) {
  if (options.db.empty()) return nullptr;
  return History::open(options.db, true).map([&](History history) {
    return std::make_unique<HistoryReporter>(std::move(history), std::move(resumed));
  });
}

Verb add_report(CLI::App& app) {
  auto a = std::make_shared<ReportArguments>();
  CLI::App* verb =
      app.add_subcommand("report", "make HTML, JUnit, CSV, Markdown or an entry of the history of a JSONL record");
  verb->add_option("files", a->files, "JSONL file of a run, or one per shard of it")->required();
  add_report_options(*verb, a->where);
  verb->add_option("--db", a->history.db, "add the run to this history; once, however often it is repeated");
  verb->add_option("--commit", a->history.commit, "revision of the code under test, where the record does not say");
  verb->footer(
      "Without an option: the table that attest run prints. Exit codes: 0 written; 2 not a record; 3 cannot\n"
      "be read or written. Verdicts do not change the exit code: attest run has told.");
  return [a] { return report_verb(*a); };
}

}  // namespace attest::cli
