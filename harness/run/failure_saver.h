// Where a run hands over what failed, tensors included, while they still lie in memory.
#pragma once

#include <cstddef>
#include <span>

#include "cases/case.h"
#include "cases/contract.h"
#include "cases/inputs.h"
#include "harness/key.h"
#include "reports/record.h"

namespace attest {

struct FailedCase {
  const VerdictRecord& record;  // the final word, bad
  const Case& the_case;
  const InputPlan& plan;
  const InputBuffers& buffers;
  Key* key = nullptr;                            // flash_attn_ext alone
  const ArithmeticContract* contract = nullptr;  // where the backend ran to its end
  std::span<const std::byte> output = {};        // its output then: the bytes of plan.out's allocation
};

class FailureSaver {
 public:
  virtual ~FailureSaver() = default;
  // Called by every slot at any time. What goes wrong is the saver's to tell at the end of the run.
  virtual void save(const FailedCase& failed) = 0;
};

}  // namespace attest
