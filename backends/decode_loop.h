// The steps of kv_decode for any backend: keeps the caches, builds views and masks; the backend stores and attends.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "backends/backend.h"
#include "cases/decode.h"
#include "cases/op_inputs.h"

namespace attest {

// Every decision of the loop that can be taken wrongly; another policy inherits and hides what it does otherwise.
struct DecodeProduction {
  static bool keeps_rows_on_growth() { return true; }
  static std::int64_t position(const DecodeStep& step) { return step.position; }
  static std::int64_t visible(const DecodeStep& step) { return step.visible(0); }  // to the step's first token
};

// Memory of a K or V cache, and what happens when its rows no longer suffice.
class KvCache {
 public:
  // The first `kept` rows stay; the others get the bytes that `initial` has there.
  void resize(const AttentionProblem& p, const TensorView& initial, std::int64_t rows, std::int64_t kept) {
    const TensorShape old = shape_;
    const std::vector<std::byte> before = std::move(memory_);
    shape_ = cache_shape(p, initial.dtype, initial.ne[0], rows);
    memory_.assign(static_cast<std::size_t>(shape_bytes(shape_)), std::byte{0});
    const auto bytes = static_cast<std::size_t>(row_bytes(shape_.dtype, shape_.ne[0]));
    for (std::int64_t h = 0; h < shape_.ne[2]; ++h) {
      for (std::int64_t j = 0; j < rows; ++j) {
        const std::byte* from = j < kept ? before.data() + old.offset(j, h, 0) : initial.row(j, h, 0);
        std::memcpy(memory_.data() + shape_.offset(j, h, 0), from, bytes);
      }
    }
  }
  MutableTensorView view() {
    MutableTensorView v;
    static_cast<TensorShape&>(v) = shape_;
    v.data = memory_.data();
    return v;
  }

 private:
  std::vector<std::byte> memory_;
  TensorShape shape_;
};

// What a backend does in a step: store new_k and new_v, f32 [d, n, n_head_kv], from row `position` of the caches on,
// then answer `inputs` (flash_attn_ext over the whole caches) into `out`, O [d_v, n_head, n, 1].
struct DecodeCall {
  TensorView new_k, new_v;
  MutableTensorView k_cache, v_cache;
  std::int64_t position = 0;
  const AttentionInputs& inputs;
  MutableTensorView out;
};

// answer(const DecodeCall&) -> Outcome; the times add up.
template <class Policy = DecodeProduction, class Answer>
Outcome decode_loop(const AttentionInputs& in, const MutableTensorView& out, Answer&& answer) {
  const AttentionProblem& p = *in.problem;
  const InitialCache initial = initial_cache(in);
  const auto tokens = [](const TensorView& all, const DecodeStep& step) {
    TensorView some = all;
    some.ne[1] = step.n;
    some.data = all.row(step.first, 0, 0);
    return some;
  };
  KvCache k, v;
  std::int64_t rows = 0;
  Outcome all;
  for (const DecodeStep& step : decode_steps(p)) {
    if (step.rows != rows) {
      const std::int64_t kept = Policy::keeps_rows_on_growth() ? std::min(rows, step.rows) : 0;
      k.resize(p, initial.k, step.rows, kept);
      v.resize(p, initial.v, step.rows, kept);
      rows = step.rows;
    }
    const AttentionProblem attention = step_problem(p, step);
    AttentionInputs inputs;
    inputs.problem = &attention;
    inputs.q = tokens(in.q, step);
    inputs.k = k.view().view();
    inputs.v = v.view().view();
    inputs.sinks = in.sinks;
    std::vector<std::uint16_t> mask;
    if (attention.mask.present()) {
      DecodeStep seen = step;
      seen.position = Policy::visible(step) - 1;
      mask = step_mask(seen);
      inputs.mask.dtype = DType::f16;
      inputs.mask.ne = {rows, step.n, 1, 1};
      inputs.mask.nb = {2, 2 * rows, 2 * rows * step.n, 2 * rows * step.n};
      inputs.mask.data = reinterpret_cast<const std::byte*>(mask.data());
    }
    DecodeCall call{tokens(in.k, step), tokens(in.v, step), k.view(), v.view(), Policy::position(step), inputs, out};
    call.out.ne[2] = step.n;
    call.out.nb[3] = call.out.nb[2] * step.n;
    call.out.data = out.row(0, step.first, 0);
    const Outcome one = answer(call);
    all.cpu_seconds += one.cpu_seconds;
    all.wall_seconds += one.wall_seconds;
    if (all.note.empty()) all.note = one.note;
    if (!one.ok) return one;
  }
  return all;
}

}  // namespace attest
