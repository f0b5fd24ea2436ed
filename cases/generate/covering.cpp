#include "cases/generate/covering.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "cases/rng.h"

namespace attest {
namespace {

constexpr int kCandidates = 6;  // rows tried per row that stands
constexpr std::size_t kMaxStrength = 3;

enum class Mark : std::uint8_t { missing, covered, excluded };

// Marks of all tuples of one strength: a block per choice of axes, mixed radix inside a block.
class Tuples {
 public:
  Tuples(const std::vector<int>& sizes, int strength) : sizes_(sizes), strength_(static_cast<std::size_t>(strength)) {
    std::vector<std::size_t> axes(strength_);
    std::iota(axes.begin(), axes.end(), std::size_t{0});
    if (strength_ == 0 || strength_ > std::min(kMaxStrength, sizes.size())) return;
    do {
      Block block{{}, {}, marks_.size()};
      std::size_t count = 1;
      for (std::size_t i = strength_; i-- > 0;) {
        block.axes[i] = axes[i];
        block.step[i] = count;
        count *= size(axes[i]);
      }
      blocks_.push_back(block);
      marks_.resize(marks_.size() + count);
    } while (next(axes));
    of_axis_.resize(sizes.size());
    for (std::size_t b = 0; b < blocks_.size(); ++b) {
      for (std::size_t i = 0; i < strength_; ++i) of_axis_[blocks_[b].axes[i]].push_back(blocks_[b]);
    }
  }

  std::size_t count() const { return marks_.size(); }
  Mark at(std::size_t index) const { return marks_[index]; }
  void exclude(std::size_t index) { marks_[index] = Mark::excluded; }

  // Marks what the row shows; the number that was missing before.
  int cover(const CoveringRow& row) {
    int fresh = 0;
    for (const auto& block : blocks_) {
      const auto index = index_of(block, row);
      if (index == kNone || marks_[index] == Mark::covered) continue;
      marks_[index] = Mark::covered;
      ++fresh;
    }
    return fresh;
  }
  int fresh_in(const CoveringRow& row) const {
    int fresh = 0;
    for (const auto& block : blocks_) {
      const auto index = index_of(block, row);
      fresh += index != kNone && marks_[index] == Mark::missing ? 1 : 0;
    }
    return fresh;
  }
  // Missing tuples that `row`, whose values of `axis` was just set, gained by it.
  int fresh_with(const CoveringRow& row, std::size_t axis) const {
    int fresh = 0;
    for (const auto& block : of_axis_[axis]) {
      const auto index = index_of(block, row);
      fresh += index != kNone && marks_[index] == Mark::missing ? 1 : 0;
    }
    return fresh;
  }

  ValueTuple tuple(std::size_t index) const {
    const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), index,
                                        [](std::size_t i, const Block& block) { return i < block.first; });
    const Block& block = *std::prev(after);
    ValueTuple out;
    for (std::size_t i = 0; i < strength_; ++i) {
      const std::size_t axis = block.axes[i];
      out.emplace_back(axis, static_cast<int>((index - block.first) / block.step[i] % size(axis)));
    }
    return out;
  }

  TupleCoverage coverage() const {
    TupleCoverage out;
    out.strength = static_cast<int>(strength_);
    out.total = static_cast<std::int64_t>(marks_.size());
    for (std::size_t i = 0; i < marks_.size(); ++i) {
      if (marks_[i] == Mark::covered) ++out.covered;
      if (marks_[i] == Mark::excluded) ++out.excluded;
      if (marks_[i] == Mark::missing) out.missing.push_back(tuple(i));
    }
    return out;
  }

 private:
  struct Block {
    std::array<std::size_t, kMaxStrength> axes, step;
    std::size_t first;
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  std::size_t size(std::size_t axis) const { return static_cast<std::size_t>(sizes_[axis]); }

  std::size_t index_of(const Block& block, const CoveringRow& row) const {
    std::size_t index = block.first;
    for (std::size_t i = 0; i < strength_; ++i) {
      const int value = row[block.axes[i]];
      if (value == kFree) return kNone;
      index += block.step[i] * static_cast<std::size_t>(value);
    }
    return index;
  }

  bool next(std::vector<std::size_t>& axes) const {
    for (std::size_t i = axes.size(); i-- > 0;) {
      if (axes[i] + (axes.size() - i) >= sizes_.size()) continue;
      ++axes[i];
      for (std::size_t j = i + 1; j < axes.size(); ++j) axes[j] = axes[j - 1] + 1;
      return true;
    }
    return false;
  }

