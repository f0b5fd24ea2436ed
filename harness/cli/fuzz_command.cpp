// attest fuzz: past failures first, then random cases until the time or the number is used up.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>

#include "cases/generate/random.h"
#include "cases/suites/suite.h"
#include "harness/backends.h"
#include "harness/cli/machine.h"
#include "harness/cli/report_options.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/cli/verdict_exit.h"
#include "harness/version.h"
#include "reports/console.h"
#include "reports/multi.h"
#include "reports/progress.h"
#include "reports/ruling_text.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

// Cases per run. Part of no result: a case is a function of the seed and its index.
constexpr std::size_t kChunk = 2000, kTimedChunk = 250;
constexpr int kShownFailures = 20;
constexpr double kStandardSeconds = 60;

struct FuzzArguments {
  std::vector<std::string> backends, ggml;
  std::string time, jsonl, save, corpus, max_memory, ledger, relations;
  std::uint64_t seed = 0;
  std::int64_t cases = 0, skip = 0;
  int jobs = 0;
  double max_flop = RandomOptions{}.max_flop;
  bool fail_fast = false, no_blindness = false;
  HistoryOptions history;
};

// "90", "90s", "10m", "2h": seconds.
Expected<double> seconds_of(const std::string& text) {
  std::size_t end = 0;
  double n = 0;
  try {
    n = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  const std::string unit = text.substr(end);
  const double factor = unit.empty() || unit == "s" ? 1 : unit == "m" ? 60 : unit == "h" ? 3600 : 0;
  if (end == 0 || factor == 0 || !(n > 0)) {
    return input_error(fmt::format("--time '{}' is no duration", text), "e.g. 90s, 10m or 2h");
  }
  return n * factor;
}

// The cases the binary knows, or those of every .txt file of a directory, in the order of their names.
Expected<std::vector<Case>> past_failures(const std::string& dir) {
  if (dir.empty()) {
    auto suite = load_suite("corpus");
    if (!suite) return Unexpected(suite.error());
    return std::move(suite->cases);
  }
  std::error_code failed;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(dir, failed)) {
    if (entry.path().extension() == ".txt") files.insert(entry.path());
  }
  if (failed) return input_error(fmt::format("--corpus {}: {}", dir, failed.message()));
  std::vector<Case> cases;
  for (const auto& file : files) {
    auto suite = load_case_file(file.string());
    if (!suite) return Unexpected(suite.error());
    for (auto& c : suite->cases) cases.push_back(std::move(c));
  }
  return cases;
}

// Hands out cases, each once: past failures, then random ones.
class CaseSource {
 public:
  CaseSource(std::vector<Case> first, const FuzzArguments& a) : first_(std::move(first)), seed_(a.seed) {
    options_.max_flop = a.max_flop;
  }

  std::vector<Case> next(std::size_t count) {
    std::vector<Case> out;
    while (out.size() < count) {
      Case c = taken_ < first_.size() ? first_[taken_] : random_case(seed_, taken_ - first_.size(), options_);
      ++taken_;
      if (seen_.insert(case_id(c)).second) out.push_back(std::move(c));
    }
    return out;
  }

 private:
  std::vector<Case> first_;
  std::uint64_t seed_, taken_ = 0;
  RandomOptions options_;
  std::unordered_set<std::string> seen_;
};

// A file to which lines are appended that it does not have yet, each as soon as it is known: a soak may be killed.
class SavedLines {
 public:
  static Expected<SavedLines> open(const std::string& path) {
    SavedLines saved(path);
    if (path.empty()) return saved;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      saved.there_.insert(line);
      saved.cut_ = in.eof();
    }
    saved.out_.open(path, std::ios::app);
    if (!saved.out_) return saved.cannot_write();
    return saved;
  }
  void add(const std::string& line) {
    if (!out_.is_open() || !there_.insert(line).second) return;
    if (std::exchange(cut_, false)) out_ << '\n';
    out_ << line << '\n' << std::flush;
  }
  Expected<void> check() const {
    if (!out_) return cannot_write();
    return {};
  }

 private:
  explicit SavedLines(std::string path) : path_(std::move(path)) {}
  Unexpected cannot_write() const { return harness_error(fmt::format("cannot write '{}'", path_)); }

  std::string path_;
  std::set<std::string> there_;
  bool cut_ = false;  // the last line has no end
  std::ofstream out_;
};

