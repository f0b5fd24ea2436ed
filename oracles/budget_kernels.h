// The vectorised inner loops of the error budget: sums over d_k for each key, sums over keys for each column of V.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace attest {

// All arrays the kernels touch start at a multiple of 64 bytes.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const AlignedAllocator&) const { return true; }
};
template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

// Row lengths the kernels accept: a multiple of the widest vector. Padding must hold zeros.
std::size_t budget_padded(std::size_t n);

// A decoded block of keys and which of its rows a query sees: row i of the list starts at data + rows[i] * stride.
struct KeyBlock {
  const float* data = nullptr;
  std::size_t stride = 0;  // floats, padded
  const std::int32_t* rows = nullptr;
  std::size_t count = 0;
};

// Per key: x = q.K (fp64), a = sum |q_k K_jk|, b2 = sum (q_k K_jk)^2 (f32: budgets need two digits).
struct DotStats {
  double* x;
  float* a;
  float* b2;
};
void budget_dots(const KeyBlock& keys, const float* q, const double* q_wide, const DotStats& out);

// First pass over V: o += p V (fp64), a += p |V|, and the range of every column.
struct ColumnStats {
  double* o;
  float *a, *max, *min;
};
void budget_columns(const KeyBlock& values, const double* p, const ColumnStats& out);

// Second pass over V, one accumulator per column and term of error-budget.md. `n` and `beta` carry the kernel's
// partial numerator and f16 error recursion from call to call; the others only add up.
struct ValueTerms {
  float *score, *variance;             // sum w |V - O|, sum s (V - O)^2
  float *n, *n_squared, *stagnation;   // N_t, sum N_t^2, sum [|pV| < 4u|N|] min(|pV|, u|N|)
  float *p_abs, *p_squared, *product;  // sum p max(|V|,|V-O|), sum p^2 max(V^2,(V-O)^2), sum (pV)^2
  float *v_abs, *v_squared;            // sum |V|, sum V^2
  float *common, *beta;                // sum g (V - O), and beta_t = beta_(t-1) + u (|N_t| + beta_(t-1))
};
struct ValueWeights {
  const float *p, *w, *s;
  const float* g;   // weight of `common`; may be null where `extra` is false
  const float* o;   // reference, padded
  float u_acc = 0;  // for stagnation and beta
  bool stagnation = false;
  bool extra = false;   // the terms from p_abs on
  bool frozen = false;  // order unknown: n holds a bound of |N_t| and stays
};
void budget_values(const KeyBlock& values, const ValueWeights& weights, const ValueTerms& terms);

// Jacobian of O with respect to c q: for the listed columns k of K, jacobian[i * padded(d_v) + e] +=
// sum_j weight_j K_jk (V_je - O_e). K and V rows are those of the same keys.
void budget_jacobian(const KeyBlock& keys, const KeyBlock& values, const float* weight, const float* o,
                     const std::int32_t* columns, std::size_t n_columns, float* jacobian);

}  // namespace attest
