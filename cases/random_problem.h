// RapidCheck generator of small valid cases in every layout, for the property tests of this room.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cases/case.h"

namespace attest::testing {

inline MaskTerm random_mask_term(std::int64_t n_kv) {
  const auto kind = static_cast<MaskKind>(*rc::gen::inRange(0, static_cast<int>(MaskKind::ggml) + 1));
  MaskTerm term{kind, 0, DeadRows::none};
  if (kind == MaskKind::used || kind == MaskKind::left)
    term.arg = static_cast<double>(*rc::gen::inRange<std::int64_t>(0, n_kv + 1));
  if (kind == MaskKind::window || kind == MaskKind::document) term.arg = *rc::gen::inRange(1, 12);
  if (kind == MaskKind::blocks) term.arg = *rc::gen::element(0, 2, 3);
  if (kind == MaskKind::random) term.arg = *rc::gen::element(1.0, 2.5);
  if (kind == MaskKind::finite || kind == MaskKind::finite_rows || kind == MaskKind::finite_blocks ||
      kind == MaskKind::finite_left)
    term.arg = *rc::gen::element(-65504.0, 1.5);
  if (kind == MaskKind::dead) term.where = static_cast<DeadRows>(*rc::gen::inRange(1, 6));
  return term;
}

inline Case random_case() {
  using rc::gen::inRange;
  Case c;
  AttentionProblem& p = c.problem;
  p.k_type = static_cast<DType>(*inRange(0, kDTypeCount));
  p.v_type = static_cast<DType>(*inRange(0, kDTypeCount));
  p.layout.v_view_of_k = *inRange(0, 5) == 0;
  if (p.layout.v_view_of_k) p.v_type = p.k_type;
  const auto width = [](DType type, int blocks) { return std::int64_t{info(type).block} * blocks; };
  const int blocks_k = *inRange(1, 4), blocks_v = *inRange(1, p.layout.v_view_of_k ? blocks_k + 1 : 4);
  p.d_k = width(p.k_type, blocks_k);
  p.d_v = width(p.v_type, blocks_v);
  p.n_head_kv = *inRange(1, 4);
  p.n_head = p.n_head_kv * *inRange(1, 4);
  p.n_head_v = p.layout.v_view_of_k || *inRange(0, 2) == 0 ? p.n_head_kv : p.n_head;
  p.n_seq_kv = *inRange(1, 3);
  p.n_seq = p.n_seq_kv * *inRange(1, 3);
  p.n_q = *inRange(1, 9);
  p.n_kv = *inRange(0, 24);
  p.layout.permuted = *rc::gen::arbitrary<bool>();
  p.layout.cache = *inRange(0, 2) * (p.n_kv + *inRange(0, 5));
  p.layout.parent_heads = *inRange(0, 2) * (std::max(p.n_head_kv, p.n_head_v) + *inRange(0, 3));
  p.layout.pad = *inRange(0, 3) * std::max(info(p.k_type).block, info(p.v_type).block);
  p.layout.offset = 2 * *inRange(0, 20);
  p.layout.left_aligned = *rc::gen::arbitrary<bool>();
  p.layout.tail = 2 * *inRange(0, 20);
  for (int terms = *inRange(0, 4); terms > 0; --terms) p.mask.terms.push_back(random_mask_term(p.n_kv));
  if (p.mask.present()) {
    p.mask.type = *rc::gen::element(DType::f16, DType::f32);
    p.mask.per_head = *rc::gen::arbitrary<bool>();
    p.mask.per_seq = *rc::gen::arbitrary<bool>();
    p.layout.mask_rows = *inRange(0, 3);
    p.layout.mask_cols = *inRange(0, 3);
  }
  p.sinks.kind = static_cast<SinkKind>(*inRange(0, 4));
  p.sinks.arg = 3;
  c.seed = *inRange<std::uint64_t>(0, 1000);
  return c;
}

}  // namespace attest::testing
