// The Eigen reference behind the backend interface: a party like any other, for tables and triage.
#include "harness/eigen_party.h"

#include <algorithm>
#include <chrono>

#include "oracles/eigen_reference.h"

namespace attest {

namespace {

template <class Scalar>
class EigenParty final : public Backend {
 public:
  std::string name() const override { return single() ? "eigen:f32" : "eigen:f64"; }
  std::string description() const override {
    return single() ? "the Eigen reference in f32: S, softmax, PV materialised" : "the Eigen reference in f64";
  }
  std::string build_id() const override { return "Eigen"; }
  Support supports(const AttentionProblem&) const override { return {}; }

  ArithmeticContract contract(const AttentionProblem&) const override {
    ArithmeticContract c;
    c.set_path(single() ? "eigen:f32" : "eigen:f64");
    c.order = SumOrder::unknown;
    return c;
  }

  Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) override {
    const AttentionProblem& p = *inputs.problem;
    std::vector<Row> rows;
    for (std::int64_t s = 0; s < p.n_seq; ++s) {
      for (std::int64_t h = 0; h < p.n_head; ++h) {
        for (std::int64_t i = 0; i < p.n_q; ++i) rows.push_back({s, h, i});
      }
    }
    const auto start = std::chrono::steady_clock::now();
    const RowValues values = eigen_reference<Scalar>(inputs, rows);
    Outcome outcome;
    outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    outcome.cpu_seconds = outcome.wall_seconds;
    const auto d_v = static_cast<std::size_t>(p.d_v);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      auto* o = reinterpret_cast<float*>(out.row(rows[r].head, rows[r].query, rows[r].seq));
      for (std::size_t e = 0; e < d_v; ++e) o[e] = static_cast<float>(values[r * d_v + e]);
    }
    return outcome;
  }

 private:
  static constexpr bool single() { return sizeof(Scalar) == sizeof(float); }
};

}  // namespace

Expected<std::unique_ptr<Backend>> make_eigen_party(const BackendSpec& spec) {
  if (!spec.build.empty() || !spec.options.empty()) {
    return input_error("backend 'eigen' has neither builds nor options: '" + spec.text() + "'",
                       "eigen:f32 or eigen:f64");
  }
  if (spec.variant == "f32") return std::unique_ptr<Backend>(std::make_unique<EigenParty<float>>());
  if (spec.variant == "f64") return std::unique_ptr<Backend>(std::make_unique<EigenParty<double>>());
  return input_error("backend 'eigen' has the variants f32 and f64, not '" + spec.variant + "'",
                     did_you_mean(spec.variant, {"f32", "f64"}));
}

}  // namespace attest
