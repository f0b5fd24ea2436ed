// Which choices of axis values can stand together: rules are learned from rows that break them, as small nogoods.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace attest {

// One value per axis, by index; kFree where the axis is open.
using CoveringRow = std::vector<int>;
inline constexpr int kFree = -1;

// Empty: the row, which has a value for every axis, is valid. Else the axes whose values in this row can never stand
// together, whatever the others are.
using ConflictFinder = std::function<std::vector<std::size_t>(const CoveringRow& full)>;

// Answers exactly whether a partial row has a valid completion, without a list of rules: every invalid row that a
// search meets teaches a nogood, and no row that contains one is tried again.
class Feasibility {
 public:
  Feasibility(std::vector<int> sizes, ConflictFinder conflict);

  // A valid row with the given values, the same for the same arguments and history; nullopt: there is none.
  std::optional<CoveringRow> complete(const CoveringRow& partial, std::uint64_t seed);

  // False: a nogood known so far forbids `value` for the open `axis` next to the values of `row`.
  bool allows(const CoveringRow& row, std::size_t axis, int value) const;
  // False: no valid row, and the reason is learned.
  bool accepts(const CoveringRow& full);

  const std::vector<int>& sizes() const { return sizes_; }

 private:
  struct Literal {
    std::size_t axis;
    int value;
  };
  using Nogood = std::vector<Literal>;

  bool search(CoveringRow& row, std::uint64_t seed, std::size_t depth) const;

  std::vector<int> sizes_;
  ConflictFinder conflict_;
  std::vector<Nogood> nogoods_;
  std::vector<std::vector<std::vector<std::size_t>>> by_literal_;  // [axis][value] -> nogoods that hold it
};

// Keys of the descriptor on which the rule that `blamed` (Violation::key) stands for depends; empty: unknown, all.
std::vector<std::string_view> keys_behind(std::string_view blamed);

}  // namespace attest
