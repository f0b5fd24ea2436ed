// The part of the error budget that does not involve V: weights p_j, their deviations D_j and variances v_j, rescales.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "cases/contract.h"
#include "oracles/error_budget.h"

namespace attest {

inline constexpr std::size_t kBudgetTerms = static_cast<std::size_t>(BudgetTerm::hull) + 1;
using TermShares = std::array<double, kBudgetTerms>;

// What a row's budget depends on besides its keys. The contract is effective: truncation already doubled u_acc, u_qk.
struct BudgetRules {
  ArithmeticContract contract;
  double scale = 1, softcap = 0;
  std::int64_t d_k = 0, n_kv = 0;
  double alibi = 0;  // (h + 2) 2^-24 with ALiBi (slope by repeated powers), else 0
  bool generic = false;

  // An f16 accumulator (overflows, has an absolute floor) or any narrow one whose error follows the order of keys.
  bool f16_accumulator() const { return contract.omega_acc > 0; }
  bool error_recursion() const { return contract.u_acc > 0x1p-16 && contract.order == SumOrder::ascending; }
};

// One row's visible keys in ascending order.
struct RowScores {
  std::vector<std::int32_t> key;
  std::vector<double> x;     // c q.K_j
  std::vector<double> mask;  // slope * stored mask
  std::vector<float> a, b2;  // sum |q_k K_jk|, sum (q_k K_jk)^2
  std::vector<float> tie;    // |c| sum over elements of Q near a rounding tie of step_k |K_jk|; empty: none
  bool exact_ties = true;    // the caller propagates `tie` through the Jacobian; else it is charged to D_j
  std::vector<float> slack;  // more of the kind that is always charged to D_j; empty: none
  double sink = -std::numeric_limits<double>::infinity();
  bool has_sink() const { return sink > -std::numeric_limits<double>::infinity(); }
};

// Something that multiplies the accumulator: a new maximum, a merge of chunks, a sink that comes last.
struct Rescale {
  std::size_t at = 0;      // active keys that come before
  double l = 0;            // sum of their p_j since the chunk began
  double step = 0;         // by how much the maximum moves
  bool chunk_end = false;  // the partial sums restart after it
};

struct ScoreBudget {
  bool finite = true;  // false: some visible score is not finite, nothing else is filled in
  bool range = false;  // f16 scores overflow
  double max = 0, l = 0, p_sink = 0;
  std::vector<double> p;

  // Active keys: those whose weight is not negligible (all together below 2^-45); the rest is charged as a lump.
  std::vector<std::int32_t> active;  // indices into key, p
  std::vector<float> weight;         // p_j
  std::vector<float> deviation;      // w_j / W
  std::vector<float> variance;       // p_j^2 v_j / variance_unit
  std::vector<float> mask_weight;    // p_j |m_j| with the sign of m_j; only with ALiBi
  std::vector<float> slope;          // c p_j phi'_j, for the Jacobian with respect to q
  double variance_unit = 0;
  double rest_p = 0, rest_deviation = 0, rest_mask = 0;
  std::int64_t rest_count = 0;
  double sink_deviation = 0, sink_variance = 0;  // w_s / W and p_s^2 v_s

  std::vector<Rescale> rescales;
  double rescale_count = 0;  // R
  double sum_l_squared = 0;  // sum L_t^2
  double lost_l = 0;         // sum [p_t < 4 u_l L_t] min(p_t, u_l L_t)
  double key_weight = 0;     // sum p_j, sink excluded
  double peak_sum = 0;       // largest partial sum of weights in the kernel's own scale (narrow accumulators only)
  std::vector<double> raw_weight, raw_factor;  // per visible key: exp(z - M_t), and what the sums before it shrink by
  double total_deviation = 0;                  // sum w_j / W, sink included
  double tie_second_order = 0;  // what ties propagated exactly may do beyond first order, per unit of score error
  double tie_shift = 0;         // largest score shift by ties that D_j was charged with
  bool hull_only = false;       // deviations too large to add up: only the hull of V bounds the score error
  Inadmissible inadmissible = Inadmissible::no;
  TermShares det_shares{}, stat_shares{};  // of the score error, by cause
};

ScoreBudget score_budget(const RowScores& row, const BudgetRules& rules);

}  // namespace attest
