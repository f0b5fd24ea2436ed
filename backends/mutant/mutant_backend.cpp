#include "backends/mutant/mutant_backend.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "backends/cpu/cpu_backend.h"
#include "backends/mutant/fault.h"
#include "backends/mutant/variant.h"

namespace attest {
namespace mutant {

#define ATTEST_MUTANT(name, Fault, path, klass, description, models) \
  double path##_##Fault(Call& call, cpu::Scratches& scratch);
#include "backends/mutant/mutants.def"
#undef ATTEST_MUTANT

const std::vector<Mutant>& mutants() {
  static const std::vector<Mutant> rows = {
#define ATTEST_MUTANT(name, Fault, path, klass, description, models) \
  {name, #path, klass, description, models, path##_##Fault},
#include "backends/mutant/mutants.def"
#undef ATTEST_MUTANT
  };
  return rows;
}

namespace {

struct None : Fault {};

}  // namespace

ATTEST_RUN(vec, None)
ATTEST_RUN(split, None)
ATTEST_RUN(tiled, None)

}  // namespace mutant

namespace {

constexpr int kMostOwnThreads = 5;  // legal variants that choose their number of threads

class MutantBackend final : public Backend {
 public:
  MutantBackend(std::string name, const mutant::Mutant& row, void (*promise)(ArithmeticContract&), int threads)
      : name_(std::move(name)), row_(row), promise_(promise), threads_(threads) {}

  std::string name() const override { return name_; }
  std::string description() const override { return std::string(row_.description); }
  std::string build_id() const override { return cpu_build_id(); }
  Support supports(const AttentionProblem& problem) const override {
    if (const auto valid = validate(problem); !valid) return Support::no("mutant: " + valid.error().message);
    return {};
  }

  // A mutant promises what the kernel promises that it was made of.
  ArithmeticContract contract(const AttentionProblem& problem) const override {
    ArithmeticContract contract = cpu_contract(row_.path, threads_for(problem));
    if (promise_ != nullptr) promise_(contract);
    return contract;
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    Outcome outcome;
    const auto start = std::chrono::steady_clock::now();
    const int threads = threads_for(*inputs.problem);
    try {
      scratch_.resize(std::max(scratch_.size(), static_cast<std::size_t>(std::max(threads, kMostOwnThreads)) + 1));
      mutant::Call call{*inputs.problem, inputs, out, {}, cpu::primitives(), threads, memory_};
      outcome.cpu_seconds = row_.run(call, scratch_);
    } catch (const std::bad_alloc&) {
      outcome.ok = false;
      outcome.error = "mutant: out of memory";
    }
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return outcome;
  }

 private:
  int threads_for(const AttentionProblem& problem) const { return problem.threads > 0 ? problem.threads : threads_; }

  std::string name_;
  const mutant::Mutant& row_;
  void (*promise_)(ArithmeticContract&);
  int threads_;
  cpu::Scratches scratch_;
  mutant::Memory memory_;
};

Unexpected no_such(const BackendSpec& spec, const std::vector<std::string>& names) {
  if (spec.variant.empty()) {
    return input_error(spec.family + " needs a name", "e.g. " + spec.family + ":" + names.front());
  }
  const std::string near = did_you_mean(spec.variant, names);
  return input_error(
      "no " + std::string(spec.family == "legal" ? "legal variant" : "mutant") + " is called '" + spec.variant + "'",
      near.empty() ? "see attest list mutants" : near);
}

}  // namespace

std::vector<MutantRow> mutant_rows() {
  std::vector<MutantRow> rows;
  for (const mutant::Mutant& m : mutant::mutants()) {
    if (!m.is_faulty()) continue;
    MutantRow row;
    row.backend = "mutant:" + std::string(m.name);
    row.path = m.path;
    row.suspected_class = m.suspected_class;
    row.description = m.description;
    row.models = m.models;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<MutantRow> legal_rows() {
  std::vector<MutantRow> rows;
  for (const mutant::Variant& v : mutant::variants()) {
    ArithmeticContract c;
    v.promise(c);
    const bool narrow = c.q_rounding != QRounding::none || c.u_s > 0 || c.u_p > kUnitF32 || c.u_acc > kUnitF32 ||
                        c.u_out > kUnitF32;
    MutantRow row;
    row.backend = "legal:" + std::string(v.name);
    row.path = v.path;
    row.suspected_class = v.suspected_class;
    row.description = v.description;
    row.contract = v.contract;
    row.narrow = narrow;
    rows.push_back(std::move(row));
  }
  return rows;
}

Expected<std::unique_ptr<Backend>> make_mutant_backend(const BackendSpec& spec, const BackendEnvironment&) {
  if (!spec.build.empty()) return input_error(spec.family + " has no builds to choose from: '@" + spec.build + "'");
  for (const auto& [key, value] : spec.options) {
    if (key != "threads")
      return input_error(spec.family + " has no option '" + key + "'", did_you_mean(key, {"threads"}));
  }
  const auto threads = spec.threads();
  if (!threads) return Unexpected(threads.error());
  BackendSpec canonical = spec;
  if (*threads == 1) canonical.options.clear();
  std::vector<std::string> names;
  const auto make = [&](const mutant::Mutant& row, void (*promise)(ArithmeticContract&)) {
    return std::make_unique<MutantBackend>(canonical.text(), row, promise, *threads);
  };
  if (spec.family == "legal") {
    for (const mutant::Variant& v : mutant::variants()) {
      if (v.name == spec.variant) return make(v, v.promise);
      names.emplace_back(v.name);
    }
  } else {
    for (const mutant::Mutant& m : mutant::mutants()) {
      if (m.name == spec.variant) return make(m, nullptr);
      names.emplace_back(m.name);
    }
  }
  return no_such(spec, names);
}

std::vector<BackendListing> mutant_listings() {
  return {{"mutant:NAME", std::to_string(mutant_rows().size()) + " deliberate bugs: attest list mutants", true, {}},
          {"legal:NAME", std::to_string(legal_rows().size()) + " legal variants: attest list mutants", true, {}}};
}

}  // namespace attest
