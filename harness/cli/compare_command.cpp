// attest compare: what has changed between two runs, wherever they are kept.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

#include "harness/cli/verbs.h"
#include "harness/merge.h"
#include "reports/file_reports.h"
#include "reports/history/comparison_page.h"
#include "reports/history/comparison_text.h"
#include "reports/history/history.h"
#include "reports/sink.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

struct CompareArguments {
  std::string a, b, db, fail_on = "new-failure,coverage", suite, html;
  std::vector<std::string> backends;
  double grown = 2, slower = 10;
  std::size_t limit = 10;
};

// Histories stay open while their runs are read.
using Histories = std::vector<std::unique_ptr<History>>;

bool is_sqlite(const std::string& path) {
  char magic[15] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "SQLite format 3";
}

std::optional<std::int64_t> number_in(std::string_view text) {
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return n;
}

// Whether a build id names the revision: "ggml 0.25.1 (0ad4a86) icelake".
bool names(const std::string& build, const std::string& commit) {
  for (auto at = build.find(commit); at != std::string::npos; at = build.find(commit, at + 1)) {
    if (at == 0 || std::isalnum(static_cast<unsigned char>(build[at - 1])) == 0) return true;
  }
  return false;
}

constexpr std::size_t kShortestCommit = 4;

// Run number, last, last~N, or a commit: its last run.
Expected<StoredRun> chosen(const std::vector<StoredRun>& runs, const std::string& word, const std::string& db) {
  if (const auto id = number_in(word)) {
    for (const StoredRun& run : runs) {
      if (run.id == *id) return run;
    }
  }
  if (word == "last" || word.rfind("last~", 0) == 0) {
    const auto back = word == "last" ? 0 : number_in(word.substr(5)).value_or(-1);
    if (back < 0 || back >= static_cast<std::int64_t>(runs.size())) {
      return input_error(fmt::format("there is no run '{}' in {}: it holds {}", word, db, runs.size()));
    }
    return runs[runs.size() - 1 - static_cast<std::size_t>(back)];
  }
  // A few characters are the beginning of many a commit; a tag may be as short, and is meant whole.
  const bool begins = word.size() >= kShortestCommit;
  const StoredRun* found = nullptr;
  std::set<std::string> commits;
  for (const StoredRun& run : runs) {
    const RunHeader& h = run.header;
    const bool says = h.commit == word || (begins && h.commit.rfind(word, 0) == 0);
    const bool built = begins && std::any_of(h.build_ids.begin(), h.build_ids.end(),
                                             [&](const std::string& build) { return names(build, word); });
    if (says) commits.insert(h.commit);
    if (says || built) found = &run;
  }
  if (commits.size() > 1) {
    return input_error(fmt::format("commit '{}' is ambiguous in {}: {}", word, db, fmt::join(commits, ", ")));
  }
  if (found != nullptr) return *found;
  return input_error(
      fmt::format("'{}' is no file, and no run or commit in {}", word, db),
      fmt::format("attest history --db {} lists them; {} characters of a commit are enough", db, kShortestCommit));
}

Expected<BriefRun> from_history(const std::string& db, const std::string& word, const CompareArguments& a,
                                Histories& histories) {
  auto opened = History::open(db, false);
  if (!opened) return Unexpected(opened.error());
  histories.push_back(std::make_unique<History>(std::move(*opened)));
  auto runs = histories.back()->runs();
  if (!runs) return Unexpected(runs.error());
  if (!a.suite.empty()) std::erase_if(*runs, [&](const StoredRun& run) { return run.header.suite != a.suite; });
  if (runs->empty()) {
    return input_error(fmt::format("{} holds no run{}", db, a.suite.empty() ? "" : " of suite " + a.suite));
  }
  const auto run = chosen(*runs, word, db);
  if (!run) return Unexpected(run.error());
  auto read = histories.back()->read(*run);
  if (read && a.db.empty()) read->name = fmt::format("{}, run {}", db, run->id);
  return read;
}

Expected<BriefRun> resolve(const std::string& word, const CompareArguments& a, Histories& histories) {
  if (word.empty()) {
    return input_error("an empty word names no run", "is a variable of the shell not set?");
  }
  std::error_code none;
  if (std::filesystem::is_regular_file(word, none)) {
    if (is_sqlite(word)) return from_history(word, "last", a, histories);
    return read_record_file(word).and_then(
        [](RecordFile file) { return one_run(file).and_then([&] { return brief(std::move(file)); }); });
  }
  if (a.db.empty()) {
    return input_error(fmt::format("there is no file '{}'", word),
                       "a run number or a commit needs --db FILE, the history it is in");
  }
  return from_history(a.db, word, a, histories);
}

