// attest check: bundles and captured tensors, judged like any other case.
#include <fmt/format.h>

#include <memory>

#include "harness/backends.h"
#include "harness/check/captured.h"
#include "harness/check/expected_subject.h"
#include "harness/cli/machine.h"
#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/cli/verdict_exit.h"
#include "harness/version.h"
#include "reports/console.h"
#include "reports/multi.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

struct CheckArguments {
  std::vector<std::string> paths, names, backends, ggml;
  std::string jsonl, max_memory;
  std::int64_t rows = 0;
  int jobs = 0;
  double timeout = 0;
  bool oracle_full = false, strict_prec = false;
};

class HeaderWatch : public RunListener {
 public:
  void on_start(const RunHeader& started) override { header = started; }
  void on_verdict(const VerdictRecord& record) override { prec_not_honoured += record.prec_not_honoured ? 1 : 0; }
  RunHeader header;
  std::int64_t prec_not_honoured = 0;
};

std::string command_line(const CheckArguments& a) {
  std::string command = "attest check";
  for (const auto& path : a.paths) command += " " + shell_quoted(path);
  for (const auto& name : a.names) command += " --case " + shell_quoted(name);
  for (const auto& b : a.backends) command += " -b " + shell_quoted(b);
  return command;
}

int check_verb(const CheckArguments& a) {
  const auto captured = CapturedCases::open(a.paths, a.names);
  if (!captured) return report(captured.error());
  const CapturedCases& cases = **captured;
  const auto max_memory = bytes_of(a.max_memory);
  if (!max_memory) return report(max_memory.error());
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  RunPlan plan;
  plan.cases = cases.cases();
  plan.suite = "check";
  plan.backends = a.backends;
  for (const auto& backend : plan.backends) {
    if (auto spec = BackendSpec::parse(backend); !spec) return report_backend(spec.error());
  }
  if (cases.any_expected()) plan.backends.insert(plan.backends.begin(), kFileParty);
  if (plan.cases.empty()) return report(harness_error("0 cases: nothing was compared").value());
  if (plan.backends.empty()) {
    return report(input_error("nothing to judge: no case names an expected output", "name a backend with -b").value());
  }

  RunOptions options;
  options.tensors = &cases;
  options.key.rows = a.rows;
  options.key.oracle_full = a.oracle_full;
  options.key.key_flop = kKeySeconds * kKeyFlopPerSecond;
  options.jobs = a.jobs;
  options.timeout_s = a.timeout;
  options.blindness = false;  // nobody chose these values to show a feature
  options.interrupted = &interrupted();
  const SubjectMaker of_backends = subject_maker(*environment, false, *max_memory);
  const SubjectMaker maker = [&](const std::string& backend, const std::vector<int>& places) {
    return backend == kFileParty ? make_expected_subject(cases) : of_backends(backend, places);
  };

  FdSink out = FdSink::standard_output();
  ConsoleReporter console(out, {.color = wants_color(out), .repro_options = ggml_words(a.ggml)});
  HeaderWatch watch;
  std::vector<RunListener*> listeners{&watch};
  const auto jsonl = add_jsonl(a.jsonl, listeners);
  if (!jsonl) return report(jsonl.error());
  listeners.push_back(&console);
  MultiListener all(listeners);
  RunHeader header = machine_header();
  header.version = kVersion;
  header.command = command_line(a);
  header.suite = plan.suite;
  if (a.strict_prec) header.options = kStrictPrec;
  const auto summary = run(plan, options, maker, header, all);
  if (cases.duplicates() > 0) {
    fmt::print("{} with tensors and expected output of another: judged once\n", count_of(cases.duplicates(), "bundle", "bundles"));
  }
  if (!summary) return report(summary.error());
  return verdict_exit(*summary, watch.header, a.strict_prec && watch.prec_not_honoured > 0);
}

}  // namespace

Verb add_check(CLI::App& app) {
  auto a = std::make_shared<CheckArguments>();
  CLI::App* check = app.add_subcommand(
      "check",
      "judge bundles (--save-failures) and tensors captured from real models, as .npy or .safetensors with a manifest");
  check->add_option("path", a->paths, "manifest (TOML), or a directory below which every manifest.toml is one")
      ->required();
  add_backend_options(*check, a->backends, a->ggml, "none: only the expected outputs that manifests name are judged");
  check->add_option("--case", a->names, "only cases of this name, a glob that must name one; repeatable")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  check->add_option("--jsonl", a->jsonl, "write the record of truth to this file, one verdict per line");
  check->add_option("--rows", a->rows, "judge at most N rows per case (seeded choice)")->check(CLI::PositiveNumber);
  check->add_option("--jobs", a->jobs, "slots working at a time; default: number of cores")->check(CLI::PositiveNumber);
  check->add_option("--timeout", a->timeout, "seconds a backend may take for a case (default: from its cost)")
      ->check(CLI::PositiveNumber)
      ->check(finite());
  check->add_option("--max-memory", a->max_memory, "memory a subject process may allocate, e.g. 4G");
  check
      ->add_option_function<std::string>(
          "--oracle", [a](const std::string& how) { a->oracle_full = how == "full"; },
          "'full': the scalar oracle confirms every judged row; 'sample' (default): a seeded sample and rows in doubt")
      ->check(CLI::IsMember({"full", "sample"}));
  check->add_flag("--strict-prec", a->strict_prec, "prec = \"f32\" answered by a narrower accumulator counts as bad");
  check->footer(kExitCodes);
  return [a] { return check_verb(*a); };
}

}  // namespace attest::cli
