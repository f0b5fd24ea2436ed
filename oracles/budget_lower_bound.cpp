#include <algorithm>
#include <cmath>

#include "oracles/error_budget.h"

namespace attest {
namespace {

constexpr double kU = kUnitF32;
constexpr double kInward = 0.98;  // more than the f32 sums can be off by
constexpr double kOverflow = 65504 * 0.95;
constexpr double kStat = 8;  // 8 sqrt(3) over the sqrt(3) of the variance of a rounding

}  // namespace

// Every term is a part of the sums in error-budget.md: some of the keys, no rescale, |M| = 0, a_j >= |x_j|.
bool ErrorBudget::lower_bound(const BudgetSketch& sketch, std::size_t index, std::span<const double> reference,
                              std::span<float> out) const {
  std::fill(out.begin(), out.end(), 0.0F);
  const BudgetSketch::Row& row = sketch.row(index);
  const AttentionProblem& p = *inputs_->inputs().problem;
  const ArithmeticContract& c = contract_;
  if (row.visible == 0) return true;  // dead: nothing may be off
  const double score = static_cast<double>(row.largest_score), value = static_cast<double>(row.largest_value);
  // Squares in f32 must neither overflow nor vanish, and deviations add up to less than the hull of V.
  const double d_k = static_cast<double>(p.d_k);
  const double dot_det = (d_k + 2) * c.u_qk + c.u_s;
  if (!(value < 0x1p30) || !(value > 0x1p-30) || !(c.eps_exp + dot_det * score <= 0.5)) return false;
  const double n = static_cast<double>(row.visible), chunks = static_cast<double>(std::max<std::int64_t>(c.chunks, 1));
  const bool f16_accumulator = c.omega_acc > 0, one_chunk = c.chunks <= 1;
  if (f16_accumulator && !(n * value * (c.lazy_rescale ? 256 : 1) <= kOverflow)) return false;
  if ((c.u_s == kUnitF16 || c.omega_out >= 0x1p-25) && !(std::max(score, value) <= kOverflow)) return false;
  if (c.u_z == kUnitF16) return false;

  SketchWeights w;
  const auto f32 = [](double x) { return static_cast<float>(x); };
  w.acc_a = f32((n + 2 * chunks + 4) * c.u_acc);
  w.recursion = c.u_acc > 0x1p-16 && c.order == SumOrder::ascending;
  w.acc_n = f32(one_chunk ? c.u_acc : 0);
  w.det_a = f32(c.u_p);
  w.det_gap = f32(c.eps_exp);
  w.det_dot = f32(dot_det);
  w.det_o = f32((n + 2 * chunks + 6) * c.u_l + c.u_out + 3 * kU);
  w.statistical = generic_ && !c.truncating;
  w.var_n = f32(one_chunk && row.terms > 0 ? kStat * c.u_acc / std::sqrt(static_cast<double>(row.terms)) : 0);
  w.var_gap = f32(kStat * std::hypot(c.eps_exp, c.u_p));
  w.var_dot = f32(kStat * std::hypot(c.u_qk * std::sqrt(d_k / 3 + 1), c.u_s));
  w.var_o = f32(kStat * std::sqrt((chunks + 2) * c.u_acc * c.u_acc + (one_chunk ? c.u_l * c.u_l : 0) +
                                  3 * (c.u_out * c.u_out + 4 * kU * kU)));
  w.stat_o = f32(2 * kU);
  w.floor = f32(c.omega_out);
  w.inward = f32(kInward);
  sketch_bound(sketch, index, reference.data(), w, out.size(), out.data());
  for (const float b : out)
    if (!(b < 1e30F)) return std::fill(out.begin(), out.end(), 0.0F), false;
  return true;
}

}  // namespace attest
