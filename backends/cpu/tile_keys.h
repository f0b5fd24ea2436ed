// Which keys of a tile of cpu:tiled are seen, by which of its rows, with what bias.
#pragma once

#include "backends/cpu/kernel.h"
#include "backends/cpu/tile_scratch.h"

namespace attest::cpu {

// The keys of one step that some row of the tile sees. The others are never read. Where there is a mask, it lies
// transposed in the scratch: mask[j * columns + r] for key j of this list and row r.
template <class Policy>
class TileKeys {
 public:
  TileKeys(const KernelCall& call, const RowPlace& first, std::int64_t rows, std::int64_t columns,
           const TileScratch& scratch)
      : call_(call), first_(first), rows_(rows), columns_(columns), s_(scratch) {
    for (std::int64_t r = 0; r < rows; ++r) visible_[r] = 0;
  }

  void choose(const KeyRange& range) {
    count_ = 0;
    if (call_.in.mask.present()) return choose_masked(range);
    for (std::int64_t key = range.first; key < range.last; ++key) key_[count_++] = key;
    for (std::int64_t r = 0; r < rows_; ++r) {
      seen_[r] = count_;
      visible_[r] += count_;
    }
  }

  std::int64_t count() const { return count_; }
  std::int64_t key(std::int64_t j) const { return key_[j]; }
  bool hidden(std::int64_t j, std::int64_t r) const {
    return call_.in.mask.present() && s_.mask[j * columns_ + r] == -kInfinity;
  }
  bool all_seen_by(std::int64_t r) const { return Policy::kReadsHidden || seen_[r] == count_; }
  std::int64_t visible(std::int64_t r) const { return visible_[r]; }  // over all steps so far

 private:
  void choose_masked(const KeyRange& range) {
    const std::int64_t width = range.last - range.first;
    std::int32_t used[kTileKeys] = {};  // as wide as a float, so that the loop below runs in vectors
    for (std::int64_t r = 0; r < rows_; ++r) {
      const RowPlace at{first_.seq, first_.head, first_.query + r};
      float* row = s_.mask_rows + r * kTileKeys;
      call_.mask.read_range(Policy::mask_row(call_.in.mask, at), range.first, width, row, s_.row);
      std::int32_t seen = 0;
      for (std::int64_t j = 0; j < width; ++j) {
        if constexpr (Policy::kEditsMask) row[j] = Policy::mask(row[j], KeyPlace{at, range.first + j});
        const std::int32_t sees = row[j] != -kInfinity ? 1 : 0;
        used[j] |= sees;
        seen += sees;
      }
      seen_[r] = seen;
      visible_[r] += seen;
    }
    if (Policy::skips_tile(seen_, rows_)) return;
    for (std::int64_t j = 0; j < width; ++j) {
      if (used[j] == 0 && !Policy::kReadsHidden) continue;
      float* column = s_.mask + count_ * columns_;
      for (std::int64_t r = 0; r < rows_; ++r) column[r] = s_.mask_rows[r * kTileKeys + j];
      for (std::int64_t r = rows_; r < columns_; ++r) column[r] = column[rows_ - 1];
      key_[count_++] = range.first + j;
    }
  }

  const KernelCall& call_;
  RowPlace first_;
  std::int64_t rows_, columns_, count_ = 0;
  const TileScratch& s_;
  std::int64_t key_[kTileKeys];
  std::int64_t seen_[kTileRows], visible_[kTileRows];  // keys a row sees: in this step, in all
};

}  // namespace attest::cpu
