// Tensors that come from files instead of a generator, for the cases of a run.
#pragma once

#include <string>

#include "cases/case.h"
#include "cases/error.h"
#include "cases/inputs.h"

namespace attest {

// Thread-safe: const.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  // Whether it has tensors for this case: one of its own, or an altered form of one that its values still fit.
  virtual bool has(const Case& c) const = 0;
  // In place of fill_inputs(), for cases it has. The output is not its affair.
  virtual Expected<void> fill(const Case& c, const InputPlan& plan, const InputBuffers& buffers) const = 0;
  // Cases it does not have are generated from their lines where this says so, else they cannot be run.
  virtual bool generates(const Case& c) const = 0;
  // Whether roundings may be taken as independent (error-budget.md); values of a model are not known to be so.
  virtual bool generic(const Case& c) const = 0;
  // VerdictRecord::source.
  virtual std::string name(const Case& c) const = 0;
};

}  // namespace attest
