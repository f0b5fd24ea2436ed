// One row in an arithmetic narrower than f32, rounding for rounding: what a kernel with that contract would answer.
#pragma once

#include <string>
#include <vector>

#include "cases/contract.h"
#include "oracles/row_terms.h"

namespace attest {

// Where an online-softmax kernel rounds, and in which order it goes. Everything else is fp64, which a kernel's own f32
// differs from by less than any of these roundings.
struct NarrowArithmetic {
  Narrow score = Narrow::wide;  // scale * q.k as stored
  Narrow logit = Narrow::wide;  // after softcap and mask
  Narrow slope = Narrow::wide;  // ALiBi
  Narrow bias = Narrow::wide;   // slope times mask
  Narrow sink = Narrow::wide;
  Narrow p = Narrow::wide;        // weights before they meet V
  Narrow v = Narrow::wide;        // V
  Narrow acc = Narrow::wide;      // sums of p V, at every key and rescale
  Narrow factor = Narrow::wide;   // of a rescaled accumulator, not of the row sum
  Narrow partial = Narrow::wide;  // outputs of chunks, before the merge
  Narrow sum = Narrow::wide;      // row sum
  Narrow out = Narrow::wide;      // output
  std::int64_t tile = 1;          // keys per online-softmax step
  std::int64_t chunks = 1;        // split-KV
  bool tile_product = false;      // p V of a tile is summed wide, then added to the narrow sums
  bool rescale_rounds = true;     // a rescaled accumulator is rounded before the next key is added
  bool p_normalised = false;      // weights are divided by the row sum before they are rounded
  bool operator==(const NarrowArithmetic&) const = default;
};

// Order and tile of a stated contract, nothing narrow.
NarrowArithmetic order_of(const ArithmeticContract& contract, std::int64_t n_kv);

std::vector<double> narrow_row(const RowTerms& terms, const NarrowArithmetic& arithmetic);

}  // namespace attest
