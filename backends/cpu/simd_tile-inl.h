// Matrix products and column-wise softmax of the tiled kernel for any vector length; included once per instruction set.

#if defined(ATTEST_CPU_SIMD_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef ATTEST_CPU_SIMD_TILE_INL
#undef ATTEST_CPU_SIMD_TILE_INL
#else
#define ATTEST_CPU_SIMD_TILE_INL
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "backends/cpu/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace attest::cpu::HWY_NAMESPACE {

// Four keys by two vectors of rows: eight independent sums keep the multipliers busy.
HWY_INLINE void scores_4x2(const float* queries, std::int64_t d_k, const float* const* keys, std::int64_t columns,
                           float* out) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float *k0 = keys[0], *k1 = keys[1], *k2 = keys[2], *k3 = keys[3];
  auto a0 = hn::Zero(d), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, e0 = a0, e1 = a0;
  for (std::int64_t k = 0; k < d_k; ++k, queries += columns) {
    const auto q0 = hn::LoadU(d, queries), q1 = hn::LoadU(d, queries + lanes);
    const auto ka = hn::Set(d, k0[k]), kb = hn::Set(d, k1[k]), kc = hn::Set(d, k2[k]), ke = hn::Set(d, k3[k]);
    a0 = hn::MulAdd(q0, ka, a0);
    a1 = hn::MulAdd(q1, ka, a1);
    b0 = hn::MulAdd(q0, kb, b0);
    b1 = hn::MulAdd(q1, kb, b1);
    c0 = hn::MulAdd(q0, kc, c0);
    c1 = hn::MulAdd(q1, kc, c1);
    e0 = hn::MulAdd(q0, ke, e0);
    e1 = hn::MulAdd(q1, ke, e1);
  }
  hn::StoreU(a0, d, out);
  hn::StoreU(a1, d, out + lanes);
  hn::StoreU(b0, d, out + columns);
  hn::StoreU(b1, d, out + columns + lanes);
  hn::StoreU(c0, d, out + 2 * columns);
  hn::StoreU(c1, d, out + 2 * columns + lanes);
  hn::StoreU(e0, d, out + 3 * columns);
  hn::StoreU(e1, d, out + 3 * columns + lanes);
}

HWY_INLINE void scores_1x1(const float* queries, std::int64_t d_k, const float* key, std::int64_t columns, float* out) {
  const F32 d;
  auto sum = hn::Zero(d);
  for (std::int64_t k = 0; k < d_k; ++k, queries += columns) {
    sum = hn::MulAdd(hn::LoadU(d, queries), hn::Set(d, key[k]), sum);
  }
  hn::StoreU(sum, d, out);
}

void scores(const float* queries, std::int64_t d_k, const float* const* keys, std::int64_t n_keys, std::int64_t columns,
            float* out) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(F32()));
  std::int64_t j = 0;
  for (; j + 4 <= n_keys; j += 4) {
    std::int64_t r = 0;
    for (; r + 2 * lanes <= columns; r += 2 * lanes)
      scores_4x2(queries + r, d_k, keys + j, columns, out + j * columns + r);
    for (; r < columns; r += lanes) {
      for (std::int64_t i = j; i < j + 4; ++i) scores_1x1(queries + r, d_k, keys[i], columns, out + i * columns + r);
    }
  }
  for (; j < n_keys; ++j) {
    for (std::int64_t r = 0; r < columns; r += lanes)
      scores_1x1(queries + r, d_k, keys[j], columns, out + j * columns + r);
  }
}

void column_max(const float* x, std::int64_t n_keys, std::int64_t columns, float* max) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < columns; r += lanes) {
    auto m = hn::LoadU(d, max + r);
    for (std::int64_t j = 0; j < n_keys; ++j) {
      // A comparison, not Max: a NaN score never becomes the maximum, it poisons its own weight instead.
      const auto s = hn::LoadU(d, x + j * columns + r);
      m = hn::IfThenElse(hn::Gt(s, m), s, m);
    }
    hn::StoreU(m, d, max + r);
  }
}

void column_exp(float* x, std::int64_t n_keys, std::int64_t columns, const float* max) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < columns; r += lanes) {
    const auto m = hn::LoadU(d, max + r);
    for (std::int64_t j = 0; j < n_keys; ++j) {
      float* s = x + j * columns + r;
      hn::StoreU(exp_f32(d, hn::Sub(hn::LoadU(d, s), m)), d, s);
    }
  }
}

void column_sum(const float* x, std::int64_t n_keys, std::int64_t columns, float* sum) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < columns; r += lanes) {
    auto l = hn::LoadU(d, sum + r);
    for (std::int64_t j = 0; j < n_keys; ++j) l = hn::Add(l, hn::LoadU(d, x + j * columns + r));
    hn::StoreU(l, d, sum + r);
  }
}

