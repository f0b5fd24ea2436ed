// attest run: the comparison.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>

#include "cases/cache_dir.h"
#include "cases/file_io.h"
#include "cases/suites/suite.h"
#include "harness/backends.h"
#include "harness/build_contents.h"
#include "harness/cli/machine.h"
#include "harness/cli/report_options.h"
#include "harness/cli/run_support.h"
#include "harness/cli/save_failures.h"
#include "harness/cli/verbs.h"
#include "harness/cli/verdict_exit.h"
#include "harness/cpu_variants.h"
#include "harness/ledger.h"
#include "harness/run/blob_store.h"
#include "harness/run/runner.h"
#include "harness/version.h"
#include "reports/console.h"
#include "reports/jsonl.h"
#include "reports/multi.h"
#include "reports/progress.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

struct RunArguments {
  std::string op;
  std::vector<std::string> backends, lines, ggml;
  std::string suite, cases_file, jsonl, resume, ledger, shard;
  std::uint64_t seed = 0;
  std::int64_t rows = 0;
  int jobs = 0, repeat = 1;
  double timeout = 0, key_budget = 0;
  std::string max_memory, debug, relations;
  bool no_cache = false, fail_fast = false, oracle_full = false, in_process = false, strict_prec = false,
       skip_unavailable = false, no_blindness = false;
  ReportFiles reports;
  SaveFailures save;
  HistoryOptions history;
};

// `standard`: what the suite asks for.
Expected<RunPlan> choose_cases(const RunArguments& a, RelationChoice& standard) {
  RunPlan plan;
  if (!a.lines.empty()) {
    for (const auto& line : a.lines) {
      auto c = parse_case(line);
      if (!c) return Unexpected(c.error());
      const bool again =
          std::any_of(plan.cases.begin(), plan.cases.end(), [&](const Case& other) { return text(other) == text(*c); });
      if (!again) plan.cases.push_back(std::move(*c));
    }
  } else {
    auto suite = a.cases_file.empty() ? load_suite(a.suite.empty() ? "quick" : a.suite) : load_case_file(a.cases_file);
    if (!suite) return Unexpected(suite.error());
    plan.suite = suite->name;
    standard = suite->relations;
    plan.cases = std::move(suite->cases);
  }
  if (!a.op.empty()) {
    const auto op = operation(a.op);
    if (!op) return Unexpected(op.error());
    std::erase_if(plan.cases, [&](const Case& c) { return c.op != *op; });
  }
  for (Case& c : plan.cases) c.seed += a.seed;
  if (plan.cases.empty()) return harness_error("0 cases selected: nothing was compared");
  const auto shard = a.shard.empty() ? shard_from_environment(std::getenv) : parse_shard(a.shard);
  if (!shard) return Unexpected(shard.error());
  plan.shard = *shard;
  return plan;
}

// Entries that may pass now and then but whose cases all passed: as bad as XPASS. Says what to take out.
bool ledger_is_outdated(const Ledger& ledger) {
  const auto leftovers = ledger.finish();
  for (const LedgerEntry* entry : leftovers.never_failed) {
    fmt::print(stderr, "attest: {}:{}: XPASS: every case of this entry passed: take it out ({})\n", ledger.file(),
               entry->file_line, entry->reason);
  }
  for (const LedgerEntry* entry : leftovers.unused) {
    fmt::print(stderr, "attest: {}:{}: note: this entry matched no case of this run\n", ledger.file(),
               entry->file_line);
  }
  return !leftovers.never_failed.empty();
}

// The record to be continued. One that is not there, or ends before its first line does, starts the run.
Expected<RecordFile> earlier_part(const std::string& path) {
  if (!std::filesystem::exists(path)) {
    fmt::print(stderr, "attest: {} is not there: the run starts at its beginning\n", path);
    return RecordFile{path, {}, {}};
  }
  return read_record_file(path);
}

// Keeps what the exit code needs to know.
class Watcher : public RunListener {
 public:
  void on_start(const RunHeader& started) override { header = started; }
  void on_verdict(const VerdictRecord& record) override { prec_not_honoured += record.prec_not_honoured ? 1 : 0; }
  RunHeader header;
  std::int64_t prec_not_honoured = 0;
};

int skipped(const Error& why, const std::string& jsonl) {
  // An earlier run's record must not pass for this one's; one that another run is writing is left alone.
  std::error_code none;
  if (std::filesystem::is_regular_file(jsonl, none) && JsonlReporter::open(jsonl)) std::filesystem::remove(jsonl, none);
  fmt::print(stderr, "attest: skipped: {}\n", why.text());
  return kUnavailable;
}

