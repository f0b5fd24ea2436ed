#include "backends/cpu/tiled.h"

namespace attest::cpu {

double run_tiled(const KernelCall& call) { return tiled_kernel<Production>(call); }

}  // namespace attest::cpu
