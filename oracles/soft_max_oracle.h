// Keys of soft_max_ext: the plain truth, a second opinion by Eigen, and how far off each weight may be.
#pragma once

#include <span>
#include <vector>

#include "cases/contract.h"
#include "oracles/oracle.h"

namespace attest {

// out[n_kv] = weights of the scores of a row, z_j = scale x_j + slope_h m_j, softmax with the sink as one more logit.
// A score hidden by -inf is never read; its weight is 0. A row without a visible score is 0, with or without a sink.
void soft_max_oracle(const AttentionInputs& inputs, const Row& row, std::span<double> out);

// The same by whole-array operations.
void soft_max_eigen(const AttentionInputs& inputs, const Row& row, std::span<double> out);

// B_j for every weight p_j of a row, [n_kv], in absolute units; `weights` are the oracle's.
//
// A kernel forms z_j with an absolute error of at most
//   D_j = u_s |scale x_j| + (u_m + ALiBi: (h+2) 2^-24) |slope m_j| + u |z_j|          product, product, their sum
//       + 2 u (|z_j| + |M|)                                                          z_j - M, and M's own rounding
//       + (1 + R) eps_exp + (2 + R) u                                                exp, R rescales, their products
// with u = max(2^-24, u_z), so that its weight before division is e^(z_j - M) e^t_j, |t_j| <= D_j (sink: D_s alike).
// What all weights share cancels in the fraction: with W- = sum p_i e^(-D_i), W+ = sum p_i e^(D_i), sink included,
//   p_j e^(-D_j) / W+  <=  computed p_j  <=  p_j e^(D_j) / W-
// and, with (n + R + 6) u_l for the sum and u_out + 2 u for division and store,
//   B_j = p_j max(e^(D_j) / W- - 1, 1 - e^(-D_j) / W+) + p_j e^(D_j) / W- ((n + R + 6) u_l + u_out + 2 u) + floor
// floor = (1 + R) 2^-126 / l + 2^-126, l = sum e^(z_i - M) >= 1 (or the sink's part of it): results below the normal
// numbers may be flushed. Rigorous, no statistics: the test measures how much of it clean kernels use.
std::vector<double> soft_max_budget(const AttentionInputs& inputs, const Row& row, std::span<const double> weights,
                                    const ArithmeticContract& contract);

}  // namespace attest