bool names_ggml(const std::vector<std::string>& backends) {
  return std::any_of(backends.begin(), backends.end(), [](const std::string& b) { return b.rfind("ggml", 0) == 0; });
}

// With --skip-unavailable: kUnavailable where a named backend exists but cannot be had on this machine.
int check_available(const std::vector<std::string>& backends, const SubjectMaker& make_subject,
                    const std::string& jsonl) {
  for (const auto& backend : backends) {
    auto started = make_subject(backend, {})->start();
    if (started) continue;
    if (started.error().kind == ErrorKind::input) return report_backend(std::move(started.error()));
    return skipped(started.error(), jsonl);
  }
  return kOk;
}

// What a line that repeats one case needs besides backend and case. Seeds are already in the line.
std::string repro_options(const RunArguments& a) {
  std::string options;
  const auto add = [&](const std::string& words) { options += (options.empty() ? "" : " ") + words; };
  for (const auto& dir : a.ggml) add("--ggml " + shell_quoted(dir));
  if (a.rows != 0) add(fmt::format("--rows {}", a.rows));
  if (a.key_budget > 0) add(fmt::format("--key-budget {}", a.key_budget));
  if (a.oracle_full) add("--oracle full");
  if (a.repeat > 1) add(fmt::format("--repeat {}", a.repeat));
  if (!a.max_memory.empty()) add("--max-memory " + shell_quoted(a.max_memory));
  if (a.timeout > 0) add(fmt::format("--timeout {}", a.timeout));
  return options;
}

// Becomes a debugger on the same run inside one process.
int debug_verb(const RunArguments& a) {
  if (a.lines.empty()) return report(input_error("--debug needs the case to run: --case LINE").value());
  for (const auto& line : a.lines) {
    if (auto c = parse_case(line); !c) return report(c.error());
  }
  std::vector<std::string> words{
      a.debug, a.debug == "gdb" ? "--args" : "--", own_executable().string(), "run", "--in-process", "--jobs", "1"};
  for (const auto& [option, values] : {std::pair{"-b", &a.backends}, {"--ggml", &a.ggml}, {"--case", &a.lines}}) {
    for (const auto& value : *values) words.insert(words.end(), {option, value});
  }
  if (a.seed != 0) words.insert(words.end(), {"--seed", std::to_string(a.seed)});
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  const int why = errno;
  return report(harness_error(fmt::format("cannot start '{}': {}", a.debug, std::strerror(why)),
                              why == ENOENT ? "is it installed, and on PATH?" : "")
                    .value());
}

// What bears on the verdicts besides cases, backends and seed: parts of one run agree in it.
std::string judging_options(const RunArguments& a) {
  std::vector<std::string> words;
  if (a.rows != 0) words.push_back(fmt::format("rows={}", a.rows));
  if (a.key_budget > 0) words.push_back(fmt::format("key-budget={}", a.key_budget));
  if (a.oracle_full) words.push_back("oracle=full");
  if (a.timeout > 0) words.push_back(fmt::format("timeout={}", a.timeout));
  if (a.repeat > 1) words.push_back(fmt::format("repeat={}", a.repeat));
  if (!a.max_memory.empty()) words.push_back("max-memory=" + a.max_memory);
  if (!a.ledger.empty()) {
    const std::string text = read_text_file(a.ledger).value_or("");  // that it cannot be read has been said
    words.push_back(fmt::format("ledger={}:{}", std::filesystem::path(a.ledger).filename().string(),
                                fingerprint_of_text(text)));
  }
  if (!a.relations.empty()) words.push_back("relations=" + a.relations);
  if (a.strict_prec) words.push_back(kStrictPrec);
  if (a.no_blindness) words.push_back("blindness=off");
  return fmt::format("{}", fmt::join(words, " "));
}

