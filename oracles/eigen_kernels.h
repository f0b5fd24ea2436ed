// The dense steps of the Eigen reference, built once per instruction set and chosen at run time.
#pragma once

#include <cstdint>

namespace attest {

// What turns raw dot products of one row into logits.
template <class Scalar>
struct LogitTerms {
  Scalar scale = 1, softcap = 0, slope = 1;
  const float* mask = nullptr;  // [n_keys] or nullptr; -inf hides the key
  const float* sink = nullptr;  // one more logit, or nullptr
};

// Plain pointers only: an inline function shared by two builds would be merged by the linker, and a machine without
// AVX-512 could end up in the AVX-512 copy. All matrices are row-major; stride is that of S and P, in elements.
template <class Scalar>
struct EigenKernels {
  const char* isa;
  // S[n_rows, n_keys] = Q[n_rows, d] K[n_keys, d]^T
  void (*scores)(const Scalar* q, std::int64_t n_rows, const float* k, std::int64_t n_keys, std::int64_t d, Scalar* s,
                 std::int64_t stride);
  // In place, one row of S that sees at least one key: raw dot products become softmax weights, 0 for hidden keys.
  void (*softmax)(Scalar* s, std::int64_t n_keys, const LogitTerms<Scalar>& terms);
  // O[n_rows, d] += P[n_rows, n_keys] V[n_keys, d]
  void (*weighted_sum)(const Scalar* p, std::int64_t n_rows, std::int64_t stride, const float* v, std::int64_t n_keys,
                       std::int64_t d, Scalar* o);
};

// The build for this machine's processor; `isa` names one ("baseline", "avx2", "avx512") for tests, nullptr when the
// processor or the build lacks it.
template <class Scalar>
const EigenKernels<Scalar>& eigen_kernels();
template <class Scalar>
const EigenKernels<Scalar>* eigen_kernels(const char* isa);

}  // namespace attest
