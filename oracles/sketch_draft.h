// Takes down what a BudgetSketch needs while the Eigen reference works on a block of rows of one KV head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "oracles/budget_sketch.h"

namespace attest {

// Keys are counted from the first one the block works on.
class SketchDraft {
 public:
  void begin(std::size_t rows, std::int64_t n_keys, std::int64_t d_v);

  struct Run {
    std::int64_t begin, end;
  };
  // The sampled keys of the stretch that begins at key `from`, a multiple of stretch().
  Run run(std::int64_t from) const;
  std::int64_t stretch() const { return sampling_.stretch; }

  // Before the softmax: raw dot products of a row, [n_keys].
  void add_scores(std::size_t r, const double* dots, double scale, double softcap);
  // After it: the weights of the row.
  void add_weights(std::size_t r, const double* p);
  // The decoded values of a run, rows of d_v; then, for every row, the numerator before it.
  void add_values(const Run& run, const float* v);
  void add_partial_sums(std::size_t r, const double* numerator, const SketchSums& sums);
  // With the answer of the row.
  void finish(std::size_t r, const double* o, BudgetSketch::Row& row, const SketchSums& sums);

 private:
  BudgetSketch::Sampling sampling_{1, 1};
  std::int64_t n_keys_ = 0;
  std::size_t d_v_ = 0, stride_ = 0, sampled_ = 0, run_begin_ = 0, run_end_ = 0;
  std::vector<float> p_, dot_, largest_;  // [rows, sampled]; max |x| of a row
  AlignedVector<float> v_, row_;          // sampled rows of V, padded; one row of O
};

}  // namespace attest
