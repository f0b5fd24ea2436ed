// Holds one output against the key and the error budget, element by element, and rules.
#pragma once

#include <cstdint>

#include "cases/contract.h"
#include "cases/tensor.h"
#include "harness/key.h"
#include "reports/record.h"

namespace attest {

struct Ruling {
  Verdict verdict = Verdict::PASS;
  bool suspect = false;  // above the 8-sigma budget, below the 13.9-sigma one: not final, to be run on fresh seeds
};

// Compares `out` (O [d_v, n_head, n_q, n_seq], contiguous f32) with the key under the stated contract. NaN, Inf and
// unwritten elements are looked for in every row, before any ratio; err/B in the judged rows. Fills the record's
// error, row and worst-element fields; FAIL only where the scalar oracle confirms it, ORACLE where the references
// contradict each other.
Ruling compare(Key& key, const ArithmeticContract& contract, const TensorView& out, VerdictRecord& record);

}  // namespace attest
