// simdgroup_matrix: 8x8 matrices spread over the lanes of a simdgroup, two elements each, where Apple's GPUs have them.
// Loads and stores are each lane's own business; products take all lanes.
#pragma once

#include "backends/metal/sim/msl/simd.h"

namespace metal {

template <class T, int C, int R>
struct simdgroup_matrix {
  static_assert(C == 8 && R == 8, "simdgroup matrices are 8x8");
  static_assert(is_floating_point_v<T>, "simdgroup matrices hold float, half or bfloat");
  typedef vec<T, 2> storage_type;
  storage_type elements;

  simdgroup_matrix() = default;
  MSL_INLINE explicit simdgroup_matrix(T diagonal);
  MSL_INLINE storage_type& thread_elements() { return elements; }
  MSL_INLINE const storage_type& thread_elements() const { return elements; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
MSL_IF_BFLOAT(typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;)

}  // namespace metal

namespace msl {

// Lane l holds (row, column) and (row, column + 1): four quadrants of 4x4.
constexpr unsigned matrix_row(unsigned lane) { return lane / 16 * 4 + lane / 2 % 4; }
constexpr unsigned matrix_column(unsigned lane) { return lane / 8 % 2 * 4 + lane % 2 * 2; }

template <class D, class A, class B, class C>
struct Product8x8 {
  D* d;
  const A* a;
  const B* b;
  const C* c;  // nullptr: zero

  template <class M>
  static void gather(float (&to)[8][8], const M* from, unsigned lane) {
    to[matrix_row(lane)][matrix_column(lane)] = static_cast<float>(from->elements.s[0]);
    to[matrix_row(lane)][matrix_column(lane) + 1] = static_cast<float>(from->elements.s[1]);
  }
  // Sums in float, in the order of the shared index, one fused multiply-add each; rounded to D once.
  static const char* combine(void* const* slots, unsigned) {
    float a[8][8], b[8][8], d[8][8] = {};
    for (unsigned l = 0; l < kSimdWidth; ++l) {
      const auto& p = *static_cast<Product8x8*>(slots[l]);
      gather(a, p.a, l);
      gather(b, p.b, l);
      if (p.c != nullptr) gather(d, p.c, l);
    }
    for (int i = 0; i < 8; ++i) {
      for (int k = 0; k < 8; ++k) {
        for (int j = 0; j < 8; ++j) d[i][j] = __builtin_fmaf(a[i][k], b[k][j], d[i][j]);
      }
    }
    for (unsigned l = 0; l < kSimdWidth; ++l) {
      auto& to = static_cast<Product8x8*>(slots[l])->d->elements;
      to = metal::vec<float, 2>(d[matrix_row(l)][matrix_column(l)], d[matrix_row(l)][matrix_column(l) + 1]);
    }
    return nullptr;
  }
};

}  // namespace msl

namespace metal {

template <class T, int C, int R>
MSL_INLINE simdgroup_matrix<T, C, R>::simdgroup_matrix(T diagonal) {
  const uint row = msl::matrix_row(msl::self().lane), column = msl::matrix_column(msl::self().lane);
  elements.s[0] = row == column ? diagonal : T(0);
  elements.s[1] = row == column + 1 ? diagonal : T(0);
}

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
  for (ulong i = 0; i < 2; ++i) {
    const ulong y = transpose ? column + i : row, x = transpose ? row : column + i;
    m.elements.s[i] = from[(origin.s[1] + y) * elements_per_row + origin.s[0] + x];
  }
}
template <class T, int C, int R>
MSL_INLINE void simdgroup_store(const simdgroup_matrix<T, C, R>& m, as_is_t<T>* to, ulong elements_per_row = C,
                                ulong2 origin = ulong2(0), bool transpose = false) {
  const ulong row = msl::matrix_row(msl::self().lane), column = msl::matrix_column(msl::self().lane);
  for (ulong i = 0; i < 2; ++i) {
    const ulong y = transpose ? column + i : row, x = transpose ? row : column + i;
    to[(origin.s[1] + y) * elements_per_row + origin.s[0] + x] = m.elements.s[i];
  }
}

template <class D, class A, class B, class C>
MSL_INLINE void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                              const simdgroup_matrix<B, 8, 8>& b, const simdgroup_matrix<C, 8, 8>& c,
                                              MSL_LINE) {
  typedef msl::Product8x8<simdgroup_matrix<D, 8, 8>, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>,
                          simdgroup_matrix<C, 8, 8>>
      Product;
  Product mine{&d, &a, &b, &c};
  msl::g_runtime->collective("simdgroup_multiply_accumulate", &mine, &Product::combine, true, line);
}
template <class D, class A, class B>
MSL_INLINE void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                   const simdgroup_matrix<B, 8, 8>& b, MSL_LINE) {
  typedef msl::Product8x8<simdgroup_matrix<D, 8, 8>, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>,
                          simdgroup_matrix<D, 8, 8>>
      Product;
  Product mine{&d, &a, &b, nullptr};
  msl::g_runtime->collective("simdgroup_multiply", &mine, &Product::combine, true, line);
}

}  // namespace metal
