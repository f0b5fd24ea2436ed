// How far off each element of an output row may be: B_det, B_stat and the budget B of error-budget.md.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cases/contract.h"
#include "oracles/budget_sketch.h"
#include "oracles/emulate.h"
#include "oracles/oracle.h"

namespace attest {

// The term with the largest share of an element's budget; names for people by term_name().
enum class BudgetTerm : std::uint8_t {
  none,
  q_rounding,
  dot,
  score_store,
  mask,
  softcap,
  exp,
  p_rounding,
  accumulator,
  row_sum,
  rescale,
  output,
  stagnation,
  hull
};
std::string_view term_name(BudgetTerm term);

// Why B_stat was not used for a row.
enum class Inadmissible : std::uint8_t { no, structured_data, not_first_order, softcap_saturated, truncating };
std::string_view inadmissible_name(Inadmissible reason);

// Budgets of one row, all [d_v], in absolute units of O. Never NaN.
struct RowBudget {
  Row row;
  std::vector<double> reference;  // O in fp64 (a third computation; the judges are scalar_oracle and eigen_reference)
  std::vector<double> det;        // B_det, rigorous
  std::vector<double> stat8;      // B_stat with k = 8; infinity where inadmissible
  std::vector<double> stat14;     // B_stat with k = 8 sqrt(3)
  std::vector<double> suspect;    // min(det, stat8): an error above is SUSPECT
  std::vector<double> fail;       // min(det, stat14): an error above is FAIL. This is B of err/B.
  std::vector<BudgetTerm> dominant;
  Inadmissible inadmissible = Inadmissible::no;
  bool dead = false;         // no visible key: the answer is 0 and so is the budget
  bool range = false;        // the stated contract predicts overflow (or the values are not finite): no ratio
  std::int64_t visible = 0;  // keys not hidden
  double log_sum_exp = 0;    // ln sum_j exp(z_j), sink included; -infinity where dead, NaN-free otherwise
};

// Works out budgets of rows of one problem under one contract. Thread-safe: every member function is const.
// The emulated inputs must carry the rounding the contract declares (else std::invalid_argument) and outlive this.
class ErrorBudget {
 public:
  ErrorBudget(const EmulatedInputs& inputs, const ArithmeticContract& contract, bool generic_data);

  RowBudget row(const Row& row) const;
  // In the order of the request. Rows of one KV head share the decoding of K and V.
  std::vector<RowBudget> rows(std::span<const Row> rows) const;

  // A cheap bound of `fail` from below: out[d_v] <= min(det, stat14), always, 0 where nothing is known. It is made of
  // what the reference pass left in row `index` of the sketch and of O itself. False: the row may be out of the
  // contract's range, or is better not looked at cheaply for another reason; `out` is 0 then.
  bool lower_bound(const BudgetSketch& sketch, std::size_t index, std::span<const double> reference,
                   std::span<float> out) const;

 private:
  const EmulatedInputs* inputs_;
  ArithmeticContract contract_;  // effective: emulated Q has u_q 0, truncation doubles u_acc and u_qk
  bool generic_;
};

}  // namespace attest
