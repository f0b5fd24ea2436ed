// Reads the lines of ggml's test-backend-ops, FLASH_ATTN_EXT(hsk=64,...), with that tool's semantics.
#pragma once

#include <string_view>

#include "cases/case.h"
#include "cases/error.h"

namespace attest::grammar {

// True for NAME(...), the form of that tool.
bool looks_like_ggml_line(std::string_view line);

// n_head = nh*nr2, n_head_kv = nh, n_seq = n_seq_kv = nr3; head sizes rounded up to the block of the K (V) type while
// the scale stays 1/sqrt(hsk); kv_view doubles dimension 1 of the parent before the permutation; mask f16
// [n_kv, n_q, 1, nr3]; sinks uniform in +-10; Q, K, V uniform in (-1, 1). Keys left out have that tool's defaults
// (hsk, nh, kv and nb may not be); hs, nr and type_KV of older versions are understood. What follows ')' after a colon
// ("): OK") is ignored.
Expected<Case> parse_ggml_line(std::string_view line);

}  // namespace attest::grammar
