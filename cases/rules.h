// The rules a problem must keep to be one, and which key of the descriptor is to blame when it does not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/problem.h"

namespace attest {

// Limits that keep every size in 64 bits: a line beyond them is a typing error.
inline constexpr std::int64_t kMaxHeadSize = 1 << 16;
inline constexpr std::int64_t kMaxHeads = 1 << 16;
inline constexpr std::int64_t kMaxTokens = (std::int64_t{1} << 31) - 1;
inline constexpr int kMaxThreads = 1024;

// "<key> <what> (<hint>)", e.g. d_k | = 72 is not a multiple of 32, the block of q8_0 | nearest are 64 and 96.
struct Violation {
  std::string_view key;  // a key of the descriptor: d_k, n_head_kv, layout ...
  std::string what;
  std::string hint;
  std::vector<std::string_view> others = {};  // the other keys that the rule looks at
};

// The first broken rule of semantics.md, if any.
std::optional<Violation> find_violation(const AttentionProblem& problem);

}  // namespace attest
