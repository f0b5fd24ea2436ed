// cpu:tiled: tiles of queries by tiles of keys, online softmax per tile (FlashAttention-2, arXiv 2307.08691,
// algorithm 1). A tile keeps one row of Q per column, so that every row adds up dimensions, weights and values in
// ascending order and its answer does not depend on its neighbours.
#pragma once

#include <algorithm>

#include "backends/cpu/tile_keys.h"
#include "backends/cpu/tile_scratch.h"

namespace attest::cpu {

// Rows [first_query, first_query + rows) of one head and sequence.
template <class Policy>
class QueryTile {
 public:
  QueryTile(const KernelCall& call, const RowPlace& first, std::int64_t rows, const TileScratch& scratch)
      : call_(call),
        first_(first),
        rows_(rows),
        columns_((rows + call.simd.lanes - 1) / call.simd.lanes * call.simd.lanes),
        s_(scratch),
        keys_(call, first, rows, columns_, scratch) {
    const std::int64_t d_k = call.problem.d_k;
    for (std::int64_t r = 0; r < columns_; ++r) {
      const RowPlace at = place(std::min(r, rows - 1));  // columns to spare repeat the last row
      const float* q = call.q.read(call.in.q.row(at.query, at.head, at.seq), s_.row);
      for (std::int64_t k = 0; k < d_k; ++k) s_.queries[k * columns_ + r] = q[k];
      s_.max[r] = Policy::initial_max();
      s_.sum[r] = 0;
    }
    Policy::clear(s_.acc, rows * call.problem.d_v);
  }

  void absorb(const KeyRange& range) {
    keys_.choose(range);
    const std::int64_t n_keys = keys_.count(), count = n_keys * columns_;
    if (n_keys == 0) return;
    read_keys();
    const AttentionProblem& p = call_.problem;
    call_.simd.scores(s_.queries, p.d_k, key_rows_, n_keys, columns_, s_.scores);
    call_.simd.scale(Policy::scale(p), s_.scores, count);
    if constexpr (Policy::kEditsScores) {
      edit(s_.scores, [](float x, const KeyPlace& at) { return Policy::score(x, at); });
    }
    to_logits(count);
    rescale();
    to_weights();
    add_values();
  }

  void finish() {
    for (std::int64_t r = 0; r < rows_; ++r) {
      OnlineRow row{s_.max[r], s_.sum[r], keys_.visible(r), acc(r)};
      finish_row<Policy>(call_, place(r), row);
    }
  }

 private:
  RowPlace place(std::int64_t r) const { return {first_.seq, first_.head, first_.query + r}; }
  float* acc(std::int64_t r) const { return s_.acc + r * call_.problem.d_v; }
  template <class F>
  void edit(float* tile, F f) const {
    for (std::int64_t j = 0; j < keys_.count(); ++j) {
      for (std::int64_t r = 0; r < rows_; ++r) {
        tile[j * columns_ + r] = f(tile[j * columns_ + r], KeyPlace{place(r), keys_.key(j)});
      }
    }
  }

  void read_keys() {
    const AttentionProblem& p = call_.problem;
    const std::int64_t k_head = Policy::k_head(p, first_.head), v_head = Policy::v_head(p, first_.head);
    const std::int64_t kv_seq = Policy::kv_seq(p, first_.seq);
    for (std::int64_t j = 0; j < keys_.count(); ++j) {
      const std::byte* k_row = Policy::k_row(call_.in.k, keys_.key(j), k_head, kv_seq);
      const std::byte* v_row = Policy::v_row(call_.in.v, keys_.key(j), v_head, kv_seq);
      key_rows_[j] = call_.k.read(k_row, s_.keys + j * p.d_k, s_.row);
      value_rows_[j] = call_.v.read(v_row, s_.values + j * p.d_v, s_.row);
    }
  }

  void to_logits(std::int64_t count) {
    const AttentionProblem& p = call_.problem;
    const float slope = Policy::slope(p, first_.head);
    const bool masked = call_.in.mask.present();
    if constexpr (Policy::kEditsLogits) {
      for (std::int64_t i = 0; i < count; ++i) {
        const float mask = masked ? s_.mask[i] : 0.0F;
        s_.scores[i] = mask == -kInfinity ? mask : Policy::logit(call_.simd, s_.scores[i], p.softcap, slope, mask);
      }
      return;
    }
    if (p.softcap > 0) call_.simd.softcap(p.softcap, s_.scores, count);
    if (masked) call_.simd.bias(slope, s_.mask, s_.scores, count);
  }

