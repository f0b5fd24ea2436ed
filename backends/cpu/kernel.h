// What all CPU kernels share: one call's tensors and readers, and the state of an online softmax.
#pragma once

#include <cstring>

#include "backends/cpu/policy.h"
#include "backends/cpu/rows.h"
#include "backends/cpu/scratch.h"
#include "backends/cpu/simd.h"
#include "backends/cpu/threads.h"
#include "cases/contract.h"
#include "cases/problem.h"

namespace attest::cpu {

// One call of a kernel. Lives on the stack of run().
struct KernelCall {
  const AttentionProblem& problem;
  const AttentionInputs& in;
  const MutableTensorView& out;
  const Primitives& simd;
  int threads;
  Scratches& scratch;  // one per thread and, behind them, one that all share
  RowReader q, k, v, mask;
  float vskip = 0;  // vec: rows of V whose weight is below this part of the largest so far are not read

  KernelCall(const AttentionInputs& inputs, const MutableTensorView& output, const Primitives& primitives,
             int n_threads, Scratches& scratches)
      : problem(*inputs.problem),
        in(inputs),
        out(output),
        simd(primitives),
        threads(n_threads),
        scratch(scratches),
        q(primitives, inputs.q),
        k(primitives, inputs.k),
        v(primitives, inputs.v),
        mask(inputs.mask.present() ? RowReader(primitives, inputs.mask) : RowReader()) {}

  std::int64_t rows() const { return problem.n_seq * problem.n_head * problem.n_q; }
  RowPlace row(std::int64_t index) const {
    return {index / (problem.n_q * problem.n_head), index / problem.n_q % problem.n_head, index % problem.n_q};
  }
  Scratch& worker_scratch(int worker) const { return scratch[static_cast<std::size_t>(worker)]; }
  Scratch& shared_scratch() const { return scratch[static_cast<std::size_t>(threads)]; }
  template <class Policy>
  float sink(const RowPlace& at) const {
    return in.sinks.present() ? Policy::sink(in.sinks, at) : -kInfinity;
  }
};

// Running maximum, row sum and unnormalised output of one row over the keys seen so far.
struct OnlineRow {
  float max = 0, sum = 0;
  std::int64_t visible = 0;  // keys not hidden
  float* acc = nullptr;      // [d_v]
};

// The sink joins last, as one more logit without a value; then O = acc / sum.
template <class Policy>
void finish_row(const KernelCall& call, const RowPlace& at, OnlineRow& row) {
  const std::int64_t d_v = call.problem.d_v;
  std::byte* out = Policy::out_row(call.out, at);
  if (Policy::is_dead(row.visible)) {
    const float value = Policy::dead_value();
    for (std::int64_t e = 0; e < d_v; ++e) std::memcpy(out + 4 * e, &value, sizeof value);
    return;
  }
  const float sink = call.sink<Policy>(at);
  if (sink != -kInfinity) {
    const KeyPlace place{at, call.problem.n_kv};
    const float max = Policy::kSinkInMax ? Policy::next_max(row.max, sink) : row.max,
                reference = Policy::reference(max);
    if (max != row.max) {
      const float factor = Policy::exp(call.simd, row.max - reference);
      row.sum *= Policy::rescale_sum(factor, place);
      call.simd.scale(Policy::rescale_acc(factor, place), row.acc, d_v);
      row.max = max;
    }
    row.sum += Policy::weight_in_sum(Policy::exp(call.simd, sink - reference), place);
  }
  call.simd.divide(row.acc, row.sum, out, d_v);
}

// Keys of one online-softmax step of the tiled kernel.
inline constexpr std::int64_t kTileKeys = 64;
// KV chunks of the split kernel: one per thread, and two at least, so that there is always something to merge.
inline std::int64_t split_chunks(int threads) { return threads > 2 ? threads : 2; }

// Each returns the CPU seconds of all its threads.
double run_vec(const KernelCall& call);
double run_split(const KernelCall& call);
double run_tiled(const KernelCall& call);

}  // namespace attest::cpu
