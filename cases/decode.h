// kv_decode step by step: which tokens a step stores where, what it may see, and the plain question behind it all.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cases/case.h"
#include "cases/contract.h"
#include "cases/problem.h"

namespace attest {

struct DecodeStep {
  std::int64_t first = 0;     // token (row of Q and of the new K and V) of the step's first query
  std::int64_t n = 1;         // tokens of the step
  std::int64_t position = 0;  // row of the cache where the first one is stored
  std::int64_t rows = 0;      // rows of the cache during the step: n_ctx, or fewer where it grows
  int pass = 0;               // 0, or 1 after the restart
  bool restarts = false;      // first step of a pass but the first

  // Token i of the step sees rows [0, position + i], whatever lies in the others.
  std::int64_t visible(std::int64_t i) const { return position + i + 1; }
};
std::vector<DecodeStep> decode_steps(const AttentionProblem& problem);
// prompt + steps, and with a restart restart + steps more.
std::int64_t decode_tokens(const DecodeSpec& spec);

// The step as flash_attn_ext: n queries over `rows` keys, under an f16 mask unless every row of the cache is visible
// to the only query.
AttentionProblem step_problem(const AttentionProblem& problem, const DecodeStep& step);
// The mask of a step, f16 [rows, n]: 0 or -inf.
std::vector<std::uint16_t> step_mask(const DecodeStep& step);

// What all steps together promise: the loosest of every term. `of_step` gives the contract of one.
ArithmeticContract decode_contract(const AttentionProblem& problem,
                                   const std::function<ArithmeticContract(const AttentionProblem&)>& of_step);

// The plain answer's question: all tokens at once over the rows as stored, each seeing its own pass up to itself. No
// cache, no steps, no old bytes.
class PlainDecode {
 public:
  // `inputs` of a kv_decode case; Q and the sinks are viewed, not copied.
  PlainDecode(const Case& c, const AttentionInputs& inputs);
  PlainDecode(const PlainDecode&) = delete;
  PlainDecode& operator=(const PlainDecode&) = delete;

  const Case& the_case() const { return case_; }
  const AttentionInputs& inputs() const { return inputs_; }

 private:
  Case case_;
  std::vector<std::byte> k_, v_;
  std::vector<float> mask_;
  AttentionInputs inputs_;
};

}  // namespace attest
