// Answers to questions that were not asked: one row as common bugs would work it out, to see which one was.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cases/contract.h"
#include "oracles/emulate.h"
#include "oracles/row_terms.h"

namespace attest {

// One suspicion about one row.
struct Guess {
  std::string_view suspect;    // class word (harness/suspects.def)
  std::string words;           // the same for all rows that this bug would touch
  std::vector<double> values;  // [columns] what the kernel would have answered
  double freedom = 0;          // ln of the number of variants tried to find this one, + 2 per number fitted
  bool vague = false;          // fits much that another guess may say more about
};

struct MisreadingContext {
  const EmulatedInputs& inputs;  // Q rounded as the contract says
  const ArithmeticContract& contract;
  const RowTerms& terms;        // the row as it should be read
  std::span<const double> got;  // [columns], finite
  std::int64_t columns = 0;
};

// Offers every guess about the row. The values of what was asked are not among them.
using GuessSink = std::function<void(Guess&&)>;
void guess_question(const MisreadingContext& context, const GuessSink& sink);  // mask, softcap, sinks, heads, scale, d
void guess_softmax(const MisreadingContext& context, const GuessSink& sink);   // rescale, maximum, cut-off, merge
void guess_keys(const MisreadingContext& context, const GuessSink& sink);      // keys left out, doubled, misweighted

}  // namespace attest
