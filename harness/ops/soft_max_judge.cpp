// soft_max_ext: every weight of the judged rows within its budget, by both references.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>

#include "cases/poison.h"
#include "harness/measures.h"
#include "harness/ops/op_judge.h"
#include "harness/row_choice.h"
#include "oracles/soft_max_oracle.h"

namespace attest {
namespace {

constexpr double kReferenceShare = 0x1p-20;  // of the budget: both work in fp64, by different routes
constexpr double kRowsFlop = 16;             // per score

class SoftMaxJudge final : public OpJudge {
 public:
  SoftMaxJudge(const Case& c, const AttentionInputs& inputs, const KeyOptions& options) : case_(c), inputs_(inputs) {
    const double flop = kRowsFlop * static_cast<double>(std::max<std::int64_t>(c.problem.n_kv, 1));
    auto count = static_cast<std::int64_t>(std::max(1.0, options.key_flop / flop));
    if (options.rows > 0) count = std::min(count, options.rows);
    rows_ = choose_rows(c.problem, count, c.seed);
  }

  void prepare(const ArithmeticContract&) override {
    if (!truth_.empty() || rows_.empty()) return;
    const auto n = static_cast<std::size_t>(case_.problem.n_kv);
    truth_.resize(rows_.size() * n);
    eigen_.resize(rows_.size() * n);
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      soft_max_oracle(inputs_, rows_[r], std::span(truth_).subspan(r * n, n));
      soft_max_eigen(inputs_, rows_[r], std::span(eigen_).subspan(r * n, n));
    }
  }

  Ruling rule(const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) override;

 private:
  const Case& case_;
  AttentionInputs inputs_;
  std::vector<Row> rows_;
  RowValues truth_, eigen_;
};

Ruling SoftMaxJudge::rule(const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) {
  prepare(contract);
  const AttentionProblem& p = case_.problem;
  const auto n = static_cast<std::size_t>(p.n_kv);
  record.path = contract.path_name();
  record.rows = p.n_seq * p.n_head * p.n_q;
  record.rows_judged = record.rows_confirmed = record.rows_det = static_cast<std::int64_t>(rows_.size());
  std::int64_t unwritten = 0, nonfinite = 0;
  WorstElement first;
  for (std::int64_t e = 0; e < out.elements(); ++e) {
    float value = 0;
    std::memcpy(&value, out.data + 4 * e, sizeof value);
    if (std::isfinite(value)) continue;
    const bool never = std::bit_cast<std::uint32_t>(value) == kOutputPrefill;
    const std::int64_t row = e / p.n_kv;
    if (unwritten + nonfinite == 0) {
      first = {row / p.n_q / p.n_head,
               row / p.n_q % p.n_head,
               row % p.n_q,
               e % p.n_kv,
               static_cast<double>(value),
               0,
               0,
               ""};
    }
    ++(never ? unwritten : nonfinite);
  }
  const auto rule_nan = [&](Verdict verdict, std::int64_t count, std::string detail) {
    record.worst = first;
    record.bad_elements = count;
    record.err_over_b = std::numeric_limits<double>::quiet_NaN();
    record.detail = std::move(detail);
    return Ruling{verdict, false};
  };
  if (unwritten > 0) {
    return rule_nan(Verdict::UNWRITTEN, unwritten, fmt::format("{} elements were not written", unwritten));
  }

  Measures measures(static_cast<std::int64_t>(truth_.size()));
  double worst = -1;
  bool bad = false;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    const Row& row = rows_[r];
    const std::span<const double> expected = std::span(truth_).subspan(r * n, n),
                                  other = std::span(eigen_).subspan(r * n, n);
    const std::vector<double> budget = soft_max_budget(inputs_, row, expected, contract);
    const std::span<const float> got(reinterpret_cast<const float*>(out.row(row.query, row.head, row.seq)), n);
    double mass = 0;
    bool finite = true;
    for (std::size_t j = 0; j < n; ++j) {
      mass += expected[j];
      const double apart = std::abs(expected[j] - other[j]);
      if (!(apart <= kReferenceShare * budget[j])) {
        record.worst = {row.seq,  row.head,    row.query, static_cast<std::int64_t>(j),
                        other[j], expected[j], 0,         "reference"};
        record.detail = "Eigen and the scalar oracle disagree (got: Eigen, expected: scalar oracle)";
        return {Verdict::ORACLE, false};
      }
      if (!std::isfinite(got[j])) {
        finite = false;
        continue;
      }
      const auto value = static_cast<double>(got[j]);
      const double error = std::abs(value - expected[j]);
      const double ratio = error == 0 ? 0 : budget[j] > 0 ? error / budget[j] : std::numeric_limits<double>::infinity();
      if (!(error <= budget[j])) {
        bad = true;
        ++record.bad_elements;
      }
      if (ratio > worst) {
        worst = ratio;
        record.worst = {row.seq, row.head,    row.query, static_cast<std::int64_t>(j),
                        value,   expected[j], budget[j], "exp"};
      }
    }
    if (mass == 0) ++record.rows_dead;
    if (finite) measures.add(got, expected);
  }
  record.err_over_b = std::max(worst, 0.0);
  measures.report(record);
  if (nonfinite > 0) {
    return rule_nan(Verdict::NAN_, nonfinite,
                    fmt::format("{} elements are NaN or Inf where the references are finite", nonfinite));
  }
  return {bad ? Verdict::FAIL : Verdict::PASS, false};
}

}  // namespace

std::unique_ptr<OpJudge> judge_soft_max(const Case& c, const AttentionInputs& inputs, const KeyOptions& options) {
  return std::make_unique<SoftMaxJudge>(c, inputs, options);
}

}  // namespace attest
