#include "oracles/sketch_draft.h"

#include <algorithm>
#include <cmath>

namespace attest {

void SketchDraft::begin(std::size_t rows, std::int64_t n_keys, std::int64_t d_v) {
  sampling_ = BudgetSketch::sampling(n_keys);
  n_keys_ = n_keys;
  d_v_ = static_cast<std::size_t>(d_v);
  stride_ = budget_padded(d_v_);
  sampled_ = 0;
  for (std::int64_t from = 0; from < n_keys; from += stretch()) {
    const Run r = run(from);
    sampled_ += static_cast<std::size_t>(r.end - r.begin);
  }
  p_.resize(rows * sampled_);
  dot_.resize(rows * sampled_);
  largest_.resize(rows);
  v_.assign(sampled_ * stride_, 0.0F);
  row_.assign(stride_, 0.0F);
  run_begin_ = run_end_ = 0;
}

SketchDraft::Run SketchDraft::run(std::int64_t from) const {
  const std::int64_t end = std::min(from + sampling_.stretch, n_keys_);
  return {std::max(from, end - sampling_.run), end};
}

void SketchDraft::add_scores(std::size_t r, const double* dots, double scale, double softcap) {
  largest_[r] =
      static_cast<float>(std::abs(scale) * largest_magnitude(dots, static_cast<std::size_t>(n_keys_)) * 1.001);
  float* to = dot_.data() + r * sampled_;
  for (std::int64_t from = 0; from < n_keys_; from += stretch()) {
    const Run keys = run(from);
    for (std::int64_t j = keys.begin; j < keys.end; ++j) {
      const double x = dots[j] * scale, t = softcap > 0 ? std::tanh(x / softcap) : 0;
      *to++ = static_cast<float>(std::abs(x) * (1 - t) * (1 + t));
    }
  }
}

void SketchDraft::add_weights(std::size_t r, const double* p) {
  float *weight = p_.data() + r * sampled_, *dot = dot_.data() + r * sampled_;
  for (std::int64_t from = 0; from < n_keys_; from += stretch()) {
    const Run keys = run(from);
    for (std::int64_t j = keys.begin; j < keys.end; ++j) {
      *weight = static_cast<float>(p[j]);
      // A hidden key has no weight, and what its bytes hold may be no number.
      *dot = *weight > 0 ? *dot * *weight : 0.0F;
      ++weight;
      ++dot;
    }
  }
}

void SketchDraft::add_values(const Run& run, const float* v) {
  run_begin_ = run_end_;
  run_end_ += static_cast<std::size_t>(run.end - run.begin);
  for (std::size_t i = run_begin_; i < run_end_; ++i, v += d_v_) std::copy_n(v, d_v_, v_.data() + i * stride_);
}

void SketchDraft::add_partial_sums(std::size_t r, const double* numerator, const SketchSums& sums) {
  for (std::size_t e = 0; e < d_v_; ++e) row_[e] = static_cast<float>(numerator[e]);
  sketch_partial_sums(
      {v_.data() + run_begin_ * stride_, stride_, run_end_ - run_begin_, p_.data() + r * sampled_ + run_begin_},
      row_.data(), sums);
}

void SketchDraft::finish(std::size_t r, const double* o, BudgetSketch::Row& row, const SketchSums& sums) {
  for (std::size_t e = 0; e < d_v_; ++e) row_[e] = static_cast<float>(o[e]);
  const float* p = p_.data() + r * sampled_;
  sketch_gaps({v_.data(), stride_, sampled_, p}, dot_.data() + r * sampled_, row_.data(), sums);
  row.largest_score = largest_[r];
  row.terms = static_cast<float>(std::count_if(p, p + sampled_, [](float x) { return x > kSketchNegligible; }));
}

}  // namespace attest
