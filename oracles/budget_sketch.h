// What the Eigen reference leaves behind of each row, so that most errors can be told to be small without the budget.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cases/contract.h"
#include "oracles/budget_kernels.h"

namespace attest {

// Sums over a sample of a row's keys, per column of V, in the words of error-budget.md. Each is a part of a sum of
// non-negative terms that the budget takes over all keys.
struct SketchSums {
  float *a, *n;        // sum p |V|; sum |N_t|, N_t the partial numerator of all keys up to t
  float *gap2, *dot2;  // sum (p (V - O))^2; sum (p phi' x (V - O))^2
};

class BudgetSketch {
 public:
  struct Row {
    std::int64_t visible = 0;  // keys not hidden
    float terms = 0;           // how many N_t were added up
    float largest_score = 0;   // max |x_j|, hidden keys included
    float largest_value = 0;   // max |V_je|, keys the row does not see included
  };

  BudgetSketch() = default;
  BudgetSketch(std::size_t rows, std::int64_t d_v);

  std::size_t stride() const { return stride_; }
  Row& row(std::size_t i) { return rows_[i]; }
  const Row& row(std::size_t i) const { return rows_[i]; }
  SketchSums sums(std::size_t i);
  const float* sums(std::size_t i) const { return data_.data() + i * kSums * stride_; }  // a, n, gap2, dot2

  // Which keys of a stretch the sums are taken over: the last `run` of every `stretch`, few of many.
  struct Sampling {
    std::int64_t stretch, run;
  };
  static Sampling sampling(std::int64_t n_keys);

 private:
  static constexpr std::size_t kSums = 4;
  std::size_t stride_ = 0;
  std::vector<Row> rows_;
  AlignedVector<float> data_;
};

// A lighter key does not count as a step of the kernel's sum: the budget may have left it out.
inline constexpr float kSketchNegligible = 0x1p-40F;

// Consecutive keys of V in a padded copy, and their weights in one row.
struct SketchRun {
  const float* v;
  std::size_t stride;
  std::size_t count;
  const float* p;
};
// Adds to sums.a and sums.n; `start` is N before the first key.
void sketch_partial_sums(const SketchRun& run, const float* start, const SketchSums& sums);
// Adds to sums.gap2 and sums.dot2; `dot` is p phi' |x| of every key, `o` the answer.
void sketch_gaps(const SketchRun& run, const float* dot, const float* o, const SketchSums& sums);
// max |x|; NaN is passed over.
double largest_magnitude(const double* x, std::size_t n);

// inward (min(det, stat) + floor), det linear in the sums, stat = 13.9 sigma + stat_o |O|, sigma made of the sums as
// ErrorBudget::lower_bound says. The accumulator's share of det is acc_a a, with `recursion` at most acc_n n.
struct SketchWeights {
  float acc_a = 0, acc_n = 0;
  float det_a = 0, det_gap = 0, det_dot = 0, det_o = 0;
  float var_n = 0, var_gap = 0, var_dot = 0, var_o = 0, stat_o = 0;
  float floor = 0, inward = 1;
  bool recursion = false, statistical = false;
};
void sketch_bound(const BudgetSketch& sketch, std::size_t row, const double* o, const SketchWeights& weights,
                  std::size_t d_v, float* out);

}  // namespace attest
