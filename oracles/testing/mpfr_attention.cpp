#include "oracles/testing/mpfr_attention.h"

#include <mpfr.h>

#include <cmath>
#include <utility>

namespace attest::testing {
namespace {

class Real {
 public:
  Real(double value = 0) {  // NOLINT: a double is a Real
    mpfr_init2(v_, 256);
    mpfr_set_d(v_, value, MPFR_RNDN);
  }
  Real(const Real& o) {
    mpfr_init2(v_, 256);
    mpfr_set(v_, o.v_, MPFR_RNDN);
  }
  Real& operator=(const Real& o) {
    mpfr_set(v_, o.v_, MPFR_RNDN);
    return *this;
  }
  ~Real() { mpfr_clear(v_); }

  Real& operator+=(const Real& o) { return mpfr_add(v_, v_, o.v_, MPFR_RNDN), *this; }
  Real& operator-=(const Real& o) { return mpfr_sub(v_, v_, o.v_, MPFR_RNDN), *this; }
  Real& operator*=(const Real& o) { return mpfr_mul(v_, v_, o.v_, MPFR_RNDN), *this; }
  Real& operator/=(const Real& o) { return mpfr_div(v_, v_, o.v_, MPFR_RNDN), *this; }
  Real exp() const { return apply(mpfr_exp); }
  Real exp2() const { return apply(mpfr_exp2); }
  Real tanh() const { return apply(mpfr_tanh); }
  bool operator<(const Real& o) const { return mpfr_less_p(v_, o.v_) != 0; }
  double value() const { return mpfr_get_d(v_, MPFR_RNDN); }

 private:
  Real apply(int (*function)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t)) const {
    Real result;
    function(result.v_, v_, MPFR_RNDN);
    return result;
  }
  mpfr_t v_;
};

Real operator*(Real a, const Real& b) { return a *= b; }
Real operator-(Real a, const Real& b) { return a -= b; }

Real real(const TensorView& t, std::int64_t i0, std::int64_t i1, std::int64_t i2, std::int64_t i3) {
  return static_cast<double>(element(t, i0, i1, i2, i3));
}

Real slope_of(const AttentionProblem& p, std::int64_t head) {
  if (p.max_bias <= 0) return 1.0;
  std::int64_t n2 = 1;
  while (2 * n2 <= p.n_head) n2 *= 2;
  Real exponent(-static_cast<double>(p.max_bias));
  if (head < n2) {
    exponent *= static_cast<double>(head + 1);
    exponent /= static_cast<double>(n2);
  } else {
    exponent *= static_cast<double>(2 * (head - n2) + 1);
    exponent /= static_cast<double>(2 * n2);
  }
  return exponent.exp2();
}

}  // namespace

std::vector<double> mpfr_attention(const AttentionInputs& in, const Row& row, const ScoreCorrection& correction) {
  const AttentionProblem& p = *in.problem;
  const auto [s, h, i] = row;
  const std::int64_t s_kv = s * p.n_seq_kv / p.n_seq;
  const std::int64_t h_k = h * p.n_head_kv / p.n_head, h_v = h * p.n_head_v / p.n_head;
  const Real slope = slope_of(p, h);

  std::vector<std::pair<std::int64_t, Real>> keys;
  Real maximum(-INFINITY);
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    Real m;
    if (in.mask.present()) m = real(in.mask, j, i, h % in.mask.ne[2], s % in.mask.ne[3]);
    if (m.value() == -INFINITY) continue;
    Real z;
    for (std::int64_t c = 0; c < p.d_k; ++c) z += real(in.q, c, i, h, s) * real(in.k, c, j, h_k, s_kv);
    for (std::int64_t b = 0; correction.q.present() && b < correction.q.ne[0]; ++b) {
      z += real(correction.q, b, i, h, s) * real(correction.k, b, j, h_k, s_kv);
    }
    z *= static_cast<double>(p.scale);
    if (p.softcap > 0) {
      z /= static_cast<double>(p.softcap);
      z = z.tanh() * static_cast<double>(p.softcap);
    }
    z += slope * m;
    if (maximum < z) maximum = z;
    keys.emplace_back(j, z);
  }

  Real sum;
  if (in.sinks.present()) {
    const Real sink = real(in.sinks, h, 0, 0, 0);
    if (maximum < sink) maximum = sink;
    if (!keys.empty()) sum += (sink - maximum).exp();
  }
  std::vector<Real> o(static_cast<std::size_t>(p.d_v));
  for (const auto& [j, z] : keys) {
    const Real weight = (z - maximum).exp();
    sum += weight;
    for (std::size_t e = 0; e < o.size(); ++e) o[e] += weight * real(in.v, static_cast<std::int64_t>(e), j, h_v, s_kv);
  }
  std::vector<double> out;
  for (Real& x : o) out.push_back(keys.empty() ? 0.0 : (x /= sum).value());
  return out;
}

}  // namespace attest::testing
