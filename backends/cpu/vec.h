// cpu:vec: one row at a time, one key at a time, online softmax (Milakov & Gimelshein, arXiv 1805.02867, algorithm 3).
#pragma once

#include <algorithm>

#include "backends/cpu/kernel.h"

namespace attest::cpu {

// Mask values are widened this many keys at a time.
inline constexpr std::int64_t kMaskRun = 256;

inline std::int64_t vec_scratch_floats(const KernelCall& call) {
  return Scratch::padded(call.q.scratch_floats()) + Scratch::padded(call.k.scratch_floats()) +
         Scratch::padded(call.v.scratch_floats()) + 3 * Scratch::padded(kMaskRun) + Scratch::padded(call.problem.d_v);
}

// A worker's pieces of scratch.
struct VecScratch {
  float *q, *k, *v, *mask, *gather, *acc;
  VecScratch(const KernelCall& call, Scratch& scratch)
      : q((scratch.rewind(), scratch.floats(call.q.scratch_floats()))),
        k(scratch.floats(call.k.scratch_floats())),
        v(scratch.floats(call.v.scratch_floats())),
        mask(scratch.floats(kMaskRun)),
        gather(scratch.floats(2 * kMaskRun)),
        acc(scratch.floats(call.problem.d_v)) {}
};

// Starts a row whose acc is set.
template <class Policy>
void begin_row(const KernelCall& call, OnlineRow& row) {
  row.max = Policy::initial_max();
  row.sum = 0;
  row.visible = 0;
  Policy::clear(row.acc, call.problem.d_v);
}

// Takes keys [range.first, range.last) into the row, in ascending order. Hidden keys are never read.
template <class Policy>
void absorb_keys(const KernelCall& call, const RowPlace& at, const KeyRange& range, const float* q,
                 const VecScratch& scratch, OnlineRow& row) {
  const AttentionProblem& p = call.problem;
  const Primitives& simd = call.simd;
  const std::int64_t k_head = Policy::k_head(p, at.head), v_head = Policy::v_head(p, at.head);
  const std::int64_t kv_seq = Policy::kv_seq(p, at.seq);
  const float scale = Policy::scale(p), slope = Policy::slope(p, at.head);
  const bool masked = call.in.mask.present();
  const std::byte* mask_row = masked ? Policy::mask_row(call.in.mask, at) : nullptr;

  for (std::int64_t key = range.first; key < range.last; ++key) {
    const KeyPlace place{at, key};
    float mask = 0;
    if (masked) {
      const std::int64_t run = (key - range.first) % kMaskRun;
      if (run == 0) {
        call.mask.read_range(mask_row, key, std::min(kMaskRun, range.last - key), scratch.mask, scratch.gather);
      }
      mask = Policy::mask(scratch.mask[run], place);
    }
    const bool hidden = mask == -kInfinity;
    if (hidden && !Policy::kReadsHidden) continue;
    row.visible += hidden ? 0 : 1;
    const float dot = call.k.dot(q, Policy::k_row(call.in.k, key, k_head, kv_seq), scratch.k);
    const float logit = Policy::logit(simd, Policy::score(scale * dot, place), p.softcap, slope, mask);
    const float max = Policy::next_max(row.max, logit), reference = Policy::reference(max);
    if (max != row.max) {
      const float factor = Policy::exp(simd, row.max - reference);
      row.sum *= Policy::rescale_sum(factor, place);
      simd.scale(Policy::rescale_acc(factor, place), row.acc, p.d_v);
      row.max = max;
    }
    const float weight = Policy::exp(simd, logit - reference);
    row.sum += Policy::weight_in_sum(weight, place);
    if (weight < call.vskip) continue;
    const std::byte* v_row = Policy::v_row(call.in.v, key, v_head, kv_seq);
    if constexpr (Policy::kOwnAccumulate) {
      Policy::accumulate(Policy::weight_of_value(weight, place), call.v.read(v_row, scratch.v), row.acc, p.d_v);
    } else {
      call.v.axpy(Policy::weight_of_value(weight, place), v_row, row.acc, scratch.v);
    }
  }
}

template <class Policy>
double vec_kernel(const KernelCall& call) {
  for (int worker = 0; worker < call.threads; ++worker) call.worker_scratch(worker).reserve(vec_scratch_floats(call));
  return parallel_for(call.threads, call.rows(), [&](std::int64_t index, int worker) {
    const VecScratch scratch(call, call.worker_scratch(worker));
    const RowPlace at = call.row(index);
    const float* q = call.q.read(call.in.q.row(at.query, at.head, at.seq), scratch.q);
    OnlineRow row;
    row.acc = scratch.acc;
    begin_row<Policy>(call, row);
    absorb_keys<Policy>(call, at, Policy::keys(call.problem, at), q, scratch, row);
    finish_row<Policy>(call, at, row);
  });
}

}  // namespace attest::cpu
