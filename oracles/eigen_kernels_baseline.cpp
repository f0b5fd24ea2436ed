#define ATTEST_EIGEN_ISA baseline
#include "oracles/eigen_kernels.inc"
