// attest report: a JSONL record becomes an HTML page, JUnit, CSV, Markdown, or the console's table once more.
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
  if (files.size() == 1) return std::move(files.front());
  auto merged = merge(std::move(files));
  if (!merged) return tl::unexpected(merged.error());
  return RecordFile{"", {merged->header}, std::move(merged->verdicts)};
}

int report_verb(const ReportArguments& a) {
  const auto file = read_whole(a.files);
  if (!file) return report(file.error());
  if (a.where.any()) {
    const auto written = write_reports(*file, a.where);
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

Verb add_report(CLI::App& app) {
  auto a = std::make_shared<ReportArguments>();
  CLI::App* verb = app.add_subcommand("report", "make HTML, JUnit, CSV or Markdown of a JSONL record");
  verb->add_option("files", a->files, "JSONL file of a run, or one per shard of it")->required();
  add_report_options(*verb, a->where);
  verb->footer(
      "Without an option: the table that attest run prints. Exit codes: 0 written; 2 not a record; 3 cannot\n"
      "be read or written. Verdicts do not change the exit code: attest run has told.");
  return [a] { return report_verb(*a); };
}

}  // namespace attest::cli
