// Case -> tensors: fills memory planned by plan_inputs() with the values, mask, sinks and poison of a case.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "cases/case.h"
#include "cases/problem.h"

namespace attest {

// Memory for the allocations of an InputPlan; sizes at least plan.<tensor>.bytes, aligned to 64 bytes.
struct InputBuffers {
  std::byte *q = nullptr, *k = nullptr, *v = nullptr, *mask = nullptr, *sinks = nullptr, *out = nullptr;
};

// Fills every byte of every allocation: values, then what the case's poison puts beyond, between and around them. Where
// plan.sparse, only the views and what lies before and after them: the rest must be zero, and stays untouched.
// A pure function of text(c): same bytes on every machine, whatever `threads` is.
void fill_inputs(const Case& c, const InputPlan& plan, const InputBuffers& buffers, int threads = 1);

// The output alone, as it is before a call: NaNs of the pattern kOutputPrefill (poison.h), or the case's poison.
void fill_output(const Case& c, const InputPlan& plan, const InputBuffers& buffers);

AttentionInputs input_views(const Case& c, const InputPlan& plan, const InputBuffers& buffers);
MutableTensorView output_view(const InputPlan& plan, const InputBuffers& buffers);

// Inputs in memory of their own (64-byte aligned heap): for tests, tools and in-process work.
class OwnedInputs {
 public:
  explicit OwnedInputs(const Case& c, int threads = 1);
  const AttentionInputs& inputs() const { return inputs_; }
  const MutableTensorView& output() const { return output_; }
  const InputPlan& plan() const { return plan_; }
  const InputBuffers& buffers() const { return buffers_; }
  const Case& the_case() const { return *case_; }

 private:
  std::unique_ptr<Case> case_;
  InputPlan plan_;
  std::unique_ptr<std::byte[], std::function<void(std::byte*)>> memory_;
  InputBuffers buffers_;
  AttentionInputs inputs_;
  MutableTensorView output_;
};

}  // namespace attest