  std::vector<int> sizes_;
  std::size_t strength_;
  std::vector<Block> blocks_;
  std::vector<std::vector<Block>> of_axis_;
  std::vector<Mark> marks_;
};

CoveringRow row_of(const ValueTuple& tuple, std::size_t axes) {
  CoveringRow row(axes, kFree);
  for (const auto& [axis, value] : tuple) row[axis] = value;
  return row;
}

class Builder {
 public:
  Builder(const CoveringSpace& space, const CoveringOptions& options)
      : options_(options), tuples_(space.sizes, options.strength), feasibility_(space) {}

  CoveringArray build() {
    CoveringArray out;
    for (std::size_t i = 0; i < options_.seeds.size() && !full(out); ++i) {
      if (auto row = feasibility_.complete(options_.seeds[i], draw())) {
        add(out, std::move(*row));
      } else {
        out.bad_seeds.push_back(i);
      }
    }
    // Starting points in a seeded order, so that early rows do not all begin with the first axes.
    std::vector<std::size_t> order(tuples_.count());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[draw() % i]);
    for (const std::size_t start : order) {
      if (tuples_.at(start) != Mark::missing) continue;
      const CoveringRow base = row_of(tuples_.tuple(start), feasibility_.sizes().size());
      std::optional<CoveringRow> best;
      int most = 0;
      for (int i = 0; i < kCandidates && !full(out); ++i) {
        auto row = grown(base);
        if (!row) continue;
        const int fresh = tuples_.fresh_in(*row);
        if (fresh > most) {
          most = fresh;
          best = std::move(row);
        }
      }
      if (!best) best = feasibility_.complete(base, draw());
      if (!best) tuples_.exclude(start);
      if (!best || full(out)) continue;  // after the last row only to tell excluded from missing
      add(out, std::move(*best));
    }
    out.coverage = tuples_.coverage();
    return out;
  }

 private:
  bool full(const CoveringArray& out) const { return options_.max_rows > 0 && out.rows.size() >= options_.max_rows; }

  void add(CoveringArray& out, CoveringRow row) {
    tuples_.cover(row);
    out.rows.push_back(std::move(row));
  }

  std::uint64_t draw() { return mix64(options_.seed * 0x9e3779b97f4a7c15ULL + ++drawn_); }

  // Axis by axis in random order, the value that gains most. nullopt where greed ends in an invalid row.
  std::optional<CoveringRow> grown(CoveringRow row) {
    std::vector<std::size_t> open;
    for (std::size_t axis = 0; axis < row.size(); ++axis) {
      if (row[axis] == kFree) open.push_back(axis);
    }
    for (std::size_t i = open.size(); i > 1; --i) std::swap(open[i - 1], open[draw() % i]);
    for (const std::size_t axis : open) {
      const int size = feasibility_.sizes()[axis];
      const int first = static_cast<int>(draw() % static_cast<std::uint64_t>(size));
      int best = kFree, most = -1;
      for (int i = 0; i < size; ++i) {
        const int value = (first + i) % size;
        row[axis] = kFree;
        if (!feasibility_.allows(row, axis, value)) continue;
        row[axis] = value;
        const int fresh = tuples_.fresh_with(row, axis);
        if (fresh > most) {
          most = fresh;
          best = value;
        }
      }
      row[axis] = best;
      if (best == kFree) return {};
    }
    if (!feasibility_.accepts(row)) return {};
    return row;
  }

  const CoveringOptions& options_;
  Tuples tuples_;
  Feasibility feasibility_;
  std::uint64_t drawn_ = 0;
};

}  // namespace

CoveringArray cover(const CoveringSpace& space, const CoveringOptions& options) {
  return Builder(space, options).build();
}

TupleCoverage measure_coverage(const CoveringSpace& space, int strength, const std::vector<CoveringRow>& rows) {
  Tuples tuples(space.sizes, strength);
  for (const auto& row : rows) tuples.cover(row);
  Feasibility feasibility(space);
  for (std::size_t i = 0; i < tuples.count(); ++i) {
    if (tuples.at(i) != Mark::missing) continue;
    if (!feasibility.complete(row_of(tuples.tuple(i), space.sizes.size()), 0)) tuples.exclude(i);
  }
  return tuples.coverage();
}

}  // namespace attest
