// Rows of Q, K and V as f32, before storage: what the data families mean.
#pragma once

#include <cstdint>

#include "cases/families.h"
#include "cases/masks.h"
#include "cases/problem.h"

namespace attest {

// The values of one problem, data and seed. Every row is a pure function of (seed, position): rows beyond the
// tensor's extents (a larger cache, more parent heads) are what a larger problem would hold there.
//
// Scores are shaped along a random sign direction u, |u| = 1, one per KV head and KV sequence:
//   Q_i = noise_q N(0,1) + along_q u,   K_j = noise_k N(0,1) + along_k(j) u
// so that scale * q.k_j = sqrt(noise^2 + noise'^2) N(0,1) + scale * along_q * along_k(j), about.
// What the parameters ask for is cut off where Q or K could leave the range of f16 (kMaxDeviation), since kernels round
// Q to f16 and K may be stored in it; V is cut off at 60000 where its type is f16 or a block type.
class ValueRows {
 public:
  ValueRows(const AttentionProblem& problem, const DataSpec& data, std::uint64_t seed);

  void q_row(std::int64_t i, std::int64_t h, std::int64_t s, float* row) const;    // d_k values
  void k_row(std::int64_t j, std::int64_t hk, std::int64_t sk, float* row) const;  // d_k values
  void v_row(std::int64_t j, std::int64_t hv, std::int64_t sk, float* row) const;  // d_v values

  static constexpr double kMaxDeviation = 8000;

 private:
  // How far K_j points along u: the wanted score of key j over scale * along_q.
  float along_k(std::int64_t j, std::int64_t hk, std::int64_t sk) const;
  std::int64_t needle(std::int64_t hk, std::int64_t sk) const;
  std::int64_t selected_key(std::int64_t i, std::int64_t h, std::int64_t s) const;
  void plan_scores();

  const AttentionProblem* problem_;
  ResolvedData data_;
  std::uint64_t seed_;
  KeyRange used_;
  double effective_scale_;
  float noise_q_ = 1, noise_k_ = 1, along_q_ = 0;
  double score_unit_ = 1;  // score per unit of along_k
  double trend_ = 0;       // wanted score: gap, or softcap
};

}  // namespace attest
