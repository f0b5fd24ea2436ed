// What the judge costs: inputs, quantisation, both references, both tiers of the budget, and handing a case over. This
// executable is judge and subject in one.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "cases/inputs.h"
#include "cases/random_fill.h"
#include "harness/backends.h"
#include "harness/row_choice.h"
#include "harness/run/subject.h"
#include "oracles/eigen_reference.h"
#include "oracles/error_budget.h"
#include "oracles/scalar_oracle.h"

namespace attest {
namespace {

Case parsed(const std::string& line) {
  const auto c = parse_case(line);
  if (!c) {
    fmt::print(stderr, "{}: {}\n", line, c.error().text());
    std::exit(2);
  }
  return *c;
}

void count_rate(benchmark::State& state, const char* name, double per_iteration) {
  state.counters[name] =
      benchmark::Counter(per_iteration * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

// Every byte of every tensor of a decode case; bytes as stored.
void generation(benchmark::State& state, const std::string& kv) {
  const OwnedInputs owned(parsed("flash_attn_ext d=128 n_head=32 n_head_kv=8 n_q=1 n_kv=4096 data=uniform kv=" + kv));
  for (auto _ : state) {
    fill_inputs(owned.the_case(), owned.plan(), owned.buffers());
    benchmark::ClobberMemory();
  }
  const InputPlan& p = owned.plan();
  state.SetBytesProcessed(state.iterations() * (p.q.bytes + p.k.bytes + p.v.bytes + p.out.bytes));
}

// One row of f32 into its storage type; bytes of the f32 side.
void quantisation(benchmark::State& state, DType type) {
  constexpr std::int64_t kElements = 1 << 14;
  std::vector<float> values(kElements);
  fill_normal(RandomRow(1), 1.0F, values.data(), kElements);
  std::vector<std::byte> bytes(static_cast<std::size_t>(row_bytes(type, kElements)));
  for (auto _ : state) {
    encode_row(type, values.data(), bytes.data(), kElements);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * kElements * static_cast<std::int64_t>(sizeof(float)));
}

// Rows of one case, and what is needed to judge them.
struct Bench {
  explicit Bench(std::int64_t n_kv, std::int64_t n_q, std::size_t most_rows)
      : owned(parsed(
            fmt::format("flash_attn_ext d=128 n_head=8 n_head_kv=2 n_q={} n_kv={} kv=f16 data=normal", n_q, n_kv))),
        emulated(owned.inputs(), QRounding::f16) {
    const AttentionProblem& p = owned.the_case().problem;
    rows = choose_rows(p, static_cast<std::int64_t>(most_rows), 1);
    gflop = row_flop(p) * static_cast<double>(rows.size()) * 1e-9;
    elements = static_cast<double>(rows.size()) * static_cast<double>(p.d_v);
    contract.q_rounding = QRounding::f16;
  }
  OwnedInputs owned;
  EmulatedInputs emulated;
  std::vector<Row> rows;
  double gflop = 0, elements = 0;
  ArithmeticContract contract;
};

void scalar(benchmark::State& state) {
  const Bench bench(state.range(0), state.range(1), 8);
  for (auto _ : state) benchmark::DoNotOptimize(scalar_oracle(bench.emulated.inputs(), bench.rows));
  count_rate(state, "GFLOP", bench.gflop);
}

// As the judge runs it: with the sketch of the budget.
void eigen(benchmark::State& state) {
  const Bench bench(state.range(0), state.range(1), 1 << 12);
  for (auto _ : state) {
    BudgetSketch sketch(bench.rows.size(), 128);
    benchmark::DoNotOptimize(eigen_reference(bench.emulated.inputs(), bench.rows, {}, sketch));
  }
  count_rate(state, "GFLOP", bench.gflop);
}

void eigen_alone(benchmark::State& state) {
  const Bench bench(state.range(0), state.range(1), 1 << 12);
  for (auto _ : state) benchmark::DoNotOptimize(eigen_reference<double>(bench.emulated.inputs(), bench.rows));
  count_rate(state, "GFLOP", bench.gflop);
}

// Per element of the output.
void budget_cheap(benchmark::State& state) {
  const Bench bench(state.range(0), state.range(1), 1 << 10);
  BudgetSketch sketch(bench.rows.size(), 128);
  const RowValues o = eigen_reference(bench.emulated.inputs(), bench.rows, {}, sketch);
  const ErrorBudget budget(bench.emulated, bench.contract, true);
  std::vector<float> bound(128);
  for (auto _ : state)
    for (std::size_t r = 0; r < bench.rows.size(); ++r)
      benchmark::DoNotOptimize(budget.lower_bound(sketch, r, std::span(o).subspan(r * 128, 128), bound));
  count_rate(state, "elements", bench.elements);
}

void budget_full(benchmark::State& state) {
  const Bench bench(state.range(0), state.range(1), 16);
  const ErrorBudget budget(bench.emulated, bench.contract, true);
  for (auto _ : state) benchmark::DoNotOptimize(budget.rows(bench.rows));
  count_rate(state, "elements", bench.elements);
}

// Does nothing, so that what is left is the way there and back.
class IdleBackend final : public Backend {
 public:
  std::string name() const override { return "idle"; }
  std::string description() const override { return "writes nothing"; }
  std::string build_id() const override { return "idle 1"; }
  Support supports(const AttentionProblem&) const override { return {}; }
  ArithmeticContract contract(const AttentionProblem&) const override { return {}; }
  Outcome run(const AttentionInputs&, const MutableTensorView&) override { return {}; }
};

// Posting `range` cases to a subject process and taking their answers: seconds per case.
void hand_over(benchmark::State& state) {
  const Case c = parsed("flash_attn_ext d=64 n_q=1 n_kv=64");
  const std::string line = text(c);
  const auto batch = static_cast<std::size_t>(state.range(0));
  std::vector<Place> places(batch);
  std::vector<int> fds;
  for (Place& place : places) {
    if (!place.open() || !place.prepare(plan_inputs(c.problem), false)) return state.SkipWithError("no shared memory");
    fds.push_back(place.fd());
  }
  const auto subject = make_process_subject({{own_executable().string(), kSubjectVerb}, "idle", {}, fds, 0, nullptr});
  if (auto started = subject->start(); !started) return state.SkipWithError(started.error().text().c_str());
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) subject->post(i, places[i], c, line);
    for (std::size_t i = 0; i < 2 * batch; ++i) {  // accepted, then done
      const SubjectAnswer answer = subject->next(10);
      if (answer.kind == SubjectAnswer::Kind::fault) return state.SkipWithError(answer.fault.detail.c_str());
    }
  }
  state.counters["per_case"] = benchmark::Counter(static_cast<double>(state.iterations()) * static_cast<double>(batch),
                                                  benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void register_all() {
  for (const char* kv : {"f32", "f16", "bf16", "q8_0", "q4_0", "q5_1", "iq4_nl"})
    benchmark::RegisterBenchmark(fmt::format("generation/{}", kv).c_str(), generation, std::string(kv));
  for (int t = 1; t < kDTypeCount; ++t) {
    const auto type = static_cast<DType>(t);
    benchmark::RegisterBenchmark(fmt::format("quantisation/{}", info(type).name).c_str(), quantisation, type);
  }
  const auto shapes = [](const char* name, void (*function)(benchmark::State&)) {
    auto* b = benchmark::RegisterBenchmark(name, function)->ArgNames({"n_kv", "n_q"})->Unit(benchmark::kMicrosecond);
    for (const std::int64_t n_kv : {64, 512, 4096})
      for (const std::int64_t n_q : {1, 64}) b->Args({n_kv, n_q});
  };
  shapes("scalar_oracle", scalar);
  shapes("eigen_and_sketch", eigen);
  shapes("eigen", eigen_alone);
  shapes("budget_cheap", budget_cheap);
  shapes("budget_full", budget_full);
  benchmark::RegisterBenchmark("hand_over", hand_over)
      ->ArgName("batch")
      ->Arg(1)
      ->Arg(16)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace
}  // namespace attest

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == attest::kSubjectVerb) {
    return attest::subject_main(
        {argv + 2, argv + argc}, [](const attest::BackendSpec&, const attest::BackendEnvironment&) {
          return attest::Expected<std::unique_ptr<attest::Backend>>(std::make_unique<attest::IdleBackend>());
        });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  attest::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