int run_verb(const RunArguments& a, const std::string& command) {
  if (!a.debug.empty()) return debug_verb(a);
  RunOptions options;
  auto plan = choose_cases(a, options.relations);
  if (!plan) return report(plan.error());
  if (const auto chosen = choose_relations(a.relations, options.relations); !chosen) return report(chosen.error());
  const auto max_memory = bytes_of(a.max_memory);
  if (!max_memory) return report(max_memory.error());
  remove_old_reports(a.reports);
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) {
    if (a.skip_unavailable && names_ggml(a.backends)) return skipped(environment.error(), a.jsonl);
    return report(environment.error());
  }
  const auto backends = a.backends.empty() ? default_backends(*environment) : a.backends;
  auto expanded = expand_cpu_variants(backends, *environment, runnable_cpu_variants);
  if (!expanded) {
    const bool missing = expanded.error().kind == ErrorKind::harness;
    if (a.skip_unavailable && missing) return skipped(expanded.error(), a.jsonl);
    return report_backend(expanded.error());
  }
  for (const std::string& note : expanded->notes) fmt::print(stderr, "attest: note: {}\n", note);
  plan->backends = std::move(expanded->backends);

  std::optional<Ledger> ledger;
  if (!a.ledger.empty()) {
    auto loaded = load_ledger(a.ledger);
    if (!loaded) return report(loaded.error());
    ledger = std::move(*loaded);
  }

  options.key.rows = a.rows;
  options.key.oracle_full = a.oracle_full;
  const double seconds = a.key_budget > 0 ? a.key_budget : plan->suite == "ggml" ? 1.0 : kKeySeconds;
  options.key.key_flop = seconds * kKeyFlopPerSecond;
  options.jobs = a.jobs;
  options.timeout_s = a.timeout;
  options.repeat = a.repeat;
  options.blindness = !a.no_blindness;
  options.fail_fast = a.fail_fast;
  options.ledger = ledger ? &*ledger : nullptr;
  options.interrupted = &interrupted();
  if (!a.no_cache) options.cache = default_cache_dir();
  const auto bundles = open_bundles(a.save);
  if (!bundles) return report(bundles.error());
  options.failures = bundles->get();
  const SubjectMaker maker = subject_maker(*environment, a.in_process, *max_memory);
  if (a.skip_unavailable) {
    if (const int code = check_available(plan->backends, maker, a.jsonl); code != kOk) return code;
  }

  FdSink out = FdSink::standard_output(), err = FdSink::standard_error();
  ConsoleReporter console(out, {.color = wants_color(out), .repro_options = repro_options(a)});
  ProgressReporter progress(err);
  Watcher watcher;
  std::vector<RunListener*> listeners{&watcher, &progress};
  std::unique_ptr<JsonlReporter> jsonl;
  RecordFile earlier;
  std::uintmax_t size_read = 0;
  if (!a.resume.empty()) {
    std::error_code missing;  // then the size is -1, and of no interest
    size_read = std::filesystem::file_size(a.resume, missing);
    auto read = earlier_part(a.resume);
    if (!read) return report(read.error());
    earlier = std::move(*read);
    options.earlier = &earlier;
  }
  if (const std::string& path = a.resume.empty() ? a.jsonl : a.resume; !path.empty()) {
    auto opened = JsonlReporter::open(path, a.resume.empty() ? FileMode::replace : FileMode::append);
    if (!opened) return report(opened.error());
    // Locked from here on. The reporter may have ended a line that a kill cut short.
    std::error_code not_a_file;
    const std::uintmax_t size = std::filesystem::file_size(path, not_a_file);
    if (!a.resume.empty() && !not_a_file && size > size_read + 1) {
      const Expected<void> busy = harness_error(path + " was just written by another process: try again");
      return report(busy.error());
    }
    jsonl = std::move(*opened);
    listeners.push_back(jsonl.get());
  }
  FileReporter files(a.reports, repro_options(a));
  if (a.reports.any()) listeners.push_back(&files);
  const bool resumed = options.earlier != nullptr && !earlier.runs.empty();
  const auto history = open_history(a.history, resumed ? std::optional(earlier.runs.front()) : std::nullopt);
  if (!history) return report(history.error());
  if (*history) listeners.push_back(history->get());
  listeners.push_back(&console);
  MultiListener all(listeners);

  RunHeader header = machine_header();
  header.commit = commit_under_test(a.history);
  header.version = kVersion;
  header.command = command;
  header.suite = plan->suite;
  header.seed = a.seed;
  header.options = judging_options(a);
  const auto summary = run(*plan, options, maker, header, all);
  const bool saved = tell_saved(a.save, bundles->get());
  if (!summary) return report(summary.error());
  if (!saved && !summary->interrupted) return kHarness;
  // A shard does not see every case of an entry.
  const bool outdated = ledger && plan->shard.count <= 1 && ledger_is_outdated(*ledger);
  return verdict_exit(*summary, watcher.header, outdated || (a.strict_prec && watcher.prec_not_honoured > 0));
}

std::string command_line(const RunArguments& a) {
  std::string command = "attest run";
  for (const auto& b : a.backends) command += fmt::format(" -b '{}'", b);
  if (!a.suite.empty()) command += " --suite " + a.suite;
  if (!a.cases_file.empty()) command += " --cases " + a.cases_file;
  for (const auto& l : a.lines) command += fmt::format(" --case '{}'", l);
  if (a.seed != 0) command += fmt::format(" --seed {}", a.seed);
  if (a.rows != 0) command += fmt::format(" --rows {}", a.rows);
  if (!a.relations.empty()) command += " --relations " + a.relations;
  return command;
}

}  // namespace

