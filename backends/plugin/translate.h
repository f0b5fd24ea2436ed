// Problems and contracts in the words of attest_plugin.h, and back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backends/plugin/attest_plugin.h"
#include "cases/contract.h"
#include "cases/error.h"
#include "cases/problem.h"

namespace attest::plugin {

// Shapes, strides, alignments and parameters; no data. Of flash_attn_ext problems only.
attest_problem problem_for_plugin(const AttentionProblem& problem, int threads);
// The same with the tensors' data.
attest_problem problem_for_plugin(const AttentionInputs& inputs, const MutableTensorView& out, int threads);

// A kernel in f32 throughout.
attest_contract standard_contract();
// Sets a number or flag of a contract by its name. False: no such field.
bool set_contract_field(attest_contract& contract, std::string_view name, double value);
std::vector<std::string> contract_field_names();
// Errors (harness): a value that is none, by name: "u_acc = -1 is no unit roundoff: 0 to below 1".
Expected<ArithmeticContract> read_contract(const attest_contract& contract);

}  // namespace attest::plugin
