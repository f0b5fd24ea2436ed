// attest sweep: one axis as a curve: error, err/B and verdict per point, and the largest value that still passes.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "cases/families.h"
#include "cases/generate/axes.h"
#include "cases/generate/sweep.h"
#include "cases/grammar/descriptor.h"
#include "harness/backends.h"
#include "harness/cli/machine.h"
#include "harness/cli/report_options.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/cli/verdict_exit.h"
#include "harness/version.h"
#include "reports/multi.h"
#include "reports/progress.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

constexpr std::size_t kWidth = 100, kBar = 30, kMaxPoints = 100000;

struct SweepArguments {
  std::string line, jsonl;
  std::vector<std::string> backends, ggml, axes;
  int jobs = 0;
  ReportFiles reports;
};

constexpr std::string_view kMaskNames[] = {
#define ATTEST_MASK(kind, name, arg, fallback, meaning) name,
#include "cases/masks.def"
#undef ATTEST_MASK
};

bool is_key(std::string_view name) {
  const auto keys = grammar::key_names();
  return std::find(keys.begin(), keys.end(), name) != keys.end();
}
bool is_mask(std::string_view name) {
  return std::find(std::begin(kMaskNames), std::end(kMaskNames), name) != std::end(kMaskNames);
}
// Whose values are whole numbers: what is neither a real parameter of the problem nor an argument of a family.
bool is_whole(std::string_view name) {
  constexpr std::string_view kReal[] = {"scale", "softcap", "max_bias", "sinks", "random", "finite"};
  return (is_key(name) || is_mask(name)) && std::find(std::begin(kReal), std::end(kReal), name) == std::end(kReal);
}

// The '+'-joined terms of a value with the argument of `name` set; the term is added where it is not there.
std::string with_argument(std::string_view value, std::string_view name, std::string_view argument) {
  std::string out;
  bool there = false;
  for (std::size_t begin = 0; begin < value.size();) {
    const auto end = std::min(value.find('+', begin), value.size());
    const auto term = value.substr(begin, end - begin);
    begin = end + 1;
    if (term == "none") continue;
    const bool same = term.substr(0, term.find(':')) == name;
    there |= same;
    out += fmt::format("{}{}", out.empty() ? "" : "+", same ? fmt::format("{}:{}", name, argument) : std::string(term));
  }
  if (!there) out += fmt::format("{}{}:{}", out.empty() ? "" : "+", name, argument);
  return out;
}

std::string value_of(const std::vector<AxisWord>& words, std::string_view key) {
  const auto at = std::find_if(words.begin(), words.end(), [&](const AxisWord& w) { return w.key == key; });
  return at == words.end() ? "" : at->value;
}

// The line with one axis at one value; a backend's option leaves it alone.
Expected<std::string> line_at(const std::string& line, const std::string& name, const std::string& value) {
  if (is_key(name)) return changed_line(line, {{name, value}});
  for (const auto& [key, known] : {std::pair{"mask", is_mask(name)}, {"data", find_family(name) != nullptr}}) {
    if (known) return changed_line(line, {{key, with_argument(value_of(words_of_line(line), key), name, value)}});
  }
  return line;
}

bool is_backend_option(const std::string& name) {
  return !is_key(name) && !is_mask(name) && find_family(name) == nullptr;
}

// Keeps the records of a run.
class Collector : public RunListener {
 public:
  void on_start(const RunHeader& started) override { header = started; }
  void on_verdict(const VerdictRecord& record) override { records[{record.line, record.backend}] = record; }
  RunHeader header;
  std::map<std::pair<std::string, std::string>, VerdictRecord> records;
};

std::string bar(double ratio) {
  if (!(ratio > 0)) return "";
  // One whole budget is two thirds of the width; what is above shows as '#'.
  constexpr std::size_t kBudget = kBar * 2 / 3;
  const auto length = static_cast<std::size_t>(std::lround(std::min(ratio, 1.5) * static_cast<double>(kBudget)));
  std::string out(std::min(length, kBudget), '=');
  if (ratio > 1) out += std::string(std::max<std::size_t>(length, kBudget + 1) - kBudget, '#');
  return out;
}

