// Which causal mask did a kernel apply? Holds an output against what each alignment would have given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/problem.h"
#include "cases/tensor.h"

namespace attest {

// Query i sees, of the keys its other mask terms leave: all of them, those up to i + n_kv - n_q, those up to i, or
// those from i + n_kv - n_q on.
enum class CausalAlignment : std::uint8_t { full, bottom_right, top_left, anti_causal };
std::string_view name(CausalAlignment alignment);

struct CausalClass {
  CausalAlignment asked = CausalAlignment::bottom_right;
  std::vector<CausalAlignment> like;  // several where n_q = n_kv, or few rows tell them apart; none: something else
  bool as_asked() const;
  // "full", "bottom-right or top-left", "none of the four".
  std::string text() const;
};

// nullopt: the case asks for no causal alignment, or none of the rows looked at is finite. The other terms of the mask
// stay as they are. Works out four answers for at most sixteen rows.
std::optional<CausalClass> classify_causal(const Case& c, const AttentionInputs& inputs, const TensorView& out);

}  // namespace attest
