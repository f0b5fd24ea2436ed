#define Eigen Eigen_avx2
#define ATTEST_EIGEN_ISA avx2
#include "oracles/eigen_kernels.inc"