  // Moves to the maximum that includes this tile: sums and outputs so far shrink by exp(old - new).
  void rescale() {
    float* max = s_.factor;
    std::copy_n(s_.max, columns_, max);
    if constexpr (Policy::kOwnMax) {
      for (std::int64_t i = 0; i < keys_.count() * columns_; ++i) {
        const std::int64_t r = i % columns_;
        if (r < rows_) max[r] = Policy::next_max(max[r], s_.scores[i]);
      }
    } else {
      call_.simd.column_max(s_.scores, keys_.count(), columns_, max);
    }
    for (std::int64_t r = 0; r < columns_; ++r) {
      reference_[r] = Policy::reference(max[r]);
      if (max[r] == s_.max[r] || r >= rows_) continue;
      const KeyPlace at{place(r), keys_.key(0)};
      const float factor = Policy::exp(call_.simd, s_.max[r] - reference_[r]);
      s_.max[r] = max[r];
      s_.sum[r] *= Policy::rescale_sum(factor, at);
      call_.simd.scale(Policy::rescale_acc(factor, at), acc(r), call_.problem.d_v);
    }
  }

  void to_weights() {
    if constexpr (Policy::kEditsExp) {
      for (std::int64_t i = 0; i < keys_.count() * columns_; ++i) {
        s_.scores[i] = Policy::exp(call_.simd, s_.scores[i] - reference_[i % columns_]);
      }
    } else {
      call_.simd.column_exp(s_.scores, keys_.count(), columns_, reference_);
    }
    if constexpr (Policy::kEditsWeights) {
      for (std::int64_t j = 0; j < keys_.count(); ++j) {
        for (std::int64_t r = 0; r < rows_; ++r) {
          if (keys_.hidden(j, r)) continue;
          s_.sum[r] += Policy::weight_in_sum(s_.scores[j * columns_ + r], KeyPlace{place(r), keys_.key(j)});
        }
      }
      edit(s_.scores, [](float w, const KeyPlace& at) { return Policy::weight_of_value(w, at); });
    } else {
      call_.simd.column_sum(s_.scores, keys_.count(), columns_, s_.sum);
    }
  }

  // Four rows at a time where all four see all keys, else row by row over the keys that row sees: the weight of a
  // hidden key is 0, but 0 times what may lie there is not.
  void add_values() {
    const std::int64_t d_v = call_.problem.d_v;
    for (std::int64_t r = 0; r < rows_;) {
      const auto whole = [&](std::int64_t row) { return keys_.all_seen_by(row); };
      const bool four = r + 4 <= rows_ && whole(r) && whole(r + 1) && whole(r + 2) && whole(r + 3);
      if (Policy::kOwnAccumulate || !whole(r)) {
        add_values_of_row(r);
        ++r;
      } else {
        call_.simd.values(s_.scores + r, columns_, value_rows_, keys_.count(), d_v, four ? 4 : 1, acc(r));
        r += four ? 4 : 1;
      }
    }
  }

  void add_values_of_row(std::int64_t r) {
    const std::int64_t d_v = call_.problem.d_v;
    float seen_weights[kTileKeys];
    const float* seen_values[kTileKeys];
    std::int64_t n = 0;
    for (std::int64_t j = 0; j < keys_.count(); ++j) {
      if (keys_.hidden(j, r)) continue;
      const float weight = s_.scores[j * columns_ + r];
      if constexpr (Policy::kOwnAccumulate) {
        Policy::accumulate(weight, value_rows_[j], acc(r), d_v);
      } else {
        seen_weights[n] = weight;
        seen_values[n++] = value_rows_[j];
      }
    }
    if (n > 0) call_.simd.values(seen_weights, 1, seen_values, n, d_v, 1, acc(r));
  }

  const KernelCall& call_;
  RowPlace first_;
  std::int64_t rows_, columns_;  // columns_: rows_ and what fills the last vector
  const TileScratch& s_;
  TileKeys<Policy> keys_;
  const float *key_rows_[kTileKeys], *value_rows_[kTileKeys];  // as f32
  float reference_[kTileRows];
};

template <class Policy>
double tiled_kernel(const KernelCall& call) {
  const AttentionProblem& p = call.problem;
  const std::int64_t tiles = (p.n_q + kTileRows - 1) / kTileRows;
  for (int worker = 0; worker < call.threads; ++worker) call.worker_scratch(worker).reserve(TileScratch::floats(call));
  return parallel_for(call.threads, p.n_seq * p.n_head * tiles, [&](std::int64_t task, int worker) {
    const TileScratch scratch(call, call.worker_scratch(worker));
    const RowPlace first{task / (tiles * p.n_head), task / tiles % p.n_head, task % tiles * kTileRows};
    QueryTile<Policy> tile(call, first, std::min(kTileRows, p.n_q - first.query), scratch);
    const KeyRange keys = Policy::keys(p, first);
    for (std::int64_t key = keys.first; key < keys.last; key += kTileKeys) {
      tile.absorb({key, std::min(key + kTileKeys, keys.last)});
    }
    tile.finish();
  });
}

}  // namespace attest::cpu
