// Which choices of axis values can stand together: rules are learned from rows that break them, as small nogoods.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace attest {

// One value per axis, by index; kFree where the axis is open.
using CoveringRow = std::vector<int>;
inline constexpr int kFree = -1;

// Empty: the row, which has a value for every axis, is valid. Else the axes whose values in this row can never stand
// together, whatever the others are.
using ConflictFinder = std::function<std::vector<std::size_t>(const CoveringRow& full)>;

// A space of rows: how many values each axis has, and what rows are valid.
struct CoveringSpace {
  std::vector<int> sizes;
  ConflictFinder conflict;
  // A second, additive rule, too often broken to be learned case by case: the costs of a row's values add up to at
  // most max_cost. Per axis and value; empty: no such rule.
  std::vector<std::vector<double>> costs;
  double max_cost = 0;
};

// Answers exactly whether a partial row has a valid completion, without a list of rules: every invalid row that a
// search meets teaches a nogood, and no row that contains one is tried again.
class Feasibility {
 public:
  explicit Feasibility(CoveringSpace space);

  // A valid row with the given values, the same for the same arguments and history; nullopt: there is none.
  std::optional<CoveringRow> complete(const CoveringRow& partial, std::uint64_t seed);

  // False: the costs, or a nogood known so far, forbid `value` for `axis` next to the other values of `row`.
  bool allows(const CoveringRow& row, std::size_t axis, int value) const;
  // False: no valid row, and the reason is learned.
  bool accepts(const CoveringRow& full);

  const std::vector<int>& sizes() const { return space_.sizes; }

 private:
  struct Literal {
    std::size_t axis;
    int value;
  };
  using Nogood = std::vector<Literal>;

  bool dear(const CoveringRow& row, std::size_t axis, int value) const;
  bool known_bad(const CoveringRow& partial) const;
  bool search(CoveringRow& row, std::uint64_t seed, std::size_t depth) const;

  CoveringSpace space_;
  std::vector<double> cheapest_;  // per axis
  std::vector<Nogood> nogoods_;
  std::vector<std::vector<std::vector<std::size_t>>> by_literal_;  // [axis][value] -> nogoods that hold it
};

}  // namespace attest