void print_curve(const std::string& backend, const std::string& axes,
                 const std::vector<std::pair<std::string, const VerdictRecord*>>& points, bool one_axis) {
  std::size_t width = axes.size();
  for (const auto& [label, record] : points) width = std::max(width, label.size());
  width = std::min<std::size_t>(width, 30);
  fmt::print("\n{}\n{:>{}}  {:<14}{:>9}  {:>9}  {:>9}  err/B\n", shortened(backend, kWidth), shortened(axes, width),
             width, "verdict", "err/B", "max abs", "nmse");
  const std::string* last_pass = nullptr;
  const std::string* first_bad = nullptr;
  std::string path;
  for (const auto& [label, record] : points) {
    if (record == nullptr) {
      fmt::print("{:>{}}  {:<14}\n", shortened(label, width), width, "(not run)");
      continue;
    }
    const bool bad = info(record->verdict).bad;
    if (record->verdict == Verdict::PASS || record->verdict == Verdict::BLIND) last_pass = &label;
    if (bad && first_bad == nullptr) first_bad = &label;
    std::string tail = bar(record->err_over_b);
    if (record->verdict == Verdict::UNSUPPORTED) tail = record->detail;
    const std::string ratio =
        record->verdict == Verdict::UNSUPPORTED
            ? ""
            : fmt::format("{}{:.3g}", record->err_over_b_is_bound ? "<=" : "", record->err_over_b);
    std::string row = fmt::format("{:>{}}  {:<14}{:>9}  {:>9.2e}  {:>9.2e}  {}", shortened(label, width), width,
                                  info(record->verdict).name, ratio, record->max_abs, record->nmse, tail);
    if (record->path != path && !record->path.empty()) {
      path = record->path;
      if (row.size() + path.size() + 3 <= kWidth) row += fmt::format("  [{}]", path);
    }
    fmt::print("{}\n", shortened(row, kWidth));
  }
  if (!one_axis) return;
  if (last_pass == nullptr) {
    fmt::print("no value passes\n");
  } else {
    fmt::print("largest value that passes: {}{}\n", *last_pass,
               first_bad != nullptr ? fmt::format(" (first bad: {})", *first_bad) : "");
  }
}