int compare_verb(const CompareArguments& a) {
  const auto fail_on = parse_changes(a.fail_on);
  if (!fail_on) {
    Error error = fail_on.error();
    error.message = "--fail-on: " + error.message;
    return report(error);
  }
  CompareOptions options;
  options.grown = a.grown;
  options.slower = a.slower / 100;
  Histories histories;
  const auto left = resolve(a.a, a, histories);
  if (!left) return report(left.error());
  const auto right = resolve(a.b, a, histories);
  if (!right) return report(right.error());
  for (const std::string& word : a.backends) {
    auto named = backend_pair(*left, *right, word);
    if (!named) return report(named.error());
    options.backends.push_back(std::move(*named));
  }
  const auto comparison = compare_runs(*left, *right, options);
  if (!comparison) return report(comparison.error());

  std::string text = comparison_text(*comparison, *left, *right, a.limit);
  const auto asked = [&](Change change) {
    return std::find(fail_on->begin(), fail_on->end(), change) != fail_on->end();
  };
  std::vector<std::string_view> found;
  for (const ChangeInfo& change : all_changes()) {
    if (asked(change.change) && comparison->has(change.change)) found.push_back(change.word);
  }
  // What cannot be said is not fine.
  const std::int64_t open = asked(Change::bits) ? comparison->bits_unknown : 0;
  if (fail_on->empty()) {
    text += "nothing was asked to fail on (--fail-on none)\n";
  } else if (found.empty() && open > 0) {
    text += fmt::format("NOT KNOWN: bits of {} (--fail-on {})\n", count_of(open, "case", "cases"), a.fail_on);
  } else if (found.empty()) {
    text += fmt::format("no regression (--fail-on {})\n", a.fail_on);
  } else {
    text += fmt::format("REGRESSION: {} (--fail-on {})\n", fmt::join(found, ", "), a.fail_on);
  }
  if (!a.html.empty()) {
    const auto written = write_whole(a.html, comparison_page(*comparison, *left, *right, options));
    if (!written) return report(written.error());
  }
  FdSink out = FdSink::standard_output();
  if (const auto written = out.write(text); !written) return report(written.error());
  return found.empty() && open == 0 ? kOk : kBad;
}

std::string words_and_meanings() {
  std::string text = "What may have changed (words for --fail-on, but for fixed):\n";
  for (const ChangeInfo& change : all_changes()) text += fmt::format("  {:<14}{}\n", change.word, change.meaning);
  return text;
}

}  // namespace

Verb add_compare(CLI::App& app) {
  auto a = std::make_shared<CompareArguments>();
  CLI::App* verb = app.add_subcommand("compare", "what has changed between two runs: verdicts, errors, bits, times");
  verb->add_option("A", a->a,
                   "a JSONL file, or in --db: a run's number, last, last~N, or 4 characters or more of a commit (its "
                   "last run)")
      ->required();
  verb->add_option("B", a->b, "what is held against A")->required();
  verb->add_option("--db", a->db, "the history that numbers and commits are of; a history as A or B is its last run");
  verb->add_option("-b,--backend", a->backends,
                   "compare this backend, repeatable; X=Y holds Y of B against X of A; default: all that are in both")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  verb->add_option("--suite", a->suite, "only runs of this suite, where a commit has several");
  verb->add_option("--fail-on", a->fail_on,
                   "exit 1 where there is one of these, with commas between them, or all or none; default "
                   "new-failure,coverage");
  verb->add_option("--grown", a->grown, "factor above which an error has grown; default 2")
      ->check(CLI::Range(1.0, 1e9))
      ->check(finite());
  verb->add_option("--slower", a->slower, "percent above which a case or path is slower; default 10")
      ->check(CLI::NonNegativeNumber)
      ->check(finite());
  verb->add_option("--html", a->html, "write one self-contained HTML page with A against B as plots to this file");
  verb->add_option("--limit", a->limit, "groups shown of each kind; default 10")->check(CLI::PositiveNumber);
  verb->footer(
      words_and_meanings() +
      "Cases are the same where their lines are. Suites, seeds, options, machines and backends that differ are\n"
      "said as warnings; where nothing is in both, that is an error. Exit codes: 0 no regression of --fail-on; 1\n"
      "some, or bits are asked for and not known; 2 no such run, or nothing in common; 3 a file cannot be read.");
  return [a] { return compare_verb(*a); };
}

}  // namespace attest::cli
