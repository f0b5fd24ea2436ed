// How much memory there is for this process and its children.
#pragma once

#include <algorithm>
#include <optional>

namespace attest {

struct MachineMemory {  // bytes
  double physical = 0;              // 0: the system does not say
  std::optional<double> available;  // without swapping; Linux
  std::optional<double> container;  // the limit of this cgroup; Linux
  double most() const { return container ? std::min(physical, *container) : physical; }
};
MachineMemory machine_memory();

}  // namespace attest