// Four rows by two vectors of columns of V.
template <class D>
HWY_INLINE void values_4x2(D d, const float* weights, std::int64_t pitch, const float* const* v, std::int64_t n_keys,
                           std::int64_t e, std::int64_t d_v, float* acc) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  float *r0 = acc + e, *r1 = r0 + d_v, *r2 = r1 + d_v, *r3 = r2 + d_v;
  auto a0 = hn::LoadU(d, r0), a1 = hn::LoadU(d, r0 + lanes), b0 = hn::LoadU(d, r1), b1 = hn::LoadU(d, r1 + lanes);
  auto c0 = hn::LoadU(d, r2), c1 = hn::LoadU(d, r2 + lanes), e0 = hn::LoadU(d, r3), e1 = hn::LoadU(d, r3 + lanes);
  for (std::int64_t j = 0; j < n_keys; ++j, weights += pitch) {
    const auto v0 = hn::LoadU(d, v[j] + e), v1 = hn::LoadU(d, v[j] + e + lanes);
    const auto wa = hn::Set(d, weights[0]), wb = hn::Set(d, weights[1]);
    const auto wc = hn::Set(d, weights[2]), we = hn::Set(d, weights[3]);
    a0 = hn::MulAdd(wa, v0, a0);
    a1 = hn::MulAdd(wa, v1, a1);
    b0 = hn::MulAdd(wb, v0, b0);
    b1 = hn::MulAdd(wb, v1, b1);
    c0 = hn::MulAdd(wc, v0, c0);
    c1 = hn::MulAdd(wc, v1, c1);
    e0 = hn::MulAdd(we, v0, e0);
    e1 = hn::MulAdd(we, v1, e1);
  }
  hn::StoreU(a0, d, r0);
  hn::StoreU(a1, d, r0 + lanes);
  hn::StoreU(b0, d, r1);
  hn::StoreU(b1, d, r1 + lanes);
  hn::StoreU(c0, d, r2);
  hn::StoreU(c1, d, r2 + lanes);
  hn::StoreU(e0, d, r3);
  hn::StoreU(e1, d, r3 + lanes);
}

// One row by four vectors of columns of V.
template <class D>
HWY_INLINE void values_1x4(D d, const float* weights, std::int64_t pitch, const float* const* v, std::int64_t n_keys,
                           std::int64_t e, float* acc) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  float* row = acc + e;
  auto a0 = hn::LoadU(d, row), a1 = hn::LoadU(d, row + lanes);
  auto a2 = hn::LoadU(d, row + 2 * lanes), a3 = hn::LoadU(d, row + 3 * lanes);
  for (std::int64_t j = 0; j < n_keys; ++j) {
    const auto w = hn::Set(d, weights[j * pitch]);
    const float* value = v[j] + e;
    a0 = hn::MulAdd(w, hn::LoadU(d, value), a0);
    a1 = hn::MulAdd(w, hn::LoadU(d, value + lanes), a1);
    a2 = hn::MulAdd(w, hn::LoadU(d, value + 2 * lanes), a2);
    a3 = hn::MulAdd(w, hn::LoadU(d, value + 3 * lanes), a3);
  }
  hn::StoreU(a0, d, row);
  hn::StoreU(a1, d, row + lanes);
  hn::StoreU(a2, d, row + 2 * lanes);
  hn::StoreU(a3, d, row + 3 * lanes);
}

template <class D>
HWY_INLINE void values_1x1(D d, const float* weights, std::int64_t pitch, const float* const* v, std::int64_t n_keys,
                           std::int64_t e, float* acc) {
  auto a = hn::LoadU(d, acc + e);
  for (std::int64_t j = 0; j < n_keys; ++j) {
    a = hn::MulAdd(hn::Set(d, weights[j * pitch]), hn::LoadU(d, v[j] + e), a);
  }
  hn::StoreU(a, d, acc + e);
}

void values(const float* weights, std::int64_t pitch, const float* const* v, std::int64_t n_keys, std::int64_t d_v,
            std::int64_t rows, float* acc) {
  const F32 d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t e = 0;
  if (rows == 4) {
    for (; e + 2 * lanes <= d_v; e += 2 * lanes) values_4x2(d, weights, pitch, v, n_keys, e, d_v, acc);
  }
  for (; e + 4 * lanes <= d_v; e += 4 * lanes) {
    for (std::int64_t r = 0; r < rows; ++r) values_1x4(d, weights + r, pitch, v, n_keys, e, acc + r * d_v);
  }
  for (; e + lanes <= d_v; e += lanes) {
    for (std::int64_t r = 0; r < rows; ++r) values_1x1(d, weights + r, pitch, v, n_keys, e, acc + r * d_v);
  }
  for (; e < d_v; ++e) {
    for (std::int64_t r = 0; r < rows; ++r) values_1x1(one, weights + r, pitch, v, n_keys, e, acc + r * d_v);
  }
}

}  // namespace attest::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
