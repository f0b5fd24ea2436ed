// The tensors of the ops beside flash_attn_ext: which places of an InputPlan they take, and what fills them.
#pragma once

#include <cstdint>
#include <vector>

#include "cases/case.h"
#include "cases/inputs.h"
#include "cases/problem.h"

namespace attest {

// Places of each op. Absent tensors have no bytes.
//   soft_max_ext  q: scores f32 [n_kv, n_q, n_head, n_seq]; mask; sinks; out: f32, shape of the scores
//   set_rows      q: rows f32 [d, n_rows, n_head, n_seq]; mask: indices [n_rows, n_seq], i64 or i32, each sequence its
//                 own (read them with row_index()); out: the cache [d, n_ctx, n_head, n_seq] of type k_type, which
//                 holds old bytes before the call
//   kv_decode     q: f32 [d_k, tokens, n_head]; k, v: new rows f32 [d, tokens, n_head_kv]; mask: the bytes that lie in
//                 the caches at the start, K's then V's (initial_cache()); sinks; out: f32 [d_v, n_head, tokens]
InputPlan plan_op_inputs(const AttentionProblem& problem);
void fill_op_inputs(const Case& c, const InputPlan& plan, const InputBuffers& buffers);

// The destination of set_rows before the call: values of the cache's type that an earlier use left, or the poison.
void fill_old_rows(const Case& c, const InputPlan& plan, const InputBuffers& buffers);

void fill_sinks(const Case& c, const InputPlan& plan, const InputBuffers& buffers);

// set_rows: the row of the cache where row r of sequence s goes. Distinct within a sequence, below n_ctx.
std::int64_t row_index(const AttentionInputs& inputs, std::int64_t r, std::int64_t s);

// kv_decode: what lies in the K (V) cache before the first step, [d, n_ctx, n_head_kv] in the layout of the problem.
struct InitialCache {
  TensorView k, v;
};
InitialCache initial_cache(const AttentionInputs& inputs);
// Shape of a K (V) cache of `rows` rows: heads outermost, or tokens outermost where the layout is 0213.
TensorShape cache_shape(const AttentionProblem& problem, DType type, std::int64_t d, std::int64_t rows);
inline std::int64_t shape_bytes(const TensorShape& t) { return t.nb[3] * t.ne[3]; }

// The score of soft_max_ext that family and seed give, before scale.
bool family_fits_soft_max(const std::string& name);

}  // namespace attest
