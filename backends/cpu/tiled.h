// cpu:tiled: tiles of queries by tiles of keys, online softmax per tile (FlashAttention-2, arXiv 2307.08691,
// algorithm 1). A tile keeps one row of Q per column, so that every row adds up dimensions, weights and values in
// ascending order and its answer does not depend on its neighbours.
#pragma once

#include <algorithm>

#include "backends/cpu/tile_keys.h"
#include "backends/cpu/tile_scratch.h"
#include "backends/cpu/tile_softmax.h"

namespace attest::cpu {

// Rows [first_query, first_query + rows) of one head and sequence.
template <class Policy>
class QueryTile {
 public:
  QueryTile(const QueryTile&) = delete;  // its parts refer to each other
  QueryTile& operator=(const QueryTile&) = delete;
  QueryTile(const KernelCall& call, const RowPlace& first, std::int64_t rows, const TileScratch& scratch)
      : call_(call),
        first_(first),
        rows_(rows),
        columns_((rows + call.simd.lanes - 1) / call.simd.lanes * call.simd.lanes),
        s_(scratch),
        keys_(call, first, rows, columns_, scratch),
        softmax_(call, first, rows, columns_, scratch, keys_) {
    const std::int64_t d_k = call.problem.d_k;
    for (std::int64_t r = 0; r < columns_; ++r) {
      const RowPlace at = place(std::min(r, rows - 1));  // columns to spare repeat the last row
      const float* q = call.q.read(call.in.q.row(at.query, at.head, at.seq), s_.row);
      for (std::int64_t k = 0; k < d_k; ++k) s_.queries[k * columns_ + r] = q[k];
    }
    Policy::clear(s_.acc, rows * call.problem.d_v);
  }

  void absorb(const KeyRange& range) {
    keys_.choose(range);
    if (keys_.count() == 0) return;
    read_keys();
    call_.simd.scores(s_.queries, call_.problem.d_k, key_rows_, keys_.count(), columns_, s_.scores);
    softmax_.step();
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
  TileSoftmax<Policy> softmax_;
  const float *key_rows_[kTileKeys], *value_rows_[kTileKeys];  // as f32
};

template <class Policy>
double tiled_kernel(const KernelCall& call) {
  const AttentionProblem& p = call.problem;
  const std::int64_t tile_rows = Policy::tile_rows(kTileRows), tile_keys = Policy::tile_keys(kTileKeys);
  const std::int64_t tiles = (p.n_q + tile_rows - 1) / tile_rows;
  for (int worker = 0; worker < call.threads; ++worker) call.worker_scratch(worker).reserve(TileScratch::floats(call));
  return parallel_for(call.threads, p.n_seq * p.n_head * tiles, [&](std::int64_t task, int worker) {
    const TileScratch scratch(call, call.worker_scratch(worker));
    const RowPlace first{task / (tiles * p.n_head), task / tiles % p.n_head, task % tiles * tile_rows};
    QueryTile<Policy> tile(call, first, std::min(tile_rows, p.n_q - first.query), scratch);
    const KeyRange keys = Policy::keys(p, first);
    for (std::int64_t key = keys.first; key < keys.last; key += tile_keys) {
      tile.absorb({key, std::min(key + tile_keys, keys.last)});
    }
    tile.finish();
  });
}

}  // namespace attest::cpu
