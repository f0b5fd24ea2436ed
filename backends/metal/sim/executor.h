// Runs the threads of a threadgroup as fibers: every one to its next point of synchronisation, in a chosen order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/metal/device.h"
#include "backends/metal/sim/abi.h"
#include "backends/metal/sim/arena.h"

namespace attest::metal {

// In which order simdgroups, lanes and threadgroups go: ascending, descending, or by priorities redrawn at barriers.
struct RunOrder {
  enum class Kind : std::uint8_t { fifo, lifo, random };
  Kind kind = Kind::fifo;
  std::uint64_t seed = 0;
};

struct Launch {
  const msl::Module* module = nullptr;
  const msl::Kernel* kernel = nullptr;
  msl::Call call;
  Size3 threadgroups, threads;
  RunOrder order;
  bool watch = false;    // the module tells accesses
  bool in_step = false;  // the module tells steps
  std::function<std::string(const void*)> line_of;
  struct Written {
    std::string name;
    const std::byte* data = nullptr;
    std::size_t bytes = 0;
  };
  std::vector<Written> written;  // device memory that the kernel may write
};

// One at a time in a process: compiled kernels call back into the running one.
class Executor {
 public:
  Executor();
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // Threadgroup memory of the arguments is laid into the arena by the caller before run().
  Arena& arena();
  // What happened in the last run() and no verdict forbids, a sentence each.
  std::vector<std::string> notes() const;
  // Runs the whole grid, or up to the first threadgroup with findings. Error (input): what Apple would refuse, found
  // while running (static threadgroup memory).
  Expected<std::vector<Finding>> run(const Launch& launch);
  class Work;

 private:
  std::unique_ptr<Work> work_;
};

}  // namespace attest::metal
