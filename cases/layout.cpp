#include <algorithm>

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
  plan.bytes = plan.offset + std::max<std::int64_t>(nb[3] * e.seqs, info(type).block_bytes);
  return plan;
}

TensorPlan plan_contiguous(DType type, std::array<std::int64_t, 4> ne, std::int64_t offset) {
  const Extents e{ne[0], ne[1], ne[2], ne[3], ne[0], ne[1], ne[2]};
  LayoutSpec layout;
  layout.offset = offset;
  return plan_rows(type, e, layout);
}

// K or V: a prefix in keys, heads and columns of a parent that may be larger in each. The pad is rounded up to whole
// blocks, and a cache or parent smaller than the view counts as none.
TensorPlan plan_kv(const AttentionProblem& p, DType type, std::int64_t d, std::int64_t heads) {
  const LayoutSpec& layout = p.layout;
  const std::int64_t pad = round_up(std::max<std::int64_t>(layout.pad, 0), info(type).block);
  return plan_rows(
      type,
      {d, p.n_kv, heads, p.n_seq_kv, d + pad, std::max(layout.cache, p.n_kv), std::max(layout.parent_heads, heads)},
      layout);
}

}  // namespace

InputPlan plan_inputs(const AttentionProblem& p) {
  InputPlan plan;
  plan.q = plan_rows(DType::f32, {p.d_k, p.n_q, p.n_head, p.n_seq, p.d_k, p.n_q, p.n_head}, p.layout);
  plan.k = plan_kv(p, p.k_type, p.d_k, p.n_head_kv);
  if (p.layout.v_view_of_k) {
    plan.v_view_of_k = true;
    plan.v = plan.k;
    plan.v.shape.ne[0] = p.d_v;
    plan.v.shape.ne[2] = p.n_head_v;
    plan.v.bytes = 0;
  } else {
    plan.v = plan_kv(p, p.v_type, p.d_v, p.n_head_v);
  }
  if (p.mask.present()) {
    plan.mask = plan_contiguous(
        p.mask.type, {p.n_kv, p.n_q, p.mask.per_head ? p.n_head : 1, p.mask.per_seq ? p.n_seq : 1}, p.layout.offset);
  }
  if (p.sinks.kind != SinkKind::none) plan.sinks = plan_contiguous(DType::f32, {p.n_head, 1, 1, 1}, 0);
  plan.out = plan_contiguous(DType::f32, {p.d_v, p.n_head, p.n_q, p.n_seq}, 0);
  return plan;
}

}  // namespace attest
