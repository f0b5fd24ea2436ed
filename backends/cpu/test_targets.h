// For tests: the instruction sets the CPU kernels can run on here, one at a time.
#pragma once

#include <hwy/targets.h>

#include <string>
#include <vector>

#include "backends/cpu/simd.h"

namespace attest::cpu {

// While it lives, Highway knows one instruction set only.
class RestrictTo {
 public:
  explicit RestrictTo(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(target);
  }
  ~RestrictTo() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  RestrictTo(const RestrictTo&) = delete;
  RestrictTo& operator=(const RestrictTo&) = delete;
};

// Those of this machine that the kernels are compiled for, best first.
inline std::vector<std::int64_t> all_targets() {
  std::vector<std::int64_t> targets;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    const RestrictTo restriction(target);
    if (std::string(primitives().target) == hwy::TargetName(target)) targets.push_back(target);
  }
  return targets;
}

}  // namespace attest::cpu