// Says failures when they happen, and keeps their lines.
class FailureWatch : public RunListener {
 public:
  FailureWatch(Sink& out, SavedLines saved) : out_(&out), saved_(std::move(saved)) {}

  void on_verdict(const VerdictRecord& record) override {
    if (!info(record.verdict).bad) return;
    saved_.add(record.line);
    if (++failures_ > kShownFailures) return;
    static_cast<void>(out_->write(fmt::format(
        "{}{} {}\n    attest run {}-b {} --case {}\n", out_->is_terminal() ? "\r\x1b[K" : "", info(record.verdict).name,
        printable(record.detail), relation_words(record), shell_quoted(record.backend), shell_quoted(record.line))));
  }
  const SavedLines& saved() const { return saved_; }

 private:
  Sink* out_;
  int failures_ = 0;
  SavedLines saved_;
};

// What selects the cases of a seed, besides their number.
std::string selecting_words(const FuzzArguments& a) {
  std::string words = fmt::format("--seed {}", a.seed);
  if (a.skip > 0) words += fmt::format(" --skip {}", a.skip);
  if (a.max_flop != RandomOptions{}.max_flop) words += fmt::format(" --max-flop {}", a.max_flop);
  if (!a.corpus.empty()) words += " --corpus " + shell_quoted(a.corpus);
  return words;
}

int fuzz_verb(const FuzzArguments& a) {
  double limit = a.cases > 0 ? 0 : kStandardSeconds;
  if (!a.time.empty()) {
    const auto seconds = seconds_of(a.time);
    if (!seconds) return report(seconds.error());
    limit = *seconds;
  }
  const auto max_memory = bytes_of(a.max_memory);
  if (!max_memory) return report(max_memory.error());
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  auto corpus = past_failures(a.corpus);
  if (!corpus) return report(corpus.error());
  CaseSource source(std::move(*corpus), a);

  RunPlan plan;
  RunOptions options;
  if (const auto chosen = choose_relations(a.relations, options.relations); !chosen) return report(chosen.error());
  plan.suite = "fuzz";
  plan.backends = a.backends.empty() ? default_backends(*environment) : a.backends;
  for (const auto& backend : plan.backends) {
    if (auto spec = BackendSpec::parse(backend); !spec) return report_backend(spec.error());
  }
  std::optional<Ledger> ledger;
  if (!a.ledger.empty()) {
    auto loaded = load_ledger(a.ledger);
    if (!loaded) return report(loaded.error());
    ledger = std::move(*loaded);
  }
  options.ledger = ledger ? &*ledger : nullptr;
  options.key.key_flop = kKeySeconds * kKeyFlopPerSecond;
  options.jobs = a.jobs;
  options.blindness = !a.no_blindness;
  options.fail_fast = a.fail_fast;
  options.interrupted = &interrupted();
  const SubjectMaker maker = subject_maker(*environment, false, *max_memory);

  FdSink out = FdSink::standard_output(), err = FdSink::standard_error();
  ConsoleReporter console(out, {.color = wants_color(out), .repro_options = ggml_words(a.ggml)});
  ProgressReporter progress(err);
  auto saved = SavedLines::open(a.save);
  if (!saved) return report(saved.error());
  FailureWatch failures(err, std::move(*saved));
  std::vector<RunListener*> listeners{&progress, &failures};
  const auto jsonl = add_jsonl(a.jsonl, listeners);
  if (!jsonl) return report(jsonl.error());
  const auto history = open_history(a.history);
  if (!history) return report(history.error());
  if (*history) listeners.push_back(history->get());
  listeners.push_back(&console);
  MultiListener all(listeners);

  RunHeader header = machine_header();
  header.commit = commit_under_test(a.history);
  header.version = kVersion;
  header.command = "attest fuzz " + selecting_words(a);
  if (a.cases > 0) header.command += fmt::format(" --cases {}", a.cases);
  header.suite = plan.suite;
  header.seed = a.seed;
  RunHeader joined_header = header;
  joined_header.cases = a.cases;
  joined_header.selection = header.command.substr(std::string_view("attest ").size());
  JoinedRuns joined(all, joined_header);
  const std::size_t chunk = limit > 0 ? kTimedChunk : kChunk;
  for (auto skip = static_cast<std::size_t>(a.skip); skip > 0 && !interrupted();) {
    skip -= source.next(std::min(skip, chunk)).size();
  }
  const double start = steady_seconds();  // what was skipped counts for nothing
  const auto time_left = [&] { return limit <= 0 || steady_seconds() - start < limit; };
  std::size_t left = a.cases > 0 ? static_cast<std::size_t>(a.cases) : ~std::size_t{0};
  bool stop = false;
  while (left > 0 && time_left() && !stop && !interrupted()) {
    plan.cases = source.next(std::min(left, chunk));
    left -= plan.cases.size();
    const auto summary = run(plan, options, maker, header, joined);
    if (!summary) {
      joined.finish();
      return report(summary.error());
    }
    stop = summary->interrupted || summary->ruled < summary->selected;
  }
  joined.finish();
  fmt::print("seed {}: the same cases again with {}\n", a.seed, selecting_words(a));
  if (const auto whole = failures.saved().check(); !whole) return report(whole.error());
  return verdict_exit(joined.summary(), joined.header(), false);
}

}  // namespace

