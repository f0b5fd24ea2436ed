// The GPU of an Apple machine as a device, through Metal.framework; elsewhere there is none, and the reason.
#pragma once

#include <memory>
#include <string>

#include "backends/metal/device.h"
#include "cases/error.h"

namespace attest::metal {

// Error (harness): no Metal device on this machine.
Expected<std::unique_ptr<Device>> make_apple_device();

// Empty, or why there is none.
std::string apple_unavailable();

}  // namespace attest::metal