int sweep_verb(const SweepArguments& a) {
  const auto first = parse_case(a.line);
  if (!first) return report(first.error());
  const std::string base = text(*first);
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  std::vector<SweepAxis> axes;
  std::vector<std::size_t> sizes;
  std::size_t count = 1;
  for (const auto& axis : a.axes) {
    auto read = parse_sweep_axis(axis, is_whole);
    if (!read) return report(read.error());
    sizes.push_back(read->values.size());
    count *= read->values.size();
    axes.push_back(std::move(*read));
  }
  if (count > kMaxPoints) return report(input_error(fmt::format("{} points are too many", count)).value());
  const auto backends = a.backends.empty() ? default_backends(*environment) : a.backends;

  // Points by what is asked of the backend: one run per set of backend options.
  struct Batch {
    RunPlan plan;
    std::vector<std::pair<std::string, std::string>> points;  // label, line
  };
  std::map<std::string, Batch> batches;
  std::vector<std::pair<std::string, std::string>> order;  // batch, label
  std::string title;
  for (const auto& axis : axes) title += (title.empty() ? "" : " ") + axis.name;
  std::optional<Error> wrong;
  for_each_combination(sizes, [&](const std::vector<std::size_t>& at) {
    if (wrong) return;
    std::string line = base, options, label;
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const std::string& value = axes[i].values[at[i]];
      label += (label.empty() ? "" : " ") + value;
      if (is_backend_option(axes[i].name)) options += fmt::format(",{}={}", axes[i].name, value);
      auto changed = line_at(line, axes[i].name, value);
      if (!changed) {
        wrong = changed.error();
        return;
      }
      line = std::move(*changed);
    }
    auto c = parse_case(line);
    if (!c) {
      wrong = c.error();
      wrong->message = fmt::format("{} = {}: {}", title, label, wrong->message);
      return;
    }
    Batch& batch = batches[options];
    line = text(*c);
    order.emplace_back(options, label);
    batch.points.emplace_back(label, line);
    const auto same = [&](const Case& other) { return text(other) == line; };
    if (std::none_of(batch.plan.cases.begin(), batch.plan.cases.end(), same)) batch.plan.cases.push_back(std::move(*c));
  });
  if (wrong) return report(*wrong);
  for (auto& [options, batch] : batches) {
    batch.plan.suite = "sweep";
    for (const auto& backend : backends) {
      batch.plan.backends.push_back(
          backend + (options.empty() || backend.find(':') != std::string::npos ? options : ":" + options.substr(1)));
      if (auto spec = BackendSpec::parse(batch.plan.backends.back()); !spec) return report_backend(spec.error());
    }
  }

  FdSink err = FdSink::standard_error();
  ProgressReporter progress(err);
  std::vector<RunListener*> listeners{&progress};
  const auto jsonl = add_jsonl(a.jsonl, listeners);
  if (!jsonl) return report(jsonl.error());
  FileReporter files(a.reports, ggml_words(a.ggml));
  if (a.reports.any()) listeners.push_back(&files);
  MultiListener all(listeners);
  RunHeader header = machine_header();
  header.version = kVersion;
  header.suite = "sweep";
  header.command = fmt::format("attest sweep --line {}", shell_quoted(a.line));
  for (const auto& axis : a.axes) header.command += " --axis " + shell_quoted(axis);
  RunHeader joined_header = header;
  for (const auto& [options, batch] : batches) {
    joined_header.cases += static_cast<std::int64_t>(batch.plan.cases.size());
  }
  joined_header.selection = "sweep";
  JoinedRuns joined(all, joined_header);
  RunOptions options;
  options.key.key_flop = kKeySeconds * kKeyFlopPerSecond;
  options.jobs = a.jobs;
  options.interrupted = &interrupted();
  const SubjectMaker maker = subject_maker(*environment, false, 0);

  // By backend as it was named and by label; the subject's name of a backend has its options in it.
  std::map<std::pair<std::size_t, std::string>, VerdictRecord> found;
  for (const auto& [swept, batch] : batches) {
    Collector records;
    std::vector<RunListener*> both{&records, &joined};
    MultiListener pair(both);
    const auto summary = run(batch.plan, options, maker, header, pair);
    if (!summary) {
      joined.finish();
      return report(summary.error());
    }
    for (const auto& [label, line] : batch.points) {
      for (std::size_t b = 0; b < records.header.backends.size(); ++b) {
        const auto at = records.records.find({line, records.header.backends[b]});
        if (at != records.records.end()) found[{b, label}] = at->second;
      }
    }
    if (summary->interrupted) break;
  }
  joined.finish();
  if (const auto written = all.failed(); !written) return report(written.error());

  fmt::print("{}\n", base);
  for (std::size_t b = 0; b < backends.size(); ++b) {
    std::vector<std::pair<std::string, const VerdictRecord*>> points;
    for (const auto& [swept, label] : order) {
      const auto at = found.find({b, label});
      points.emplace_back(label, at == found.end() ? nullptr : &at->second);
    }
    print_curve(backends[b], title, points, axes.size() == 1);
  }
  return verdict_exit(joined.summary(), joined.header(), false);
}

}  // namespace

Verb add_sweep(CLI::App& app) {
  auto a = std::make_shared<SweepArguments>();
  CLI::App* sweep = app.add_subcommand("sweep", "one axis as a curve: error and verdict per value");
  sweep->add_option("--line", a->line, "the case that the axis changes: a descriptor")->required();
  sweep
      ->add_option("--axis", a->axes,
                   "NAME=LOW..HIGH[:log|lin][:POINTS] or NAME=V1,V2,...; NAME is a key of the line (n_kv), a mask or a "
                   "data family with an argument (used, normal), else an option of the backend (threads). Repeatable")
      ->required()
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  add_backend_options(*sweep, a->backends, a->ggml, "every available one");
  add_report_options(*sweep, a->reports);
  sweep->add_option("--jsonl", a->jsonl, "write the record of truth to this file, one verdict per line");
  sweep->add_option("--jobs", a->jobs, "slots working at a time; default: number of cores")->check(CLI::PositiveNumber);
  sweep->footer(kExitCodes);
  return [a] { return sweep_verb(*a); };
}

}  // namespace attest::cli
