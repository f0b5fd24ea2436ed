// The judge of an op other than flash_attn_ext: works its key out while the backend runs, then rules.
#pragma once

#include <memory>

#include "cases/case.h"
#include "cases/contract.h"
#include "harness/compare.h"
#include "harness/key.h"
#include "reports/record.h"

namespace attest {

class OpJudge {
 public:
  virtual ~OpJudge() = default;
  // Works the key out; called while the backend runs.
  virtual void prepare(const ArithmeticContract& contract) = 0;
  // `out` as plan_inputs() lays it out. Fills the record as compare() does.
  virtual Ruling rule(const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record) = 0;
};

// `c` and what the inputs view must outlive the judge. nullptr for flash_attn_ext, which compare() judges.
std::unique_ptr<OpJudge> make_op_judge(const Case& c, const AttentionInputs& inputs, const KeyOptions& options);

// One per op, for make_op_judge.
std::unique_ptr<OpJudge> judge_soft_max(const Case& c, const AttentionInputs& inputs, const KeyOptions& options);
std::unique_ptr<OpJudge> judge_set_rows(const Case& c, const AttentionInputs& inputs);
std::unique_ptr<OpJudge> judge_kv_decode(const Case& c, const AttentionInputs& inputs, const KeyOptions& options);

}  // namespace attest
