// MSL's floatCxR and halfCxR: C columns, each a vector of R; products with vectors and matrices.
#pragma once

#include "backends/metal/sim/msl/common.h"

namespace metal {

template <class T, int C, int R>
struct matrix {
  vec<T, R> columns[C];

  matrix() = default;
  // Diagonal.
  MSL_INLINE explicit matrix(T v) {
    for (int c = 0; c < C; ++c) {
      for (int r = 0; r < R; ++r) columns[c][r] = c == r ? v : T(0);
    }
  }
  template <class... V, enable_if_t<sizeof...(V) == C, int> = 0>
  MSL_INLINE matrix(V... v) : columns{vec<T, R>(v)...} {}
  template <class... S, enable_if_t<sizeof...(S) == C * R && sizeof...(S) != C, long> = 0>
  MSL_INLINE matrix(S... v) {
    const T all[] = {static_cast<T>(v)...};
    for (int i = 0; i < C * R; ++i) columns[i / R][i % R] = all[i];
  }
  template <class U>
  MSL_INLINE explicit matrix(const matrix<U, C, R>& m) {
    *this = m;
  }
  // Element by element, also from another element type: what a 4x4 load that converts relies on.
  template <class U>
  MSL_INLINE matrix& operator=(const matrix<U, C, R>& m) {
    for (int c = 0; c < C; ++c) columns[c] = vec<T, R>(m.columns[c]);
    return *this;
  }
  MSL_INLINE vec<T, R>& operator[](int c) { return columns[c]; }
  MSL_INLINE const vec<T, R>& operator[](int c) const { return columns[c]; }
};

#define MSL_MATRIX_BINARY(op)                                                                  \
  template <class T, int C, int R>                                                             \
  MSL_INLINE matrix<T, C, R> operator op(const matrix<T, C, R>& a, const matrix<T, C, R>& b) { \
    matrix<T, C, R> r;                                                                         \
    for (int c = 0; c < C; ++c) r[c] = a[c] op b[c];                                           \
    return r;                                                                                  \
  }
MSL_MATRIX_BINARY(+)
MSL_MATRIX_BINARY(-)
template <class T, int C, int R>
MSL_INLINE matrix<T, C, R> operator*(const matrix<T, C, R>& a, as_is_t<T> b) {
  matrix<T, C, R> r;
  for (int c = 0; c < C; ++c) r[c] = a[c] * b;
  return r;
}
template <class T, int C, int R>
MSL_INLINE matrix<T, C, R> operator*(as_is_t<T> b, const matrix<T, C, R>& a) {
  return a * b;
}
template <class T, int C, int R>
MSL_INLINE matrix<T, C, R>& operator*=(matrix<T, C, R>& a, as_is_t<T> b) {
  return a = a * b;
}
template <class T, int C, int R>
MSL_INLINE vec<T, R> operator*(const matrix<T, C, R>& a, vec<T, C> b) {
  vec<T, R> r = a[0] * b[0];
  for (int c = 1; c < C; ++c) r += a[c] * b[c];
  return r;
}
template <class T, int C, int R>
MSL_INLINE vec<T, C> operator*(vec<T, R> a, const matrix<T, C, R>& b) {
  vec<T, C> r;
  for (int c = 0; c < C; ++c) r[c] = dot(a, b[c]);
  return r;
}
template <class T, int K, int C, int R>
MSL_INLINE matrix<T, C, R> operator*(const matrix<T, K, R>& a, const matrix<T, C, K>& b) {
  matrix<T, C, R> r;
  for (int c = 0; c < C; ++c) r[c] = a * b[c];
  return r;
}
template <class T, int C, int R>
MSL_INLINE matrix<T, R, C> transpose(const matrix<T, C, R>& a) {
  matrix<T, R, C> r;
  for (int c = 0; c < C; ++c) {
    for (int k = 0; k < R; ++k) r[k][c] = a[c][k];
  }
  return r;
}

#define MSL_MATRIX_NAMES(T)       \
  typedef matrix<T, 2, 2> T##2x2; \
  typedef matrix<T, 2, 3> T##2x3; \
  typedef matrix<T, 2, 4> T##2x4; \
  typedef matrix<T, 3, 2> T##3x2; \
  typedef matrix<T, 3, 3> T##3x3; \
  typedef matrix<T, 3, 4> T##3x4; \
  typedef matrix<T, 4, 2> T##4x2; \
  typedef matrix<T, 4, 3> T##4x3; \
  typedef matrix<T, 4, 4> T##4x4;
MSL_MATRIX_NAMES(float)
MSL_MATRIX_NAMES(half)

}  // namespace metal
