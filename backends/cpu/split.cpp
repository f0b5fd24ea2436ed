#include "backends/cpu/split.h"

namespace attest::cpu {

double run_split(const KernelCall& call) { return split_kernel<Production>(call); }

}  // namespace attest::cpu
