// attest merge: the records of a run's shards become one.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "harness/cli/verbs.h"
#include "harness/cli/verdict_exit.h"
#include "harness/merge.h"
#include "reports/console.h"
#include "reports/jsonl.h"

namespace attest::cli {

namespace {

struct MergeArguments {
  std::vector<std::string> files;
  std::string out;
};

void tell(const MergedRun& run, RunListener& listener) {
  listener.on_start(run.header);
  for (const VerdictRecord& record : run.verdicts) listener.on_verdict(record);
  listener.on_finish(run.summary);
}

int merge_verb(const MergeArguments& a) {
  std::vector<RecordFile> files;
  for (const std::string& name : a.files) {
    std::error_code none;
    if (std::filesystem::equivalent(name, a.out, none)) {
      return report(input_error(fmt::format("-o {} is one of the files to merge", a.out)).value());
    }
    auto file = read_record_file(name);
    if (!file) return report(file.error());
    files.push_back(std::move(*file));
  }
  const auto merged = merge(std::move(files));
  if (!merged) return report(merged.error());
  auto jsonl = JsonlReporter::open(a.out);
  if (!jsonl) return report(jsonl.error());
  tell(*merged, **jsonl);
  if (auto written = (*jsonl)->failed(); !written) return report(written.error());

  FdSink out = FdSink::standard_output();
  ConsoleReporter console(out, {.color = wants_color(out)});
  tell(*merged, console);
  if (auto written = console.failed(); !written) return report(written.error());
  const bool strict = (" " + merged->header.options + " ").find(fmt::format(" {} ", kStrictPrec)) != std::string::npos;
  const bool narrow = std::any_of(merged->verdicts.begin(), merged->verdicts.end(),
                                  [](const VerdictRecord& r) { return r.prec_not_honoured; });
  return verdict_exit(merged->summary, merged->header, strict && narrow);
}

}  // namespace

Verb add_merge(CLI::App& app) {
  auto a = std::make_shared<MergeArguments>();
  CLI::App* merge = app.add_subcommand("merge", "join the JSONL records of a run's shards into one, sorted by case id");
  merge->add_option("files", a->files, "one JSONL file per shard (or one of an unsharded run)")->required();
  merge->add_option("-o,--output", a->out, "JSONL file to write")->required();
  merge->footer("Refuses shards that are not of one run, doubled, missing or unfinished. Exit codes as of attest run.");
  return [a] { return merge_verb(*a); };
}

}  // namespace attest::cli