Verb add_fuzz(CLI::App& app) {
  auto a = std::make_shared<FuzzArguments>();
  CLI::App* fuzz = app.add_subcommand("fuzz", "run past failures, then random cases weighted to boundaries");
  add_backend_options(*fuzz, a->backends, a->ggml, "every available one");
  fuzz->add_option("--time", a->time, "how long, e.g. 90s, 10m, 2h; default 60s unless --cases is given");
  fuzz->add_option("--cases", a->cases, "how many cases; with --time, whichever ends first")
      ->check(CLI::PositiveNumber);
  fuzz->add_option("--seed", a->seed, "which cases: the same seed gives the same ones, in the same order");
  fuzz->add_option("--skip", a->skip,
                   "leave out the first N cases of the seed: an earlier run, or another machine, has done them")
      ->check(CLI::NonNegativeNumber);
  fuzz->add_option("--max-flop", a->max_flop, "size of the largest case")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  fuzz->add_option("--jsonl", a->jsonl, "write the record of truth to this file, one verdict per line");
  add_history_options(*fuzz, a->history);
  fuzz->add_option("--save", a->save, "append the lines of failing cases to this file");
  fuzz->add_option("--corpus", a->corpus, "directory of .txt files with case lines that run first; default: built in");
  fuzz->add_option("--ledger", a->ledger, "TOML file of known failures: tolerated ones become XFAIL and are not saved");
  add_relations_option(*fuzz, a->relations, "none");
  fuzz->add_flag("--fail-fast", a->fail_fast, "stop at the first bad verdict");
  add_blindness_option(*fuzz, a->no_blindness);
  fuzz->add_option("--jobs", a->jobs, "slots working at a time; default: number of cores")->check(CLI::PositiveNumber);
  fuzz->add_option("--max-memory", a->max_memory, "memory a subject process may allocate, e.g. 4G");
  fuzz->footer(kExitCodes);
  return [a] { return fuzz_verb(*a); };
}

}  // namespace attest::cli
