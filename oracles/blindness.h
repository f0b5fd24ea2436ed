// Could a case have seen a feature go wrong? Works a few rows out with the feature altered and holds the change against
// the error budget (error-budget.md, "Blindness check").
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cases/features.h"
#include "oracles/error_budget.h"
#include "oracles/oracle.h"

namespace attest {

// A change below this many budgets in every element of every row that was tried: the case is blind.
inline constexpr double kSightInBudgets = 4;

enum class Sight : std::uint8_t {
  seen,
  blind,
  absent,  // the altered answer is the same by construction in every row tried: a causal mask that hides nothing
};

// Whether what was seen of a claimed feature makes the case blind to it.
inline bool is_blind(Sight sight, const Case& c) {
  return sight == Sight::blind || (sight == Sight::absent && c.claims.has_value());
}

// Independent of every backend and, but for the budget, of every contract. Not thread-safe: rows worked out once are
// kept for the next budget.
class Blindness {
 public:
  // `inputs` must outlive this. Rows come from queries, heads and sequences at the ends and in the middle; where not all
  // rows are judged, from `judged` (sorted) alone: what no judged row shows is not seen.
  explicit Blindness(const AttentionInputs& inputs, std::span<const Row> judged = {});
  ~Blindness();
  Blindness(Blindness&&) noexcept;

  // What a few rows show of each feature under `budget`, in the order of `features`. Rows out of the contract's range
  // show nothing.
  std::vector<Sight> look(std::span<const Feature> features, const ErrorBudget& budget);

 private:
  struct Probe;
  std::vector<std::unique_ptr<Probe>> probes_;
  const AttentionInputs inputs_;
};

// The features `c` claims and is blind to under `contract`: absent ones count where its suite claims them. Fills the
// case's tensors for it.
std::vector<Feature> blind_to(const Case& c, const ArithmeticContract& contract = {});

}  // namespace attest
