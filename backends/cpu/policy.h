// Every decision of the CPU kernels that can be taken wrongly, as small static functions: Production takes them right.
#pragma once

#include <cstdint>
#include <limits>

#include "backends/cpu/simd.h"
#include "cases/problem.h"

namespace attest::cpu {

// One output row, and one key as that row sees it.
struct RowPlace {
  std::int64_t seq = 0, head = 0, query = 0;
};
struct KeyPlace {
  RowPlace row;
  std::int64_t key = 0;
};
struct KeyRange {
  std::int64_t first = 0, last = 0;  // [first, last)
};

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The kernels are templates on a policy; another policy inherits from Production and hides what it does otherwise.
// vec and split call every function. tiled keeps to its vector loops where a kEdits... or kOwn... flag is false, and
// asks for keys() once per tile, with the tile's first row.
struct Production {
  // Geometry.
  static std::int64_t k_head(const AttentionProblem& p, std::int64_t head) { return head / (p.n_head / p.n_head_kv); }
  static std::int64_t v_head(const AttentionProblem& p, std::int64_t head) { return head / (p.n_head / p.n_head_v); }
  static std::int64_t kv_seq(const AttentionProblem& p, std::int64_t seq) { return seq / (p.n_seq / p.n_seq_kv); }
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) { return {0, p.n_kv}; }
  static const std::byte* k_row(const TensorView& k, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return k.row(key, head, seq);
  }
  static const std::byte* v_row(const TensorView& v, std::int64_t key, std::int64_t head, std::int64_t seq) {
    return v.row(key, head, seq);
  }
  static const std::byte* mask_row(const TensorView& mask, const RowPlace& at) {
    return mask.row(at.query, at.head % mask.ne[2], at.seq % mask.ne[3]);
  }
  static constexpr bool kReadsHidden = false;  // hidden keys are read like others, to get the weight 0

  // Tiles of cpu:tiled: how many of the keys and rows there is room for are taken at a time, and whether the keys of a
  // step are passed over, given how many of them each row sees.
  static std::int64_t tile_keys(std::int64_t most) { return most; }
  static std::int64_t tile_rows(std::int64_t most) { return most; }
  static bool skips_tile(const std::int64_t* /*seen*/, std::int64_t /*rows*/) { return false; }

  // Scores.
  static float scale(const AttentionProblem& p) { return p.scale; }
  static float slope(const AttentionProblem& p, std::int64_t head) {
    return p.max_bias > 0 ? static_cast<float>(alibi_slope(p, head)) : 1.0F;
  }
  static constexpr bool kEditsMask = false;  // stored value, as f32; -inf hides the key
  static float mask(float value, const KeyPlace&) { return value; }
  static constexpr bool kEditsScores = false;  // scale * q.k
  static float score(float value, const KeyPlace&) { return value; }
  static constexpr bool kEditsLogits = false;  // from scaled score to logit: softcap, then mask
  static float logit(const Primitives& simd, float score, float cap, float slope, float mask) {
    return (cap > 0 ? cap * simd.tanh_one(score / cap) : score) + slope * mask;
  }

  // Online softmax. A maximum of -inf (no key yet, or only logits of -inf) is replaced by 0 in differences.
  static constexpr bool kOwnMax = false;
  static float initial_max() { return -kInfinity; }
  static float next_max(float max, float logit) { return logit > max ? logit : max; }
  static float reference(float max) { return max == -kInfinity ? 0.0F : max; }
  static constexpr bool kEditsExp = false;
  static float exp(const Primitives& simd, float x) { return simd.exp_one(x); }
  static float rescale_sum(float factor, const KeyPlace&) { return factor; }
  static float rescale_acc(float factor, const KeyPlace&) { return factor; }
  static constexpr bool kEditsWeights = false;
  static float weight_in_sum(float weight, const KeyPlace&) { return weight; }
  static float weight_of_value(float weight, const KeyPlace&) { return weight; }
  static constexpr bool kOwnAccumulate = false;  // acc += weight * value, decoded values, [d_v]
  static void accumulate(float, const float*, float*, std::int64_t) {}
  static void clear(float* acc, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) acc[i] = 0;
  }

  // Split-KV only. Chunks are ceil(n / chunks) keys long, so the last ones may be short or empty.
  static KeyRange chunk(const KeyRange& keys, std::int64_t chunk, std::int64_t chunks) {
    const std::int64_t size = (keys.last - keys.first + chunks - 1) / chunks;
    const auto bounded = [&](std::int64_t key) { return key < keys.last ? key : keys.last; };
    return {bounded(keys.first + chunk * size), bounded(keys.first + (chunk + 1) * size)};
  }
  template <class Call, class Row>
  static void end_chunk(const Call&, const RowPlace&, Row&) {}  // its partial maximum, sum and output stand
  static bool skips_chunk(std::int64_t visible_keys) { return visible_keys == 0; }
  static float merge_sum(float factor, const RowPlace&, std::int64_t /*chunk*/) { return factor; }
  static float merge_acc(float factor, const RowPlace&, std::int64_t /*chunk*/) { return factor; }

  // End of a row.
  static constexpr bool kSinkInMax = true;
  static float sink(const TensorView& sinks, const RowPlace& at) { return element(sinks, at.head, 0, 0, 0); }
  static bool is_dead(std::int64_t visible_keys) { return visible_keys == 0; }
  static float dead_value() { return 0; }
  static std::byte* out_row(const MutableTensorView& out, const RowPlace& at) {
    return out.row(at.head, at.query, at.seq);
  }
};

}  // namespace attest::cpu
