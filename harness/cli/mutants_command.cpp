// attest mutants: does the judge see deliberate bugs, and does it leave legal variants alone?
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "backends/metal/mutants.h"
#include "cases/cache_dir.h"
#include "cases/suites/suite.h"
#include "harness/cli/machine.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/mutants/kill_report.h"
#include "harness/run/blob_store.h"
#include "harness/version.h"
#include "reports/jsonl.h"
#include "reports/multi.h"
#include "reports/progress.h"

namespace attest::cli {

namespace {

// What the classical rules are tried on beside the suite: suite ggml takes hours over all mutants.
constexpr std::size_t kGgmlEvery = 20;
constexpr double kGgmlFlop = 1e8;

struct MutantsArguments {
  std::string suite = "quick", jsonl, html, markdown;
  std::vector<std::string> names;
  std::uint64_t seed = 0;
  int jobs = 0;
  bool metal = false, rules = false, full = false, legal = false, no_cache = false;
};

// The rows asked for: by name, with or without what stands before it, or all.
Expected<std::vector<Suspect>> choose(const MutantsArguments& a) {
  std::vector<Suspect> all, chosen;
  if (!a.legal) {
    for (MutantRow& row : a.metal ? metal::mutant_rows() : mutant_rows())
      all.push_back({std::move(row), false, {}, 0, {}, {}});
  }
  for (MutantRow& row : a.metal ? metal::production_rows() : legal_rows())
    all.push_back({std::move(row), true, {}, 0, {}, {}});
  if (a.names.empty()) return all;
  const std::string before = a.metal ? "metal:sim,mutant=" : "mutant:";
  std::vector<std::string> words;
  for (const Suspect& s : all) words.push_back(s.row.backend);
  for (const std::string& name : a.names) {
    const auto same = [&](const Suspect& s) { return s.row.backend == name || s.row.backend == before + name; };
    const auto at = std::find_if(all.begin(), all.end(), same);
    if (at == all.end()) {
      const std::string full_name = name.find(':') == std::string::npos ? before + name : name;
      return input_error(fmt::format("no mutant is called '{}'", name), did_you_mean(full_name, words));
    }
    if (std::none_of(chosen.begin(), chosen.end(), same)) chosen.push_back(*at);
  }
  return chosen;
}

Expected<KillPart> ggml_sample(std::vector<Case>& cases) {
  auto suite = load_suite("ggml");
  if (!suite) return Unexpected(suite.error());
  for (std::size_t i = 0; i < suite->cases.size(); i += kGgmlEvery) {
    if (flop(suite->cases[i].problem) <= kGgmlFlop) cases.push_back(suite->cases[i]);
  }
  KillPart part;
  part.suite = "ggml";
  part.about = fmt::format("every {}th line of suite ggml that costs at most {:g} flop", kGgmlEvery, kGgmlFlop);
  return part;
}

// Runs every suspect over the cases; fills the part. True: interrupted.
Expected<bool> judge(const MutantsArguments& a, const std::vector<Suspect>& suspects, std::vector<Case> cases,
                     KillPart& part, RunListener* jsonl, std::int64_t& oracle_faults) {
  RunPlan plan;
  plan.cases = std::move(cases);
  plan.suite = part.suite;
  for (Case& c : plan.cases) c.seed += a.seed;
  if (a.rules) plan.backends.emplace_back(kStandardParty);
  for (const Suspect& s : suspects) plan.backends.push_back(s.row.backend);

  KillMatrix matrix(suspects, {a.full, a.rules});
  RunOptions options;
  options.key.key_flop = kKeySeconds * kKeyFlopPerSecond;
  options.jobs = a.jobs;
  options.cheapest_first = true;
  options.blindness = false;
  options.leaves = [&](const VerdictRecord& record) { return matrix.leaves(record); };
  options.interrupted = &interrupted();
  if (!a.no_cache) options.cache = default_cache_dir();

  FdSink err = FdSink::standard_error();
  ProgressReporter progress(err);
  matrix.on_leave = [&](std::int64_t verdicts) { progress.expect_fewer(verdicts); };
  std::vector<RunListener*> listeners{&matrix, &progress};
  if (jsonl != nullptr) listeners.push_back(jsonl);
  MultiListener all(listeners);
  RunHeader header = machine_header();
  header.version = kVersion;
  header.command = "attest mutants --suite " + part.suite;
  header.suite = part.suite;
  header.seed = a.seed;
  const auto summary = run(plan, options, subject_maker({}, false, 0), header, all);
  if (!summary) return Unexpected(summary.error());
  part.cases = static_cast<std::int64_t>(plan.cases.size());
  part.suspects = matrix.suspects();
  oracle_faults += matrix.oracle_faults();
  return summary->interrupted;
}

Expected<void> write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  auto sink = open_file_sink(path, FileMode::replace);
  if (!sink) return Unexpected(sink.error());
  return (*sink)->write(text);
}

int mutants_verb(const MutantsArguments& a, const std::string& command) {
  const auto suspects = choose(a);
  if (!suspects) return report(suspects.error());
  auto suite = load_suite(a.suite);
  if (!suite) return report(suite.error());
  // The bugs are bugs of attention kernels: the other ops have tests of their own.
  std::erase_if(suite->cases, [](const Case& c) { return c.problem.op != Op::flash_attn_ext; });
  if (suite->cases.empty()) return report(harness_error("0 cases selected: nothing was compared").value());
  std::unique_ptr<JsonlReporter> jsonl;
  if (!a.jsonl.empty()) {
    auto opened = JsonlReporter::open(a.jsonl, FileMode::replace);
    if (!opened) return report(opened.error());
    jsonl = std::move(*opened);
  }

  const double start = steady_seconds();
  KillReport kills;
  kills.command = command;
  kills.rules = a.rules;
  kills.main.suite = suite->name;
  std::int64_t oracle_faults = 0;
  auto stopped = judge(a, *suspects, std::move(suite->cases), kills.main, jsonl.get(), oracle_faults);
  if (stopped && !*stopped && a.rules) {
    std::vector<Case> cases;
    auto part = ggml_sample(cases);
    if (!part) return report(part.error());
    stopped = judge(a, *suspects, std::move(cases), *part, nullptr, oracle_faults);
    kills.others.push_back(std::move(*part));
  }
  if (!stopped) return report(stopped.error());
  kills.wall_s = steady_seconds() - start;
  if (*stopped) {
    fmt::print(stderr, "attest: interrupted: no kill matrix\n");
    return kInterrupted;
  }

  FdSink out = FdSink::standard_output();
  if (auto written = out.write(kill_console(kills, true)); !written) return report(written.error());
  for (const auto& [path, text] : {std::pair{a.html, kill_html(kills)}, {a.markdown, kill_markdown(kills)}}) {
    if (auto written = write_file(path, text); !written) return report(written.error());
  }
  if (oracle_faults > 0) {
    fmt::print(stderr, "attest: error: the references contradict each other in {} verdicts: a bug of attest\n",
               oracle_faults);
    return kBad;
  }
  const KillScore s = score(kills.main.suspects);
  return s.killed == s.mutants && s.false_alarms == 0 ? kOk : kBad;
}

std::string command_line(const MutantsArguments& a) {
  std::string command = "attest mutants";
  if (a.suite != "quick") command += " --suite " + a.suite;
  for (const auto& name : a.names) command += " --mutant " + name;
  if (a.metal) command += " --metal";
  if (a.seed != 0) command += fmt::format(" --seed {}", a.seed);
  if (a.legal) command += " --legal";
  if (a.rules) command += " --rules";
  if (a.full) command += " --full-matrix";
  return command;
}

}  // namespace

