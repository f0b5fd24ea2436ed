// attest shrink: a failing line made as plain as it can be.
#include <fmt/format.h>

#include <memory>

#include "backends/ggml/backend.h"
#include "cases/file_io.h"
#include "harness/backends.h"
#include "harness/bisect/bisect.h"
#include "harness/build_contents.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/key.h"
#include "harness/shrink/run_examiner.h"
#include "harness/version.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

constexpr std::size_t kWidth = 100, kLabel = 10;

struct ShrinkArguments {
  std::string line, state, corpus, max_memory, relations, keep = "class";
  std::vector<std::string> backends, ggml;
  std::int64_t most_runs = ShrinkOptions{}.most_runs;
  double timeout = 0;
  int repeat = 1;
  bool quiet = false;
};

void say(std::string_view label, std::string_view text) {
  fmt::print("{:<{}}{}\n", label, kLabel, wrapped(printable(text), kWidth, kLabel));
}

// Appends the line unless one of the file means the same.
Expected<bool> append(const std::string& path, const Case& c) {
  std::string whole;
  if (const auto there = read_text_file(path)) {
    whole = *there;
  } else if (there.error().message.find("No such file") == std::string::npos) {
    return Unexpected(there.error());
  }
  for (std::size_t at = 0; at < whole.size();) {
    const std::size_t end = std::min(whole.find('\n', at), whole.size());
    const std::string line = whole.substr(at, std::min(whole.find(" #", at), end) - at);
    if (const auto known = parse_case(line); known && text(*known) == text(c)) return false;
    at = end + 1;
  }
  if (!whole.empty() && whole.back() != '\n') whole += '\n';
  whole += text(c) + "\n";
  // Whole or not at all: a corpus is worth more than the line that joins it.
  const std::string beside = path + ".new";
  if (auto written = write_file(beside, whole); !written) return Unexpected(written.error());
  if (std::rename(beside.c_str(), path.c_str()) != 0) return harness_error(fmt::format("cannot write '{}'", path));
  return true;
}

std::string options_text(const ShrinkArguments& a) {
  std::string options;
  for (const auto& dir : a.ggml) options += "--ggml " + shell_quoted(dir) + " ";
  if (!a.relations.empty()) options += "--relations " + a.relations + " ";
  if (a.repeat > 1) options += fmt::format("--repeat {} ", a.repeat);
  if (a.timeout > 0) options += fmt::format("--timeout {} ", a.timeout);
  if (!a.max_memory.empty()) options += "--max-memory " + shell_quoted(a.max_memory) + " ";
  return options;
}

// What answers, beyond the name that it gives itself. Of other families the build id says it, or attest's version.
std::string contents_of(const BackendSpec& spec, const BackendEnvironment& environment) {
  if (spec.family == "plugin") return attest::contents_of(spec.variant);
  if (spec.family != "ggml") return "";
  const auto build = choose_ggml_build(spec, environment.ggml);
  return build ? attest::contents_of(build->dir) : "";
}

// What the kept answers are about.
std::string question_of(const ShrinkArguments& a, const VerdictRecord& start, const std::string& contents) {
  return fmt::format("{} {}\t{}\t{} {}\t{}keep={}\t{}", kVersion, key_fingerprint(), start.backend, start.build_id,
                     fingerprint_of_text(contents), options_text(a), a.keep, start.line);
}

bool keeps(const std::string& keep, const Observation& seen, const Observation& wanted) {
  return keep == "bad" ? info(seen.verdict).bad : keep == "verdict" ? seen.verdict == wanted.verdict : seen == wanted;
}

