// simdgroup_matrix: 8x8 matrices spread over the lanes of a simdgroup, two elements each, where Apple's GPUs have them.
// Loads and stores are each lane's own business. A product takes all lanes: each lane notes its part, and they meet
// when one of them needs a result. The matrix that gets it is `pending` until then.
#pragma once

#include "backends/metal/sim/msl/product.h"

namespace metal {

template <class T, int C, int R>
struct simdgroup_matrix {
  static_assert(C == 8 && R == 8, "simdgroup matrices are 8x8");
  static_assert(is_floating_point_v<T>, "simdgroup matrices hold float, half or bfloat");
  typedef vec<T, 2> storage_type;
  storage_type elements;
  bool pending = false;

  MSL_INLINE simdgroup_matrix() {}
  MSL_INLINE explicit simdgroup_matrix(T diagonal) {
    const uint row = msl::matrix_row(msl::self().lane), column = msl::matrix_column(msl::self().lane);
    elements = storage_type(row == column ? diagonal : T(0), row == column + 1 ? diagonal : T(0));
  }
  MSL_INLINE simdgroup_matrix(const simdgroup_matrix& m) : elements(m.settled().elements) {}
  MSL_INLINE simdgroup_matrix& operator=(const simdgroup_matrix& m) {
    const storage_type now = m.settled().elements;
    settled().elements = now;
    return *this;
  }
  MSL_INLINE ~simdgroup_matrix() { settled(); }
  MSL_INLINE storage_type& thread_elements() { return settled().elements; }
  MSL_INLINE const storage_type& thread_elements() const { return settled().elements; }

  MSL_INLINE simdgroup_matrix& settled() {
    if (pending) msl::settle_products();
    return *this;
  }
  MSL_INLINE const simdgroup_matrix& settled() const {
    if (pending) msl::settle_products();
    return *this;
  }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
MSL_IF_BFLOAT(typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;)

template <class T, int C, int R>
MSL_INLINE simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(as_is_t<T> v) {
  simdgroup_matrix<T, C, R> m;
  m.elements = vec<T, 2>(v);
  return m;
}

template <class T, int C, int R>
MSL_INLINE void simdgroup_load(simdgroup_matrix<T, C, R>& m, const as_is_t<T>* from, ulong elements_per_row = C,
                               ulong2 origin = ulong2(0), bool transpose = false) {
  const ulong row = msl::matrix_row(msl::self().lane), column = msl::matrix_column(msl::self().lane);
  m.settled();
  for (ulong i = 0; i < 2; ++i) {
    const ulong y = transpose ? column + i : row, x = transpose ? row : column + i;
    m.elements.s[i] = from[(origin.s[1] + y) * elements_per_row + origin.s[0] + x];
  }
}
template <class T, int C, int R>
MSL_INLINE void simdgroup_store(const simdgroup_matrix<T, C, R>& m, as_is_t<T>* to, ulong elements_per_row = C,
                                ulong2 origin = ulong2(0), bool transpose = false) {
  const ulong row = msl::matrix_row(msl::self().lane), column = msl::matrix_column(msl::self().lane);
  m.settled();
  for (ulong i = 0; i < 2; ++i) {
    const ulong y = transpose ? column + i : row, x = transpose ? row : column + i;
    to[(origin.s[1] + y) * elements_per_row + origin.s[0] + x] = m.elements.s[i];
  }
}

template <class D, class A, class B, class C>
MSL_INLINE void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                              const simdgroup_matrix<B, 8, 8>& b, const simdgroup_matrix<C, 8, 8>& c,
                                              MSL_LINE) {
  a.settled();
  b.settled();
  msl::note_product(d, a, b, &c, line);
}
template <class D, class A, class B>
MSL_INLINE void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                   const simdgroup_matrix<B, 8, 8>& b, MSL_LINE) {
  a.settled();
  b.settled();
  msl::note_product(d, a, b, static_cast<const simdgroup_matrix<D, 8, 8>*>(nullptr), line);
}
template <class T>
MSL_INLINE simdgroup_matrix<T, 8, 8> operator*(const simdgroup_matrix<T, 8, 8>& a, const simdgroup_matrix<T, 8, 8>& b) {
  simdgroup_matrix<T, 8, 8> d;
  simdgroup_multiply(d, a, b);
  return d;
}

}  // namespace metal
