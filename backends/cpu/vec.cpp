#include "backends/cpu/vec.h"

namespace attest::cpu {

double run_vec(const KernelCall& call) { return vec_kernel<Production>(call); }

}  // namespace attest::cpu
