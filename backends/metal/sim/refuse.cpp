#include "backends/metal/sim/refuse.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string_view>

namespace attest::metal {
namespace {

using Tokens = std::vector<Token>;

constexpr std::array<std::string_view, 14> kForeignWords{"double",
                                                         "new",
                                                         "delete",
                                                         "throw",
                                                         "try",
                                                         "catch",
                                                         "virtual",
                                                         "goto",
                                                         "typeid",
                                                         "dynamic_cast",
                                                         "asm",
                                                         "thread_local",
                                                         "reinterpret_pointer_cast",
                                                         "__int128"};
constexpr std::array<std::string_view, 7> kAddressSpaces{"device",   "constant",    "threadgroup",           "thread",
                                                         "ray_data", "object_data", "threadgroup_imageblock"};
constexpr std::array<std::string_view, 12> kNoTypes{"return", "else", "case",   "goto",     "using", "typedef",
                                                    "delete", "new",  "sizeof", "template", "const", "operator"};

template <std::size_t N>
bool among(const std::array<std::string_view, N>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

Expected<void> check_words(const Tokens& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& t = tokens[i];
    if (t.kind != Token::Kind::word) continue;
    if (among(kForeignWords, t.text)) return msl_error(t, fmt::format("Metal has no '{}'", t.text));
    if (t.is("std") && i + 1 < tokens.size() && tokens[i + 1].is("::")) {
      const std::string_view name = i + 2 < tokens.size() ? tokens[i + 2].text : std::string_view();
      return msl_error(t, fmt::format("Metal has no std::{}", name), fmt::format("metal::{}, where it has one", name));
    }
  }
  return {};
}

// [first, end) of a declaration: does it make a pointer or reference, and does it say to where?
Expected<void> check_declaration(const Tokens& tokens, std::size_t first, std::size_t end) {
  bool named = false;
  int depth = 0;
  for (std::size_t i = first; i < end; ++i) {
    const Token& t = tokens[i];
    if (among(kAddressSpaces, t.text) || t.is("auto")) named = true;
    if (t.is("=")) break;
    if (t.is("(") || t.is("[")) ++depth;
    if (t.is(")") || t.is("]")) --depth;
    if (depth == 0 && !named && (t.is("*") || t.is("&"))) {
      return msl_error(t, fmt::format("{} without address space", t.text == "*" ? "pointer" : "reference"),
                       "device, constant, threadgroup or thread");
    }
  }
  return {};
}

Expected<void> check_parameters(const Tokens& tokens, std::size_t open, std::size_t close) {
  std::size_t start = open + 1;
  int depth = 0;
  for (std::size_t i = open + 1; i <= close; ++i) {
    const Token& t = tokens[i];
    if (t.is("(") || t.is("[") || t.is("{") || t.is("<")) ++depth;
    if (i != close && (t.is(")") || t.is("]") || t.is("}") || t.is(">"))) --depth;
    if (i != close && !(depth == 0 && t.is(","))) continue;
    if (auto fine = check_declaration(tokens, start, i); !fine) return fine;
    start = i + 1;
  }
  return {};
}

// `T * name =` or `T & name =` at the start of a statement.
Expected<void> check_local(const Tokens& tokens, std::size_t i) {
  std::size_t k = i;
  if (tokens[k].is("const")) ++k;
  if (k + 3 >= tokens.size() || tokens[k].kind != Token::Kind::word || among(kNoTypes, tokens[k].text) ||
      among(kAddressSpaces, tokens[k].text) || tokens[k].is("auto")) {
    return {};
  }
  ++k;
  if (tokens[k].is("<")) k = closing(tokens, k) + 1;
  if (k < tokens.size() && tokens[k].is("const")) ++k;
  if (k + 2 >= tokens.size() || !(tokens[k].is("*") || tokens[k].is("&"))) return {};
  if (tokens[k + 1].kind != Token::Kind::word || !(tokens[k + 2].is("=") || tokens[k + 2].is(";"))) return {};
  return check_declaration(tokens, i, k + 2);
}

struct Function {
  Token name;
  int definitions = 0;
  std::set<std::string_view> calls;
};

// The function whose name can be reached from its own body; overloads of one name are taken for different functions.
Expected<void> check_recursion(const std::map<std::string_view, Function>& functions) {
  for (const auto& [name, start] : functions) {
    if (start.definitions != 1) continue;
    std::set<std::string_view> seen;
    std::vector<std::string_view> open(start.calls.begin(), start.calls.end());
    while (!open.empty()) {
      const std::string_view next = open.back();
      open.pop_back();
      if (next == name)
        return msl_error(start.name, fmt::format("function '{}' is recursive: Metal has no recursion", name));
      const auto found = functions.find(next);
      if (found == functions.end() || found->second.definitions != 1 || !seen.insert(next).second) continue;
      open.insert(open.end(), found->second.calls.begin(), found->second.calls.end());
    }
  }
  return {};
}

}  // namespace

Unexpected msl_error(const Token& at, std::string message, std::string hint) {
  Error error{ErrorKind::input, std::move(message), std::string(at.file), at.line, 0, {}, std::move(hint)};
  return Unexpected(std::move(error));
}

Expected<void> refuse_foreign(const Tokens& tokens) {
  if (auto fine = check_words(tokens); !fine) return fine;
  std::map<std::string_view, Function> functions;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    // name ( ... ) [const] {   outside any body: a function's definition
    if (!tokens[i].is("(") || i == 0 || tokens[i - 1].kind != Token::Kind::word) {
      if (tokens[i].is("=")) {  // an initialiser is no body
        while (i < tokens.size() && !tokens[i].is(";")) ++i;
      }
      continue;
    }
    const std::size_t close = closing(tokens, i);
    std::size_t body = close + 1;
    if (body < tokens.size() && tokens[body].is("const")) ++body;
    if (body >= tokens.size() || !tokens[body].is("{")) {
      i = std::min(close, tokens.size() - 1);
      continue;
    }
    if (auto fine = check_parameters(tokens, i, close); !fine) return fine;
    const std::size_t end = closing(tokens, body);
    Function& f = functions[tokens[i - 1].text];
    f.name = tokens[i - 1];
    ++f.definitions;
    for (std::size_t k = body; k < end; ++k) {
      if (tokens[k].kind == Token::Kind::word && k + 1 < end && (tokens[k + 1].is("(") || tokens[k + 1].is("<"))) {
        f.calls.insert(tokens[k].text);
      }
      const bool starts = tokens[k - 1].is("{") || tokens[k - 1].is(";") || tokens[k - 1].is("}");
      if (!starts) continue;
      if (auto fine = check_local(tokens, k); !fine) return fine;
    }
    i = std::min(end, tokens.size() - 1);
  }
  return check_recursion(functions);
}

}  // namespace attest::metal