Verb add_run(CLI::App& app) {
  auto a = std::make_shared<RunArguments>();
  CLI::App* run = app.add_subcommand("run", "compare backends with both references over a suite, a file or one line");
  run->add_option("-o,--op", a->op,
                  "only cases of this op: flash_attn_ext, soft_max_ext, set_rows, kv_decode, or in upper case");
  run->add_option("-b,--backend", a->backends,
                  "backend, repeatable: cpu:vec, ggml:CPU,ref, plugin:FILE.so, process:COMMAND ... (attest list backends); "
                  "ggml:CPU,variant=*: every CPU variant this machine can execute; default: every available one")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  auto* suite =
      run->add_option("--suite", a->suite, "built-in suite or a .toml file (attest list suites); default quick");
  auto* line = run->add_option("--case", a->lines, "one case line, repeatable: a descriptor or a test-backend-ops line")
                   ->expected(1)
                   ->take_all()
                   ->allow_extra_args(false);
  auto* file = run->add_option("--cases", a->cases_file, "file with one case line per line");
  suite->excludes(line)->excludes(file);
  line->excludes(file);
  run->add_option("--ggml", a->ggml,
                  "ggml build directory, DIR or NAME=DIR, repeatable; default: ATTEST_GGML_DIR, then build/ggml/*")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  run->add_option("--seed", a->seed, "added to the seed of every case: other values, same problems");
  add_report_options(*run, a->reports);
  auto* jsonl = run->add_option("--jsonl", a->jsonl, "write the record of truth to this file, one verdict per line");
  add_history_options(*run, a->history);
  run->add_option("--resume", a->resume,
                  "continue the run this JSONL file records: verdicts in it stand, the rest is appended")
      ->excludes(jsonl);
  run->add_option(
      "--shard", a->shard,
      "I/N: only the I-th of N parts of equal cost, 0 <= I < N (attest merge joins their records); default: "
      "GTEST_SHARD_INDEX and GTEST_TOTAL_SHARDS, or TEST_SHARD_INDEX and TEST_TOTAL_SHARDS");
  run->add_option("--ledger", a->ledger, "TOML file of known failures: tolerated ones become XFAIL");
  add_save_options(*run, a->save);
  run->add_flag("--fail-fast", a->fail_fast, "stop at the first bad verdict");
  run->add_option("--rows", a->rows, "judge at most N rows per case (seeded choice)")->check(CLI::PositiveNumber);
  run->add_option(
         "--jobs", a->jobs,
         "slots working at a time, each a judge and a subject process; default: number of cores. A case with threads=N "
         "takes N of them")
      ->check(CLI::PositiveNumber);
  run->add_option("--timeout", a->timeout, "seconds a backend may take for a case (default: from its cost)")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  run->add_option("--max-memory", a->max_memory, "memory a subject process may allocate, e.g. 4G");
  run->add_option("--key-budget", a->key_budget, "seconds of reference work per case; above it a seeded choice of rows")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  run->add_option_function<std::string>(
         "--oracle", [a](const std::string& how) { a->oracle_full = how == "full"; },
         "'full': the scalar oracle confirms every judged row; 'sample' (default): a seeded sample and rows in doubt")
      ->check(CLI::IsMember({"full", "sample"}));
  run->add_option("--repeat", a->repeat, "run each case N times in one subject; other bits are NONDETERMINISTIC")
      ->check(CLI::PositiveNumber);
  add_blindness_option(*run, a->no_blindness);
  add_relations_option(*run, a->relations, "what the suite names, none for single lines");
  run->add_flag("--no-cache", a->no_cache,
                "work every key out anew; else keys and budgets are kept in ATTEST_CACHE_DIR or the user's cache "
                "directory (2 GiB at most)");
  run->add_flag("--in-process", a->in_process, "run backends in this process, for debuggers");
  run->add_option("--debug", a->debug, "gdb or lldb: run --case LINE under this debugger, backend in the same process")
      ->check(CLI::IsMember({"gdb", "lldb"}));
  run->add_flag("--strict-prec", a->strict_prec, "prec=f32 answered by a narrower accumulator counts as bad");
  run->add_flag("--skip-unavailable", a->skip_unavailable, "exit 77 when a named backend is not available here");
  run->footer(kExitCodes);
  return [a] { return run_verb(*a, command_line(*a)); };
}

}  // namespace attest::cli
