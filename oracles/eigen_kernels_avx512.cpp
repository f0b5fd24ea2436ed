#define Eigen Eigen_avx512
#define ATTEST_EIGEN_ISA avx512
#include "oracles/eigen_kernels.inc"
