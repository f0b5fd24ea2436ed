#include "cases/generate/constraints.h"

#include <algorithm>
#include <utility>

#include "cases/rng.h"

namespace attest {

Feasibility::Feasibility(std::vector<int> sizes, ConflictFinder conflict)
    : sizes_(std::move(sizes)), conflict_(std::move(conflict)) {
  for (const int size : sizes_) by_literal_.emplace_back(static_cast<std::size_t>(size));
}

bool Feasibility::allows(const CoveringRow& row, std::size_t axis, int value) const {
  for (const std::size_t index : by_literal_[axis][static_cast<std::size_t>(value)]) {
    const bool all = std::all_of(nogoods_[index].begin(), nogoods_[index].end(), [&](const Literal& literal) {
      return literal.axis == axis || row[literal.axis] == literal.value;
    });
    if (all) return false;
  }
  return true;
}

bool Feasibility::accepts(const CoveringRow& full) {
  const auto axes = conflict_(full);
  if (axes.empty()) return true;
  Nogood nogood;
  for (const std::size_t axis : axes) {
    nogood.push_back({axis, full[axis]});
    by_literal_[axis][static_cast<std::size_t>(full[axis])].push_back(nogoods_.size());
  }
  nogoods_.push_back(std::move(nogood));
  return false;
}

// The open axis with the fewest values left goes first: a dead end shows before the search multiplies it.
bool Feasibility::search(CoveringRow& row, std::uint64_t seed, std::size_t depth) const {
  std::size_t axis = row.size();
  std::vector<int> values;
  for (std::size_t a = 0; a < row.size(); ++a) {
    if (row[a] != kFree) continue;
    std::vector<int> left;
    for (int value = 0; value < sizes_[a]; ++value) {
      if (allows(row, a, value)) left.push_back(value);
    }
    if (left.empty()) return false;
    if (axis == row.size() || left.size() < values.size()) {
      axis = a;
      values = std::move(left);
    }
  }
  if (axis == row.size()) return true;
  const std::size_t first = mix64(seed + depth) % values.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    row[axis] = values[(first + i) % values.size()];
    if (search(row, seed, depth + 1)) return true;
  }
  row[axis] = kFree;
  return false;
}

std::optional<CoveringRow> Feasibility::complete(const CoveringRow& partial, std::uint64_t seed) {
  for (std::size_t axis = 0; axis < partial.size(); ++axis) {
    if (partial[axis] != kFree && !allows(partial, axis, partial[axis])) return {};
  }
  for (;;) {
    CoveringRow row = partial;
    if (!search(row, seed, 0)) return {};
    if (accepts(row)) return row;
    for (std::size_t axis = 0; axis < partial.size(); ++axis) {
      if (partial[axis] != kFree && !allows(partial, axis, partial[axis])) return {};
    }
  }
}

std::vector<std::string_view> keys_behind(std::string_view blamed) {
  if (blamed == "n_head" || blamed == "n_q" || blamed == "n_seq" || blamed == "threads") return {blamed};
  if (blamed == "n_head_kv") return {"n_head", "n_head_kv"};
  if (blamed == "n_head_v") return {"n_head", "n_head_kv", "n_head_v"};
  if (blamed == "n_seq_kv") return {"n_seq", "n_seq_kv"};
  if (blamed == "d_k") return {"d", "d_k", "k", "kv"};
  if (blamed == "d_v") return {"d", "d_k", "d_v", "v", "kv"};
  if (blamed == "mask") return {"mask", "n_kv"};
  if (blamed == "max_bias") return {"max_bias", "mask"};
  if (blamed == "scale" || blamed == "softcap" || blamed == "sinks") return {blamed};
  if (blamed == "layout")
    return {"layout", "n_kv", "n_head", "n_head_kv", "n_head_v", "d", "d_k", "d_v", "k", "v", "kv"};
  return {};
}

}  // namespace attest
