#include "harness/ops/op_judge.h"

namespace attest {

std::unique_ptr<OpJudge> make_op_judge(const Case& c, const AttentionInputs& inputs, const KeyOptions& options) {
  switch (c.problem.op) {
    case Op::soft_max_ext:
      return judge_soft_max(c, inputs, options);
    case Op::set_rows:
      return judge_set_rows(c, inputs);
    case Op::kv_decode:
      return judge_kv_decode(c, inputs, options);
    case Op::flash_attn_ext:
      break;
  }
  return nullptr;
}

}  // namespace attest
