#include "harness/key.h"

#include <xxhash.h>

#include <algorithm>

#include "harness/row_choice.h"
#include "oracles/eigen_reference.h"

namespace attest {

namespace {

std::uint64_t choice_seed(const Case& c) {
  const std::string id = case_id(c);
  return XXH3_64bits(id.data(), id.size());
}

}  // namespace

Key::Key(const Case& c, const AttentionInputs& inputs, const KeyOptions& options)
    : case_(c), inputs_(inputs), options_(options), generic_(is_generic(c)) {
  const double flop = std::max(1.0, row_flop(c.problem));
  auto count = static_cast<std::int64_t>(std::max(1.0, options.key_flop / flop));
  if (options.rows > 0) count = std::min(count, options.rows);
  const std::uint64_t seed = choice_seed(c);
  rows_ = choose_rows(c.problem, count, seed);
  const auto affordable = static_cast<std::int64_t>(std::max(1.0, options.confirm_flop / flop));
  sample_ = options.oracle_full ? rows_ : sample_rows(rows_, std::min(affordable, options.confirm_rows), seed);
}

const Key::Answer& Key::under(QRounding rounding) {
  const auto found = answers_.find(rounding);
  if (found != answers_.end()) return found->second;
  Answer answer;
  answer.inputs = std::make_unique<EmulatedInputs>(inputs_, rounding);
  answer.sketch = BudgetSketch(rows_.size(), case_.problem.d_v);
  answer.eigen = eigen_reference(answer.inputs->inputs(), rows_, answer.inputs->score_correction(), answer.sketch);
  return answers_.emplace(rounding, std::move(answer)).first->second;
}

}  // namespace attest
