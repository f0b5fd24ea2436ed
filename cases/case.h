// A case: an attention problem, the values that fill it, what lies around it, and a seed. One line of text says it all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"
#include "cases/problem.h"

namespace attest {

// A family of values and its parameter, e.g. normal:4. families.def lists names, parameters and whether the family
// is `generic` (error-budget.md, admissibility) or structured.
struct DataTerm {
  std::string name;
  double arg = 0;
  bool has_arg = false;
  bool operator==(const DataTerm&) const = default;
};

// data=normal:4+v_shift:5 : one term shapes Q and K (the scores), the others shape V.
struct DataSpec {
  std::vector<DataTerm> terms;
  bool operator==(const DataSpec&) const = default;
};

// What each place is, and which contains which, stands in poison.h.
enum class PoisonWhere : std::uint8_t {
  everywhere,
  hidden,
  gaps,
  mask_padding,
  output,
  rows,
  heads,
  end,
  mask_rows,
  mask_cols
};
enum class PoisonWhat : std::uint8_t { none, zero, plus_60000, minus_60000, nan, inf, random, previous };
struct PoisonSpec {
  PoisonWhere where = PoisonWhere::everywhere;
  PoisonWhat what = PoisonWhat::none;
  std::uint64_t seed = 0;  // previous:<seed>
  bool operator==(const PoisonSpec&) const = default;
};

enum class Feature : std::uint8_t;  // features.h

struct Case {
  std::string op = "flash_attn_ext";
  AttentionProblem problem;
  DataSpec data;
  PoisonSpec poison;
  std::uint64_t seed = 0;

  std::vector<std::string> tags;               // from the suite; not part of the text or the id
  std::optional<std::vector<Feature>> claims;  // from the suite too; none: what the line says (features.h)
  bool operator==(const Case&) const = default;
};

// The descriptor: canonical one-line text (fixed key order, defaults omitted). parse(text(c)) == c.
std::string text(const Case& c);
// XXH3-64 of text(c) as 16 hexadecimal digits.
std::string case_id(const Case& c);
// A descriptor line, or a test-backend-ops line (FLASH_ATTN_EXT(hsk=...)). The error carries column and nearest word.
Expected<Case> parse_case(std::string_view line);

// True when every term of the data is declared generic and the mask and V are not degenerate by declaration.
bool is_generic(const Case& c);

}  // namespace attest
