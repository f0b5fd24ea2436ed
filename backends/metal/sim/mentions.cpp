#include "backends/metal/sim/mentions.h"

namespace attest::metal {
namespace {

// Tokens [first, last] up to the ; or } that ends the declaration.
std::size_t end_of_declaration(const std::vector<Token>& tokens, std::size_t first) {
  int depth = 0;
  for (std::size_t i = first; i < tokens.size(); ++i) {
    if (tokens[i].is("{") || tokens[i].is("(") || tokens[i].is("[")) ++depth;
    if (tokens[i].is("}") || tokens[i].is(")") || tokens[i].is("]")) --depth;
    if (depth <= 0 && (tokens[i].is(";") || tokens[i].is("}"))) return i;
  }
  return tokens.size() - 1;
}

// The last word before the parameters, the value, the body or the end: attributes and template arguments are none.
std::string_view declared_name(const std::vector<Token>& tokens, std::size_t first, std::size_t last) {
  std::string_view name;
  for (std::size_t i = first; i <= last; ++i) {
    const Token& t = tokens[i];
    const bool attribute = t.is("[") && i < last && tokens[i + 1].is("[");
    if (attribute || t.is("<")) {
      const std::size_t close = closing(tokens, i);
      if (close > last) return name;
      i = close;
      continue;
    }
    if (t.is("(") || t.is("=") || t.is("[") || t.is("{") || t.is(";")) return name;
    if (t.kind == Token::Kind::word) name = t.text;
  }
  return name;
}

}  // namespace

Mentions mentions_of(const std::vector<Token>& tokens) {
  Mentions mentions;
  for (std::size_t first = 0; first < tokens.size();) {
    const std::size_t last = end_of_declaration(tokens, first);
    auto& words = mentions[declared_name(tokens, first, last)];
    for (std::size_t i = first; i <= last; ++i) {
      if (tokens[i].kind == Token::Kind::word) words.insert(tokens[i].text);
    }
    first = last + 1;
  }
  return mentions;
}

std::set<std::string_view> reached_from(std::string_view name, const Mentions& mentions) {
  std::set<std::string_view> reached{name};
  std::vector<std::string_view> open{name};
  while (!open.empty()) {
    const auto found = mentions.find(open.back());
    open.pop_back();
    if (found == mentions.end()) continue;
    for (const auto word : found->second) {
      if (reached.insert(word).second) open.push_back(word);
    }
  }
  return reached;
}

}  // namespace attest::metal
