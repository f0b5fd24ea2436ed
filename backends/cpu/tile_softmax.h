// Online softmax of one tile of cpu:tiled: scores become logits, then weights, and the sums so far follow the maximum.
#pragma once

#include <algorithm>

#include "backends/cpu/tile_keys.h"
#include "backends/cpu/tile_scratch.h"

namespace attest::cpu {

// Works on s.scores, s.max, s.sum and s.acc of a tile's scratch, for the keys chosen last.
template <class Policy>
class TileSoftmax {
 public:
  TileSoftmax(const KernelCall& call, const RowPlace& first, std::int64_t rows, std::int64_t columns,
              const TileScratch& scratch, const TileKeys<Policy>& keys)
      : call_(call), first_(first), rows_(rows), columns_(columns), s_(scratch), keys_(keys) {
    std::fill_n(s_.max, columns, Policy::initial_max());
    std::fill_n(s_.sum, columns, 0.0F);
  }

  // s.scores: q.k -> exp(logit - maximum), the maximum now that of all keys so far.
  void step() {
    const std::int64_t count = keys_.count() * columns_;
    call_.simd.scale(Policy::scale(call_.problem), s_.scores, count);
    if constexpr (Policy::kEditsScores) {
      edit([](float x, const KeyPlace& at) { return Policy::score(x, at); });
    }
    to_logits(count);
    rescale();
    to_weights();
  }

 private:
  RowPlace place(std::int64_t r) const { return {first_.seq, first_.head, first_.query + r}; }

  template <class F>
  void edit(F f) const {
    for (std::int64_t j = 0; j < keys_.count(); ++j) {
      for (std::int64_t r = 0; r < rows_; ++r) {
        s_.scores[j * columns_ + r] = f(s_.scores[j * columns_ + r], KeyPlace{place(r), keys_.key(j)});
      }
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
      call_.simd.scale(Policy::rescale_acc(factor, at), s_.acc + r * call_.problem.d_v, call_.problem.d_v);
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
      edit([](float w, const KeyPlace& at) { return Policy::weight_of_value(w, at); });
    } else {
      call_.simd.column_sum(s_.scores, keys_.count(), columns_, s_.sum);
    }
  }

  const KernelCall& call_;
  RowPlace first_;
  std::int64_t rows_, columns_;
  const TileScratch& s_;
  const TileKeys<Policy>& keys_;
  float reference_[kTileRows];
};

}  // namespace attest::cpu
