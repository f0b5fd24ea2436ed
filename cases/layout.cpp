#include <algorithm>

#include "cases/op_inputs.h"
#include "cases/problem.h"

namespace attest {
namespace {

constexpr std::int64_t round_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

// Halves and the block types, which begin with a half, lie on 2 bytes, f32 on 4. An offset that is no multiple is
// rounded up: a misaligned tensor is undefined behaviour for every backend, not a finding.
std::int64_t aligned_offset(DType type, std::int64_t offset) { return round_up(offset, type == DType::f32 ? 4 : 2); }

struct Extents {
  std::int64_t d, n, heads, seqs;                 // of the view
  std::int64_t parent_d, parent_n, parent_heads;  // of the memory it lies in
};

TensorPlan plan_rows(DType type, const Extents& e, const LayoutSpec& layout) {
  TensorPlan plan;
  plan.shape.dtype = type;
  plan.shape.ne = {e.d, e.n, e.heads, e.seqs};
  const std::int64_t row = row_bytes(type, e.parent_d);
  auto& nb = plan.shape.nb;
  nb[0] = info(type).block_bytes;
  nb[1] = layout.permuted ? row * e.parent_heads : row;
  nb[2] = layout.permuted ? row : row * e.parent_n;
  nb[3] = row * e.parent_heads * e.parent_n;
  plan.offset = aligned_offset(type, layout.offset);
  // A tensor without elements still gets one block, so that its pointer is one: bytes == 0 means absent.
  plan.bytes =
      plan.offset + std::max<std::int64_t>(nb[3] * e.seqs, info(type).block_bytes) + aligned_offset(type, layout.tail);
  return plan;
}

TensorPlan plan_contiguous(std::array<std::int64_t, 4> ne) {
  return plan_rows(DType::f32, {ne[0], ne[1], ne[2], ne[3], ne[0], ne[1], ne[2]}, {});
}

// Columns of blocks are n keys apart, so that the keys of one column lie side by side.
void transpose_keys(TensorPlan& plan, const Extents& e) {
  const auto& storage = info(plan.shape.dtype);
  auto& nb = plan.shape.nb;
  nb[1] = storage.block_bytes;
  nb[0] = nb[1] * e.parent_n;
  nb[2] = nb[0] * (e.parent_d / storage.block);
  nb[3] = nb[2] * e.parent_heads;
}

// K or V: a prefix in keys, heads and columns of a parent that may be larger in each. The pad is rounded up to whole
// blocks, and a cache or parent smaller than the view counts as none.
Extents kv_extents(const AttentionProblem& p, DType type, std::int64_t d, std::int64_t heads) {
  const LayoutSpec& layout = p.layout;
  const std::int64_t pad = round_up(std::max<std::int64_t>(layout.pad, 0), info(type).block);
  return {d, p.n_kv, heads, p.n_seq_kv, d + pad, std::max(layout.cache, p.n_kv), std::max(layout.parent_heads, heads)};
}

TensorPlan plan_k(const AttentionProblem& p) {
  const Extents e = kv_extents(p, p.k_type, p.d_k, p.n_head_kv);
  TensorPlan plan = plan_rows(p.k_type, e, p.layout);
  if (p.layout.k_transposed) transpose_keys(plan, e);
  return plan;
}

TensorPlan plan_mask(const AttentionProblem& p) {
  const std::int64_t heads = p.mask.per_head ? p.n_head : 1, seqs = p.mask.per_seq ? p.n_seq : 1;
  LayoutSpec layout;
  layout.offset = p.layout.offset;
  layout.tail = p.layout.tail;
  return plan_rows(p.mask.type,
                   {p.n_kv, p.n_q, heads, seqs, p.n_kv + p.layout.mask_cols, p.n_q + p.layout.mask_rows, heads},
                   layout);
}

}  // namespace

InputPlan plan_inputs(const AttentionProblem& p) {
  if (p.op != Op::flash_attn_ext) return plan_op_inputs(p);
  InputPlan plan;
  plan.q = plan_rows(DType::f32, {p.d_k, p.n_q, p.n_head, p.n_seq, p.d_k, p.n_q, p.n_head}, p.layout);
  plan.k = plan_k(p);
  if (p.layout.v_view_of_k) {
    plan.v_view_of_k = true;
    plan.v = plan.k;
    plan.v.shape.ne[0] = p.d_v;
    plan.v.shape.ne[2] = p.n_head_v;
    plan.v.bytes = 0;
  } else {
    plan.v = plan_rows(p.v_type, kv_extents(p, p.v_type, p.d_v, p.n_head_v), p.layout);
  }
  if (p.mask.present()) plan.mask = plan_mask(p);
  if (p.sinks.kind != SinkKind::none) plan.sinks = plan_contiguous({p.n_head, 1, 1, 1});
  plan.out = plan_contiguous({p.d_v, p.n_head, p.n_q, p.n_seq});
  plan.sparse = p.layout.sparse;
  return plan;
}

}  // namespace attest
