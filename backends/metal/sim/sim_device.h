// The Metal simulator as a device: compiles MSL for this machine and runs it thread by thread.
#pragma once

#include <memory>
#include <string>

#include "backends/metal/device.h"
#include "backends/metal/sim/executor.h"

namespace attest::metal {

// free: every thread runs to its next point of synchronisation, Metal's memory model as written.
// lockstep: the lanes of a simdgroup take every basic block and every access to threadgroup memory together, as GPUs
// run them: kernels that count on this give what they give there.
// tsan: as free, and accesses to threadgroup memory are watched: races, uninitialised reads and reads and writes out
// of bounds are found whatever the order, with the lines of both sides.
enum class ExecutionModel : std::uint8_t { free, lockstep, tsan };

struct SimOptions {
  ExecutionModel model = ExecutionModel::free;
  RunOrder order;
};

// Error (harness): no compiler here, and how to get one.
Expected<std::unique_ptr<Device>> make_sim_device(const SimOptions& options);

// Empty, or why there is no simulator on this machine.
std::string sim_unavailable();

}  // namespace attest::metal
