// Machines without Metal.framework.
#include "backends/metal/device_apple.h"

namespace attest::metal {

Expected<std::unique_ptr<Device>> make_apple_device() { return harness_error("metal: " + apple_unavailable()); }

std::string apple_unavailable() { return "this is no Apple machine; metal:sim runs the same kernels"; }

}  // namespace attest::metal
