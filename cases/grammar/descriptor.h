// The descriptor: one line of order-free key=value that says all of a case, and the table of its keys.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"

namespace attest::grammar {

// A word that may stand after '=', and what it means.
struct ValueInfo {
  std::string value;
  std::string_view meaning;
};

// One key of the descriptor, for `attest list axes` and error messages; the parser reads the same table.
struct AxisInfo {
  std::string_view key;
  std::string_view meaning;
  std::string values;         // what may stand after '='
  std::string_view standard;  // what a line without the key means
  std::string_view example;
  std::vector<ValueInfo> terms;  // of keys whose values have names
};

// Every key of an op, in canonical order; without one, of flash_attn_ext.
const std::vector<AxisInfo>& axes();
std::vector<AxisInfo> axes(Op op);
std::vector<std::string> key_names(Op op = Op::flash_attn_ext);

// "flash_attn_ext key=value ..."; keys in any order, the op in either spelling. An op takes its own keys alone. The error has column and hint.
Expected<Case> parse_descriptor(std::string_view line);
// The same without the rules of rules.h: for those who ask find_violation() which key is to blame.
Expected<Case> read_descriptor(std::string_view line);
// Canonical text: keys in table order, defaults left out.
std::string print_descriptor(const Case& c);

// The one spelling of what a case means: terms sorted, default arguments left out, flags without effect cleared.
// parse(print(c)) == canonical(c), tags apart.
Case canonical(Case c);

// 1/sqrt(d_k) in f32, as a line without scale= has it.
float default_scale(std::int64_t d_k);

}  // namespace attest::grammar
