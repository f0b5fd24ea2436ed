// attest list: what there is to name.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "backends/metal/mutants.h"
#include "backends/mutant/mutant_backend.h"
#include "cases/families.h"
#include "cases/features.h"
#include "cases/grammar/descriptor.h"
#include "cases/relations.h"
#include "cases/suites/suite.h"
#include "harness/backends.h"
#include "harness/cli/verbs.h"

namespace attest::cli {

namespace {

struct ListArguments {
  std::string what, suite = "quick", op = "flash_attn_ext";
  std::vector<std::string> ggml;
};

const std::vector<std::string>& things() {
  static const std::vector<std::string> words{"ops",  "backends", "suites",    "cases",    "families",
                                              "axes", "features", "relations", "verdicts", "mutants"};
  return words;
}

int list_backends(const ListArguments& a) {
  const auto environment = find_ggml_builds(a.ggml);
  if (!environment) return report(environment.error());
  for (const auto& l : all_listings(*environment)) {
    fmt::print("{:<28} {}{}\n", l.name, l.available ? "" : "not available: ", l.available ? l.description : l.reason);
  }
  if (environment->ggml.empty()) {
    fmt::print("{:<28} not available: no build given; ci/fetch-ggml gets one, --ggml DIR names one\n", "ggml:DEVICE");
  }
  // What only the user can name.
  for (const BackendFamily& family : backend_families()) {
    if (family.name == "plugin") fmt::print("{:<28} {}\n", "plugin:FILE.so", family.description);
    if (family.name == "process") fmt::print("{:<28} {}\n", "process:COMMAND", family.description);
  }
  return kOk;
}

int list_suites() {
  for (const auto& name : suite_names()) {
    const auto suite = load_suite(name);
    if (!suite) return report(suite.error());
    fmt::print("{:<12} {:>6} cases  {}\n", suite->name, suite->cases.size(), suite->description);
  }
  return kOk;
}

int list_cases(const ListArguments& a) {
  const auto suite = load_suite(a.suite);
  if (!suite) return report(suite.error());
  for (const Case& c : suite->cases) fmt::print("{}\n", text(c));
  for (const auto& missing : suite->unexpressed) fmt::print("# no case: {}: {}\n", missing.ref, missing.reason);
  return kOk;
}

int list_families() {
  for (const auto& f : families()) {
    const std::string argument = f.has_arg ? fmt::format("[:{:g}]", f.default_arg) : "";
    fmt::print("{:<22} {:<4} {:<11} {}\n", std::string(f.name) + argument, f.shapes_qk ? "Q K" : "V",
               f.generic ? "generic" : "structured", f.meaning);
  }
  return kOk;
}

int list_axes(const ListArguments& a) {
  const auto name = operation(a.op);
  if (!name) return report(name.error());
  for (const auto& axis : grammar::axes(*op_from_name(*name))) {
    fmt::print("{}\n    {}\n    values: {}\n    default: {}; e.g. {}\n", axis.key, axis.meaning, axis.values,
               axis.standard, axis.example);
    for (const auto& term : axis.terms) fmt::print("        {:<20} {}\n", term.value, term.meaning);
  }
  return kOk;
}

int list_features() {
  for (const FeatureInfo& f : features()) fmt::print("{:<12} {:<10} {}\n", f.name, key_of(f.feature), f.altered);
  return kOk;
}

int list_verdicts() {
  for (const Verdict v : all_verdicts()) {
    fmt::print("{:<17} {:<4} {}\n", info(v).name, info(v).bad ? "bad" : "", info(v).meaning);
  }
  return kOk;
}

int list_mutants() {
  const auto print = [](const MutantRow& row, const std::string& behind) {
    fmt::print("{:<36} {:<6} {}\n    {}{}\n", row.backend, row.path, row.suspected_class, row.description, behind);
  };
  for (const MutantRow& row : mutant_rows()) print(row, row.models.empty() ? "" : "\n    as in: " + row.models);
  for (const MutantRow& row : legal_rows()) print(row, "\n    states: " + row.contract);
  for (const MutantRow& row : metal::mutant_rows()) print(row, "\n    as in: " + row.models);
  return kOk;
}

int list_relations() {
  for (const Relation r : all_relations()) {
    fmt::print("{:<11} {:<7} {}\n", info(r).name, info(r).bitwise ? "bitwise" : "budget", info(r).meaning);
  }
  return kOk;
}

int list_verb(const ListArguments& a) {
  if (a.what == "ops") {
    for (const OpInfo& op : all_ops()) fmt::print("{:<15} {}\n    e.g. {}\n", op.name, op.meaning, op.example);
    fmt::print(
        "Upper-case spellings (FLASH_ATTN_EXT ...) are accepted. attest list axes --op OP prints an op's keys.\n");
    return kOk;
  }
  if (a.what == "backends") return list_backends(a);
  if (a.what == "suites") return list_suites();
  if (a.what == "cases") return list_cases(a);
  if (a.what == "families") return list_families();
  if (a.what == "axes") return list_axes(a);
  if (a.what == "features") return list_features();
  if (a.what == "relations") return list_relations();
  if (a.what == "verdicts") return list_verdicts();
  if (a.what == "mutants") return list_mutants();
  Error error;
  error.message = fmt::format("attest list: unknown word '{}', expected one of: {}", a.what, fmt::join(things(), ", "));
  error.hint = did_you_mean(a.what, things());
  return report(error);
}

}  // namespace

Verb add_list(CLI::App& app) {
  auto a = std::make_shared<ListArguments>();
  CLI::App* list = app.add_subcommand("list", fmt::format("what there is: {}", fmt::join(things(), ", ")));
  list->add_option("what", a->what, fmt::format("one of: {}", fmt::join(things(), ", ")))->required();
  list->add_option("--suite", a->suite, "suite whose cases are listed (default quick)");
  list->add_option("-o,--op", a->op, "op whose axes are listed (default flash_attn_ext)");
  list->add_option("--ggml", a->ggml, "ggml build directory, DIR or NAME=DIR, repeatable")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  return [a] { return list_verb(*a); };
}

}  // namespace attest::cli
