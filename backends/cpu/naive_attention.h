// For tests: attention of one row in plain fp64, and how far off f32 arithmetic may be.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cases/problem.h"

namespace attest::cpu {

struct NaiveRow {
  std::vector<double> value, tolerance;  // [d_v]
};

inline NaiveRow naive_row(const AttentionInputs& in, std::int64_t seq, std::int64_t head, std::int64_t query) {
  const AttentionProblem& p = *in.problem;
  const std::int64_t k_head = head * p.n_head_kv / p.n_head, v_head = head * p.n_head_v / p.n_head;
  const std::int64_t kv_seq = seq * p.n_seq_kv / p.n_seq;
  const double slope = alibi_slope(p, head), unit = 0x1p-24;
  struct Visible {
    std::int64_t key;
    double logit;
  };
  std::vector<Visible> visible;
  double max = -std::numeric_limits<double>::infinity(), error = 0, bias_error = 0;
  for (std::int64_t key = 0; key < p.n_kv; ++key) {
    const double mask = in.mask.present() ? element(in.mask, key, query, head % in.mask.ne[2], seq % in.mask.ne[3]) : 0;
    if (mask == -std::numeric_limits<double>::infinity()) continue;
    double dot = 0, magnitude = 0;
    for (std::int64_t k = 0; k < p.d_k; ++k) {
      const double product = double{element(in.q, k, query, head, seq)} * element(in.k, k, key, k_head, kv_seq);
      dot += product;
      magnitude += std::fabs(product);
    }
    double logit = p.scale * dot;
    if (p.softcap > 0) logit = p.softcap * std::tanh(logit / p.softcap);
    logit += slope * mask;
    visible.push_back({key, logit});
    max = std::max(max, logit);
    error = std::max(error, static_cast<double>(p.d_k + 2) * unit * std::fabs(p.scale) * magnitude);
    bias_error =
        std::max(bias_error, 4 * unit * (std::fabs(logit) + (static_cast<double>(head) + 2) * std::fabs(slope * mask)));
  }
  NaiveRow row;
  row.value.assign(static_cast<std::size_t>(p.d_v), 0.0);
  row.tolerance = row.value;
  if (visible.empty()) return row;
  const double sink =
      in.sinks.present() ? double{element(in.sinks, head, 0, 0, 0)} : -std::numeric_limits<double>::infinity();
  max = std::max(max, sink);
  double sum = std::exp(sink - max);
  for (const Visible& v : visible) sum += std::exp(v.logit - max);
  std::vector<double> magnitude = row.value;
  for (const Visible& v : visible) {
    for (std::size_t e = 0; e < row.value.size(); ++e) {
      const double value = element(in.v, static_cast<std::int64_t>(e), v.key, v_head, kv_seq);
      row.value[e] += std::exp(v.logit - max) / sum * value;
      magnitude[e] += std::exp(v.logit - max) / sum * std::fabs(value);
    }
  }
  const double logit_error = error + bias_error + 8 * unit * (std::fabs(max) + p.softcap + 4);
  const double n = static_cast<double>(visible.size()) + 16;
  for (std::size_t e = 0; e < row.value.size(); ++e) {
    row.tolerance[e] = (2 * std::expm1(logit_error) + 2 * n * unit) * (magnitude[e] + std::fabs(row.value[e])) + 1e-37;
  }
  return row;
}

}  // namespace attest::cpu