int shrink_verb(const ShrinkArguments& a) {
  const auto parsed = parse_case(a.line);
  if (!parsed) return report(parsed.error());
  if (a.backends.size() != 1) return report(input_error("attest shrink asks one backend", "-b NAME once").value());
  const std::string& backend = a.backends.front();
  const auto spec = BackendSpec::parse(backend);
  if (!spec) return report_backend(spec.error());
  const auto max_memory = bytes_of(a.max_memory);
  if (!max_memory) return report(max_memory.error());
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  RunOptions options;
  if (const auto chosen = choose_relations(a.relations, options.relations); !chosen) return report(chosen.error());
  options.jobs = 1;
  options.blindness = false;
  options.hints = false;  // twenty runs for one
  options.timeout_s = a.timeout;
  options.repeat = a.repeat;
  options.key.key_flop = kKeySeconds * kKeyFlopPerSecond;
  options.interrupted = &interrupted();
  const SubjectMaker maker = subject_maker(*environment, false, *max_memory);

  ShrinkState none;
  RunExaminer first(backend, maker, options, none);
  const auto start = first.record(*parsed);
  if (interrupted()) return kInterrupted;
  if (!start) return report(start.error());
  const Observation seen = observation_of(*start);
  if (!info(seen.verdict).bad) {
    return report(input_error(fmt::format("{} on {}: there is no failure to keep{}", info(seen.verdict).name,
                                          start->backend, start->detail.empty() ? "" : " (" + start->detail + ")"))
                      .value());
  }
  auto state = ShrinkState::open(a.state, question_of(a, *start, contents_of(*spec, *environment)));
  if (!state) return report(state.error());
  RunExaminer examiner(backend, maker, options, *state);
  say("from", text(*parsed));
  say("keeps", seen.text());
  ShrinkOptions shrinking;
  shrinking.keep = a.keep == "bad" ? Keep::bad : a.keep == "verdict" ? Keep::verdict : Keep::class_;
  shrinking.most_runs = a.most_runs;
  const auto result = shrink(
      *parsed, seen, shrinking, [&](const Case& c) { return examiner.examine(c); },
      [&](const Case& c, const std::string& what) {
        if (!a.quiet) fmt::print(stderr, "attest: {:<28} {}\n", what, text(c));
      });
  if (interrupted()) {
    if (!a.state.empty()) fmt::print(stderr, "attest: interrupted; the same command goes on from {}\n", a.state);
    return kInterrupted;
  }
  if (!result) return report(result.error());
  if (state->known() > 0) {
    // Kept answers are of another day. The line is to fail now.
    const auto again = examiner.record(result->minimal);
    if (interrupted()) return kInterrupted;
    if (!again) return report(again.error());
    const Observation now = observation_of(*again);
    if (!keeps(a.keep, now, result->seen)) {
      return report(harness_error(fmt::format("'{}' came to {} when {} was written, and to {} now",
                                              text(result->minimal), result->seen.text(), a.state, now.text()),
                                  "remove that file to ask everything again")
                        .value());
    }
  }

  say("minimal", text(result->minimal));
  say("",
      fmt::format(
          "{}; {} of {} non-default keys left; {} run{}", result->seen.text(), non_default_keys(result->minimal).size(),
          non_default_keys(*parsed).size(), count_of(result->runs, "case", "cases"),
          state->known() > 0
              ? fmt::format(", {} of them known from {}",
                            std::min<std::int64_t>(static_cast<std::int64_t>(state->known()), result->runs), a.state)
              : ""));
  if (!result->note.empty()) say("note", result->note);
  if (result->exhausted) say("note", "--max-runs was reached: there may be a plainer line");
  for (std::size_t i = 0; i < result->remaining.size(); ++i) say(i == 0 ? "kept" : "", result->remaining[i]);
  for (std::size_t i = 0; i < result->bounds.size(); ++i) say(i == 0 ? "bounds" : "", result->bounds[i]);
  fmt::print("{:<{}}attest run {}-b {} --case {}\n", "repro", kLabel, options_text(a), shell_quoted(backend),
             shell_quoted(text(result->minimal)));
  if (a.corpus.empty()) return kOk;
  const auto added = append(a.corpus, result->minimal);
  if (!added) return report(added.error());
  say("corpus", *added ? "appended to " + a.corpus : a.corpus + " has it already");
  return kOk;
}

}  // namespace

Verb add_shrink(CLI::App& app) {
  auto a = std::make_shared<ShrinkArguments>();
  CLI::App* shrink =
      app.add_subcommand("shrink", "make a failing line as plain as it can be while it fails in the same way");
  shrink->add_option("line", a->line, "a descriptor or a test-backend-ops line that fails, quoted")->required();
  add_backend_options(*shrink, a->backends, a->ggml, "none: it must be named");
  shrink
      ->add_option("--keep", a->keep,
                   "what must stay: class (default: verdict and suspected class), verdict, or bad (any bad verdict)")
      ->check(CLI::IsMember({"class", "verdict", "bad"}));
  shrink->add_option("--state", a->state, "keep every answer in this file; the same command goes on from there");
  shrink->add_option("--corpus", a->corpus, "append the minimal line to this file of case lines");
  shrink->add_option("--max-runs", a->most_runs, "most cases to run; default 2000")->check(CLI::PositiveNumber);
  add_relations_option(*shrink, a->relations, "none; name the one that is broken");
  shrink->add_option("--repeat", a->repeat, "run each case N times in one subject, for NONDETERMINISTIC")
      ->check(CLI::PositiveNumber);
  shrink->add_option("--timeout", a->timeout, "seconds a backend may take for a case (default: from its cost)")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  shrink->add_option("--max-memory", a->max_memory, "memory a subject process may allocate, e.g. 4G");
  shrink->add_flag("--quiet", a->quiet, "no line per step on standard error");
  shrink->footer(
      "Exit codes: 0 a minimal line was found; 2 usage, or the line does not fail; 3 the harness could not do\nits "
      "work; 130 interrupted.");
  return [a] { return shrink_verb(*a); };
}

}  // namespace attest::cli
