// Which declarations of a file a declaration leads to: by the words in its text, overloads and shadowed names as one.
#pragma once

#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "backends/metal/sim/tokens.h"

namespace attest::metal {

// The words in every declaration at the top of the file, by the name that it declares.
using Mentions = std::map<std::string_view, std::set<std::string_view>>;
Mentions mentions_of(const std::vector<Token>& tokens);

// All words that the declaration of `name` leads to, its own text first, then what that names, and so on.
std::set<std::string_view> reached_from(std::string_view name, const Mentions& mentions);

}  // namespace attest::metal
