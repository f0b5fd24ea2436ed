// Products of simdgroup matrices that lanes have noted and not yet worked out together.
#pragma once

#include "backends/metal/sim/msl/simd.h"

namespace msl {

// Lane l holds (row, column) and (row, column + 1): four quadrants of 4x4.
constexpr unsigned matrix_row(unsigned lane) { return lane / 16 * 4 + lane / 2 % 4; }
constexpr unsigned matrix_column(unsigned lane) { return lane / 8 % 2 * 4 + lane % 2 * 2; }

// One lane's part of d = a b + c. What is pending is read through its object, in order; the rest as it was.
struct MatrixProduct {
  float a[2], b[2], c[2];
  const void* pending_c;
  void* d;
  void (*get)(const void* matrix, float* elements);
  void (*put)(void* matrix, const float* elements);
  float* plain;  // where d is of float: its elements, and whether it is pending
  bool* pending;
  int line;
};
inline constexpr unsigned kMaxProducts = 64;
struct Products {
  unsigned count;
  MatrixProduct list[kMaxProducts];
};
inline Products g_products[1024];  // per thread of a threadgroup; counts start at 0 (Entry::run)

// Sums in float, in the order of the shared index, one fused multiply-add each; rounded to d's type once.
MSL_UNWATCHED inline void work_out(void* const* slots, unsigned index) {
  float a[8][8], b[8][8], d[8][8];
  for (unsigned l = 0; l < kSimdWidth; ++l) {
    MatrixProduct& p = static_cast<Products*>(slots[l])->list[index];
    if (p.pending_c == p.d && p.plain != nullptr) {
      p.c[0] = p.plain[0];
      p.c[1] = p.plain[1];
    } else if (p.pending_c != nullptr) {
      p.get(p.pending_c, p.c);
    }
    const unsigned row = matrix_row(l), column = matrix_column(l);
    __builtin_memcpy(&a[row][column], p.a, sizeof p.a);
    __builtin_memcpy(&b[row][column], p.b, sizeof p.b);
    __builtin_memcpy(&d[row][column], p.c, sizeof p.c);
  }
  for (int i = 0; i < 8; ++i) {
    for (int k = 0; k < 8; ++k) {
      for (int j = 0; j < 8; ++j) d[i][j] = __builtin_fmaf(a[i][k], b[k][j], d[i][j]);
    }
  }
  for (unsigned l = 0; l < kSimdWidth; ++l) {
    const MatrixProduct& p = static_cast<Products*>(slots[l])->list[index];
    const float* from = &d[matrix_row(l)][matrix_column(l)];
    if (p.plain == nullptr) {
      p.put(p.d, from);
      continue;
    }
    p.plain[0] = from[0];
    p.plain[1] = from[1];
    *p.pending = false;
  }
}

MSL_UNWATCHED inline const char* work_out_all(void* const* slots, unsigned) {
  const Products& first = *static_cast<Products*>(slots[0]);
  for (unsigned l = 1; l < kSimdWidth; ++l) {
    const Products& other = *static_cast<Products*>(slots[l]);
    bool same = other.count == first.count;
    for (unsigned i = 0; same && i < first.count; ++i) same = other.list[i].line == first.list[i].line;
    if (!same) return "is not what all lanes multiply";
  }
  for (unsigned i = 0; i < first.count; ++i) work_out(slots, i);
  for (unsigned l = 0; l < kSimdWidth; ++l) static_cast<Products*>(slots[l])->count = 0;
  return nullptr;
}

inline MSL_UNWATCHED __attribute__((noinline)) void settle_products() {
  Products& mine = g_products[self().index];
  g_runtime->collective("a product of simdgroup matrices", &mine, &work_out_all, true, mine.list[0].line);
}

template <class M>
MSL_UNWATCHED void get_elements(const void* matrix, float* to) {
  for (int i = 0; i < 2; ++i) to[i] = static_cast<float>(static_cast<const M*>(matrix)->elements.s[i]);
}
template <class M>
MSL_UNWATCHED void put_elements(void* matrix, const float* from) {
  M& m = *static_cast<M*>(matrix);
  for (int i = 0; i < 2; ++i) m.elements.s[i] = metal::convert<metal::scalar_of_t<typename M::storage_type>>(from[i]);
  m.pending = false;
}

template <class D, class A, class B, class C>
MSL_INLINE void note_product(D& d, const A& a, const B& b, const C* c, int line) {
  Products& mine = g_products[self().index];
  if (mine.count == kMaxProducts) settle_products();
  MatrixProduct& p = mine.list[mine.count++];
  get_elements<A>(&a, p.a);
  get_elements<B>(&b, p.b);
  p.c[0] = p.c[1] = 0.0f;
  p.pending_c = nullptr;
  p.get = &get_elements<C>;
  if (c != nullptr) {
    if (c->pending) {
      p.pending_c = c;
    } else {
      get_elements<C>(c, p.c);
    }
  }
  p.put = &put_elements<D>;
  p.d = &d;
  p.line = line;
  p.plain = nullptr;
  if constexpr (metal::is_same_v<metal::scalar_of_t<typename D::storage_type>, float>) p.plain = d.elements.s;
  p.pending = &d.pending;
  d.pending = true;
}

}  // namespace msl
