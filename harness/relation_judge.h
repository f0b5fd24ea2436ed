// Holds the outputs of a relation's variants against the output of the case itself, within the budgets of all of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cases/contract.h"
#include "cases/relations.h"
#include "harness/key.h"

namespace attest {

// One run of the backend: O [d_v, n_head, n_q, n_seq], contiguous.
struct VariantAnswer {
  AttentionInputs inputs;  // of the variant; its problem outlives this
  ArithmeticContract contract;
  std::vector<float> out;
};

struct RelationRuling {
  bool held = true;
  std::string detail;     // not held: where, both values, the difference allowed
  double ratio = 0;       // largest difference / allowed difference of the rows whose budgets were worked out
  std::int64_t rows = 0;  // how many those were
};

// Places and values of the first element whose bits differ; "" where none does.
std::string first_difference(const AttentionProblem& problem, std::span<const float> base,
                             std::span<const float> other);

// Whether O = sum of w_v O_v (Experiment says how) holds as far as the stated contracts promise. Each output may be off
// its own fp64 reference R by its budget B, hence, exactly,
//   |(O - sum w_v O_v) - (R - sum w_v R_v)| <= B + sum |w_v| B_v:
// no kernel that keeps its contract is ever flagged, whatever the variants' roundings of Q or paths. All elements are
// looked at. Rows whose difference is within half of the key's lower bound of B hold; of the others, those of which
// nothing is known included (the key may be too dear for most rows), the worst are judged, as many as a fixed amount
// of work allows. Merged and own experiments judge a seeded choice of rows.
RelationRuling judge_relation(const Experiment& experiment, Key& key, const ArithmeticContract& contract,
                              std::span<const float> base, const std::vector<VariantAnswer>& variants);

}  // namespace attest