Verb add_mutants(CLI::App& app) {
  auto a = std::make_shared<MutantsArguments>();
  CLI::App* mutants = app.add_subcommand(
      "mutants", "prove the judge: which deliberate bugs a suite sees, and whether it leaves legal variants alone");
  mutants->add_option("--suite", a->suite, "built-in suite or a .toml file (attest list suites); default quick");
  mutants
      ->add_option("-m,--mutant", a->names,
                   "only this mutant or legal variant, repeatable: gqa-modulo, legal:p-bf16 (attest list mutants)")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  mutants->add_flag("--metal", a->metal,
                    "the bugs in our Metal kernels, on the simulator; those kernels as they are must not be flagged");
  mutants->add_flag("--legal", a->legal, "only the legal variants");
  mutants->add_flag("--rules", a->rules,
                    "the classical rules beside it (NMSE, allclose, 2x standard attention, cosine), on this suite and "
                    "on a sample of suite ggml");
  mutants->add_flag("--full-matrix", a->full, "every mutant over every case; else it leaves at its first kill");
  mutants->add_option("--seed", a->seed, "added to the seed of every case: other values, same problems");
  mutants->add_option("--jobs", a->jobs, "slots working at a time; default: number of cores")
      ->check(CLI::PositiveNumber);
  mutants->add_flag("--no-cache", a->no_cache, "work every key out anew");
  mutants->add_option("--jsonl", a->jsonl, "write every verdict to this file, as attest run does");
  mutants->add_option("--html", a->html, "write the kill matrix to this file, one self-contained page");
  mutants->add_option("--markdown", a->markdown, "write the tables by class and by rule to this file");
  mutants->footer(
      "Exit codes: 0 every mutant killed and no legal variant flagged; 1 a mutant survived, or a false alarm; 2 usage\n"
      "or bad input; 3 the harness could not do its work; 130 interrupted.");
  return [a] { return mutants_verb(*a, command_line(*a)); };
}

}  // namespace attest::cli
