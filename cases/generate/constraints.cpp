#include "cases/generate/constraints.h"

#include <algorithm>
#include <utility>

#include "cases/rng.h"

namespace attest {

Feasibility::Feasibility(CoveringSpace space) : space_(std::move(space)) {
  for (const int size : space_.sizes) by_literal_.emplace_back(static_cast<std::size_t>(size));
  for (const auto& costs : space_.costs) cheapest_.push_back(*std::min_element(costs.begin(), costs.end()));
}

// With the cheapest choice on every open axis.
bool Feasibility::dear(const CoveringRow& row, std::size_t axis, int value) const {
  if (space_.costs.empty()) return false;
  double cost = 0;
  for (std::size_t a = 0; a < row.size(); ++a) {
    const int v = a == axis ? value : row[a];
    cost += v == kFree ? cheapest_[a] : space_.costs[a][static_cast<std::size_t>(v)];
  }
  return cost > space_.max_cost;
}

bool Feasibility::allows(const CoveringRow& row, std::size_t axis, int value) const {
  if (dear(row, axis, value)) return false;
  for (const std::size_t index : by_literal_[axis][static_cast<std::size_t>(value)]) {
    const bool all = std::all_of(nogoods_[index].begin(), nogoods_[index].end(), [&](const Literal& literal) {
      return literal.axis == axis || row[literal.axis] == literal.value;
    });
    if (all) return false;
  }
  return true;
}

bool Feasibility::accepts(const CoveringRow& full) {
  if (known_bad(full)) return false;
  const auto axes = space_.conflict(full);
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
    for (int value = 0; value < space_.sizes[a]; ++value) {
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

bool Feasibility::known_bad(const CoveringRow& partial) const {
  for (std::size_t axis = 0; axis < partial.size(); ++axis) {
    if (partial[axis] != kFree && !allows(partial, axis, partial[axis])) return true;
  }
  return false;
}

std::optional<CoveringRow> Feasibility::complete(const CoveringRow& partial, std::uint64_t seed) {
  while (!known_bad(partial)) {
    CoveringRow row = partial;
    if (!search(row, seed, 0)) return {};
    if (accepts(row)) return row;
  }
  return {};
}

}  // namespace attest
