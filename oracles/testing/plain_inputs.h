// A small f32 problem whose tensors a test writes element by element.
#pragma once

#include <cmath>
#include <vector>

#include "cases/rng.h"
#include "oracles/oracle.h"

namespace attest::testing {

// One sequence, contiguous tensors, N(0,1) Q, K and V, no mask until mask() is first called.
class PlainInputs {
 public:
  PlainInputs(std::int64_t d, std::int64_t n_head, std::int64_t n_q, std::int64_t n_kv) {
    problem_.d_k = problem_.d_v = d;
    problem_.n_head = problem_.n_head_kv = problem_.n_head_v = n_head;
    problem_.n_q = n_q;
    problem_.n_kv = n_kv;
    problem_.k_type = problem_.v_type = DType::f32;
    problem_.scale = 1.0F / std::sqrt(static_cast<float>(d));
    fill(q_, 1, d * n_q * n_head);
    fill(k_, 2, d * n_kv * n_head);
    fill(v_, 3, d * n_kv * n_head);
  }
  PlainInputs(const PlainInputs&) = delete;
  PlainInputs& operator=(const PlainInputs&) = delete;

  AttentionProblem& problem() { return problem_; }
  float& q(std::int64_t c, std::int64_t i, std::int64_t h = 0) {
    return at(q_, (h * problem_.n_q + i) * problem_.d_k + c);
  }
  float& k(std::int64_t c, std::int64_t j, std::int64_t h = 0) {
    return at(k_, (h * problem_.n_kv + j) * problem_.d_k + c);
  }
  float& v(std::int64_t e, std::int64_t j, std::int64_t h = 0) {
    return at(v_, (h * problem_.n_kv + j) * problem_.d_v + e);
  }
  float& mask(std::int64_t j, std::int64_t i) {
    if (mask_.empty()) {
      mask_.assign(static_cast<std::size_t>(problem_.n_kv * problem_.n_q), 0);
      problem_.mask.terms = {MaskTerm{}};
    }
    return at(mask_, i * problem_.n_kv + j);
  }
  void sinks(float value) { sinks_.assign(static_cast<std::size_t>(problem_.n_head), value); }

  AttentionInputs inputs() const {
    const AttentionProblem& p = problem_;
    AttentionInputs in;
    in.problem = &problem_;
    in.q = view(q_, {p.d_k, p.n_q, p.n_head, 1});
    in.k = view(k_, {p.d_k, p.n_kv, p.n_head, 1});
    in.v = view(v_, {p.d_v, p.n_kv, p.n_head, 1});
    if (!mask_.empty()) in.mask = view(mask_, {p.n_kv, p.n_q, 1, 1});
    if (!sinks_.empty()) in.sinks = view(sinks_, {p.n_head, 1, 1, 1});
    return in;
  }

  static TensorView view(const std::vector<float>& values, std::array<std::int64_t, 4> ne) {
    TensorView t;
    t.dtype = DType::f32;
    t.ne = ne;
    t.nb = {4, 4 * ne[0], 4 * ne[0] * ne[1], 4 * ne[0] * ne[1] * ne[2]};
    static constexpr float kNothing = 0;  // an empty tensor is present all the same
    t.data = reinterpret_cast<const std::byte*>(values.empty() ? &kNothing : values.data());
    return t;
  }

 private:
  static float& at(std::vector<float>& values, std::int64_t index) { return values[static_cast<std::size_t>(index)]; }
  static void fill(std::vector<float>& values, std::uint64_t stream, std::int64_t n) {
    const Rng rng(5, stream);
    for (std::int64_t i = 0; i < n; ++i) values.push_back(rng.normal(static_cast<std::uint64_t>(i)));
  }

  AttentionProblem problem_;
  std::vector<float> q_, k_, v_, mask_, sinks_;
};

// Every row of a problem.
inline std::vector<Row> all_rows(const AttentionProblem& p) {
  std::vector<Row> rows;
  for (std::int64_t s = 0; s < p.n_seq; ++s) {
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      for (std::int64_t i = 0; i < p.n_q; ++i) rows.push_back({s, h, i});
    }
  }
  return rows;
}

}  // namespace attest::testing
