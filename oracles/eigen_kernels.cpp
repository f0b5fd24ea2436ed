#include "oracles/eigen_kernels.h"

#include <cstring>

namespace attest {

#define ATTEST_DECLARE_BUILD(build)              \
  namespace build {                              \
  extern const EigenKernels<double> kKernelsF64; \
  extern const EigenKernels<float> kKernelsF32;  \
  template <class Scalar>                        \
  const EigenKernels<Scalar>& kernels() {        \
    if constexpr (sizeof(Scalar) == 8) {         \
      return kKernelsF64;                        \
    } else {                                     \
      return kKernelsF32;                        \
    }                                            \
  }                                              \
  }
ATTEST_DECLARE_BUILD(baseline)
#ifdef ATTEST_EIGEN_X86_BUILDS
ATTEST_DECLARE_BUILD(avx2)
ATTEST_DECLARE_BUILD(avx512)
#endif

template <class Scalar>
const EigenKernels<Scalar>* eigen_kernels(const char* isa) {
#ifdef ATTEST_EIGEN_X86_BUILDS
  if (std::strcmp(isa, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("fma")) {
    return &avx512::kernels<Scalar>();
  }
  if (std::strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return &avx2::kernels<Scalar>();
  }
#endif
  return std::strcmp(isa, "baseline") == 0 ? &baseline::kernels<Scalar>() : nullptr;
}

template <class Scalar>
const EigenKernels<Scalar>& eigen_kernels() {
  static const EigenKernels<Scalar>* const best = [] {
    if (const auto* kernels = eigen_kernels<Scalar>("avx512")) return kernels;
    if (const auto* kernels = eigen_kernels<Scalar>("avx2")) return kernels;
    return eigen_kernels<Scalar>("baseline");
  }();
  return *best;
}

template const EigenKernels<double>& eigen_kernels<double>();
template const EigenKernels<float>& eigen_kernels<float>();
template const EigenKernels<double>* eigen_kernels<double>(const char* isa);
template const EigenKernels<float>* eigen_kernels<float>(const char* isa);

}  // namespace attest
