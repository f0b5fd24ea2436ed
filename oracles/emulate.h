// Declared roundings of Q, done the way the kernel's contract says, so that they need no room in the error budget.
#pragma once

#include <vector>

#include "cases/contract.h"
#include "oracles/oracle.h"

namespace attest {

// Inputs whose Q went through the rounding a contract declares. q_rounding none: the inputs as they are. The views
// other than Q are the original ones; K's and V's memory must outlive this object.
class EmulatedInputs {
 public:
  EmulatedInputs(const AttentionInputs& inputs, QRounding rounding);
  const AttentionInputs& inputs() const { return inputs_; }
  QRounding rounding() const { return rounding_; }

  // Per element of Q (same indexing as a contiguous [d_k, n_q, n_head, n_seq] tensor): the quantisation step if the
  // scaled value lies within 4 ulp of a tie (tie rules differ by instruction set), else 0. Empty without rounding.
  const std::vector<float>& tie_steps() const { return tie_steps_; }

 private:
  AttentionInputs inputs_;
  QRounding rounding_;
  std::vector<float> q_;
  std::vector<float> tie_steps_;
};

}  // namespace attest
