// The part of the error budget that involves V: O, A, the column sums of equations 1 to 3 and B_stat, for one row.
#pragma once

#include <cstdint>
#include <vector>

#include "oracles/budget_kernels.h"
#include "oracles/score_budget.h"

namespace attest {

// A decoded block of rows [first, first + ...) of K or V; `data` is stride floats per key.
struct DecodedBlock {
  const float* data = nullptr;
  std::size_t stride = 0;
  std::int64_t first = 0, end = 0;  // key numbers
};

// First all blocks go through add_columns(), then centre(), then all blocks again through add_values(), then finish().
class ValueBudget {
 public:
  ValueBudget(const BudgetRules& rules, const RowScores& row, const ScoreBudget& scores, std::int64_t d_v);

  void add_columns(const DecodedBlock& v);
  double largest_value() const;  // max |V_je| over the visible keys, after the first pass
  bool finite() const;           // O and the range of V are

  // V of the second pass is multiplied by `unit` (a power of two). `q_columns`: the elements of Q whose Jacobian
  // is needed.
  void centre(double unit, std::vector<std::int32_t> q_columns);
  void add_values(const DecodedBlock& v, const DecodedBlock* k);

  // q_sigma: s_k of error-budget.md, q_tie: tie steps; both for the columns given to centre(), times |c| already.
  void finish(const std::vector<double>& q_sigma, const std::vector<double>& q_tie, RowBudget& out) const;

  // Whether a narrow accumulator may pass 65504 on its way: a cheap bound first; only where that cannot say no, the
  // blocks (not multiplied by the unit) go through add_peak().
  bool peak_in_doubt() const;
  void add_peak(const DecodedBlock& v);
  bool overflows() const;

 private:
  enum Term : std::size_t {
    kScore,
    kVariance,
    kN,
    kNSquared,
    kStagnation,
    kPAbs,
    kPSquared,
    kProduct,
    kVAbs,
    kVSquared,
    kCommon,
    kBeta,
    kTerms
  };
  struct Sums;  // one column's sums, complete
  struct QTerms {
    double variance = 0, tie = 0;
  };
  float* part(Term term) { return partial_.data() + term * stride_; }
  void rescale(const Rescale& event);
  void flush();
  Sums sums(std::size_t e) const;
  QTerms q_terms(std::size_t e, const std::vector<double>& q_sigma, const std::vector<double>& q_tie) const;
  void element(std::size_t e, const QTerms& q, RowBudget& out) const;
  bool ordered() const { return rules_.contract.order == SumOrder::ascending; }

  const BudgetRules& rules_;
  const RowScores& row_;
  const ScoreBudget& scores_;
  std::size_t d_v_, stride_;
  bool extra_;
  double unit_ = 1, peak_ = 0, largest_weight_ = 0;
  std::size_t next_visible_ = 0, next_active_ = 0, next_rescale_ = 0;

  void drop(const DecodedBlock& v, std::size_t begin);

  AlignedVector<double> o_, a_;
  std::vector<double> dropped_;  // sum p_j |V_je| of what the contract may leave out of PV; empty: nothing
  AlignedVector<float> top_, bottom_, columns_a_;
  AlignedVector<float> centre_, partial_;               // O as f32; sums of the current block, one stretch per term
  std::vector<double> sums_;                            // the same, flushed
  std::vector<double> n_rescaled_, g_rescaled_, beta_;  // per column: sum N_t^2, sum G_r^2 (...), closed recursions
  std::vector<double> raw_;                             // partial numerators in the kernel's own scale
  std::vector<std::int32_t> rows_, q_columns_;
  AlignedVector<float> jacobian_;
};

}  // namespace attest
