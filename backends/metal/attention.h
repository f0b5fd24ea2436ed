// Which kernel answers an attention problem on a Metal device, with which constants, arguments and grid.
#pragma once

#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/metal/device.h"
#include "cases/contract.h"
#include "cases/problem.h"

namespace attest::metal {

enum class AttentionKernel { pick, vec, tiled };

struct AttentionOptions {
  AttentionKernel kernel = AttentionKernel::pick;
  float vskip = 0;  // rows of V whose weight is below this part of the largest so far are skipped; 0: none
  int mutant = 0;   // the bug of a mutable_library() to wake up (mutants.h); 0: none
};
inline constexpr int kMutantConstant = 63;  // [[function_constant]] that says which

// The .metal text of the attention library, of one kernel or all, and the name its messages give.
std::string attention_library(AttentionKernel kernel = AttentionKernel::pick);
inline constexpr const char* kAttentionLibrary = "attention.metal";

Support attention_support(const AttentionProblem& problem);
ArithmeticContract attention_contract(const AttentionProblem& problem, const AttentionOptions& options);

// The dispatches of one problem, and the memory they need beside the tensors.
struct AttentionWork {
  std::vector<Dispatch> dispatches;
  std::vector<float> slopes;       // ALiBi, [n_head]
  std::vector<std::byte> partial;  // of the chunks of keys; poison before the run
};
// Fills `work`; its dispatches point into the tensors and into `work`.
void plan_attention(const AttentionInputs& inputs, const MutableTensorView& out, const AttentionOptions& options,
                    AttentionWork& work);

}  // namespace attest::metal
