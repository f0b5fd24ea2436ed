// The rows of the descriptor's grammar: one key, what it means, how it is read and printed; a table of them per op.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/grammar/lexer.h"

namespace attest::grammar {

struct Key {
  std::string_view key, meaning, standard, example;
  std::string (*values)();
  Expected<void> (*read)(const Token& value, Case& c);
  void (*fallback)(Case& c);            // when the line has no such key; keys before it are already read
  std::string (*print)(const Case& c);  // "": left out
};

// In canonical order.
const std::vector<Key>& keys(Op op);

// keys(Op::flash_attn_ext); the tables of the other ops take rows from it.
const std::vector<Key>& attention_keys();

// What a line of another op means where it says nothing, and one spelling of what it says.
void canonicalise_op(Case& c);
// What the grammar of an op has no key for although its values could be read, e.g. a family of data.
Expected<void> check_op_values(const Case& c, std::string_view key);

}  // namespace attest::grammar
