// Which problems ggml would abort on while building or computing its graph: asked before it gets the chance.
#pragma once

#include "backends/backend.h"
#include "backends/ggml/contract.h"
#include "backends/ggml/loader.h"

namespace attest::ggml {

// A type attest knows under a number that this build gives to the same type. Types younger than the build are not asked
// for by number: since February 2026 ggml_type_name() reads whatever lies behind its table.
bool has_type(const Api& api, DType type);
// The value of GGML_PREC_F32 in this build (1 before May 2025, 10 since), 0 where it cannot be told.
int prec_f32_value(const Api& api);
// Mask rows had to be a multiple of 64 before ggml 0.9.5.
std::int64_t mask_rows_multiple(const Library& library);

// Steps of kv_decode are flash_attn_ext problems; the other ops have rules of their own.
// Everything that can be told from the problem alone; the device's own supports_op comes after.
Support check_problem(const AttentionProblem& problem, const Library& library, Form form);

}  // namespace attest::ggml
