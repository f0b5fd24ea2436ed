// What lies where a kernel must not look: byte patterns of a poison, and which keys nobody may see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cases/case.h"
#include "cases/masks.h"

namespace attest {

// Places (PoisonSpec::where); `everywhere` is all of them:
//   hidden        K and V rows below n_kv of keys that no query, head or sequence reading them may see
//   gaps          rows, heads, end and the bytes before Q, K and V
//     rows        between rows: pads at the end of each row of K and V
//     heads       between heads: cache rows from n_kv on, parent heads beyond K's and V's own
//     end         after the last element of Q, K, V and the mask (layout=tail:BYTES)
//   mask_padding  mask_rows, mask_cols and the bytes before the mask
//     mask_rows   rows of the mask beyond n_q (layout=mask-rows:N)
//     mask_cols   columns of the mask beyond n_kv (layout=mask-cols:N)
//   output        the output before the call
// Unpoisoned: hidden keys and rows outside the view hold values of the same data family; pads, mask padding and bytes
// before and after a tensor are 0; the output holds NaNs of the bit pattern 0x7fc0dead. In a sparse layout
// rows, heads, mask_rows and mask_cols do not exist: no byte there is ever written.
bool poisons(const PoisonSpec& poison, PoisonWhere place);

// Whether the poison of a case changes any byte of its tensors. It does not where layout and mask lack the place, where
// zeros lie anyway (previous:<seed> leaves zeros in pads, too), or where the other seed is the case's own.
bool changes_bytes(const Case& c);

inline constexpr std::uint32_t kOutputPrefill = 0x7fc0dead;

// Fills `bytes` bytes, a multiple of the element or block of `type`, with `what`. In block types the scale (and
// minimum) takes the value, the codes random bits, so that any use of the block shows. `key` seeds random bytes.
// `previous` is the caller's affair and fills zeros here.
void fill_poison(PoisonWhat what, DType type, std::byte* memory, std::int64_t bytes, std::uint64_t key);

// The seed whose bytes lie in a place: the case's own, or the other one of previous:<seed>.
std::uint64_t seed_at(const Case& c, PoisonWhere place);

// Per KV sequence, KV head and key: 1 where no query head and sequence that read this row may see it in any row of
// the mask. Index (sk * heads + h) * n_kv + j. Empty where the problem has no mask.
std::vector<std::uint8_t> hidden_rows(const AttentionProblem& problem, const MaskRows& mask, std::int64_t heads);

}  // namespace attest
