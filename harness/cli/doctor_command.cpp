// attest doctor: what this machine has, what is missing, how to get it.
#include <fmt/format.h>

#include <memory>

#include "harness/cli/run_support.h"
#include "harness/cli/verbs.h"
#include "harness/doctor.h"
#include "harness/version.h"
#include "reports/sink.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kIndent = 23;  // of what is said behind the name

struct DoctorArguments {
  std::vector<std::string> needed, ggml;
};

std::string_view mark(Finding::State state) {
  switch (state) {
    case Finding::State::here:
      return "ok";
    case Finding::State::missing:
      return "--";
    default:
      return "NO";
  }
}

void print(const std::vector<Finding>& findings) {
  std::string group;
  for (const Finding& f : findings) {
    if (f.group != group) fmt::print("\n{}\n", group = f.group);
    const std::string text = f.says + (f.remedy.empty() ? "" : "; " + f.remedy);
    std::string head = fmt::format("  {} {:<17}", mark(f.state), f.name);
    head += head.size() < kIndent ? " " : "\n" + std::string(kIndent, ' ');
    fmt::print("{}{}\n", head, wrapped(text, kWidth, kIndent));
  }
}

int doctor_verb(const DoctorArguments& a) {
  const auto builds = find_ggml_builds(a.ggml);
  const BackendEnvironment environment = builds ? *builds : BackendEnvironment{};
  const SubjectMaker maker = subject_maker(environment, false, 0);
  auto needed = examine_backends(a.needed, maker);
  if (!needed) return report(needed.error());
  std::vector<Finding> findings = examine_machine(builds, maker);
  findings.insert(findings.end(), needed->begin(), needed->end());
  fmt::print("attest {}\n", kVersion);
  print(findings);

  std::int64_t missing = 0, broken = 0;
  for (const Finding& f : findings) {
    missing += f.state == Finding::State::missing ? 1 : 0;
    broken += f.state == Finding::State::broken ? 1 : 0;
  }
  if (broken > 0) {
    fmt::print("\n{} marked NO: attest cannot do its work as asked\n", count_of(broken, "thing is", "things are"));
    return kHarness;
  }
  fmt::print("\nattest works here; {} marked -- would let it do more\n", count_of(missing, "thing", "things"));
  return kOk;
}

}  // namespace

Verb add_doctor(CLI::App& app) {
  auto a = std::make_shared<DoctorArguments>();
  CLI::App* doctor = app.add_subcommand("doctor", "what this machine has for attest, what is missing, how to get it");
  doctor->add_option("--need", a->needed, "backend that must be available here, repeatable: else exit 3")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  doctor
      ->add_option("--ggml", a->ggml,
                   "ggml build directory, DIR or NAME=DIR, repeatable; default: ATTEST_GGML_DIR, then build/ggml/*")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  doctor->footer(
      "Exit codes: 0 attest works here, whatever is marked -- (missing) among the things it can do without; 2 usage,\n"
      "or a --need that no machine has; 3 something marked NO: attest does not work here, or a --need is not\n"
      "available.");
  return [a] { return doctor_verb(*a); };
}

}  // namespace attest::cli
