// The grammar of data=: families of families.def joined by '+', at most one for the scores and one for V.
#include <fmt/format.h>

#include <algorithm>

#include "cases/families.h"
#include "cases/grammar/values.h"

namespace attest::grammar {

Expected<DataSpec> read_data(const Token& value) {
  DataSpec data;
  for (const Term& term : split_terms(value)) {
    DataTerm read{std::string(term.name.text), 0, term.has_arg};
    if (find_family(read.name) == nullptr) {
      std::string hint = did_you_mean(read.name, family_names());
      if (hint.empty()) hint = fmt::format("one of: {}", fmt::join(family_names(), ", "));
      return error_at(term.whole, fmt::format("unknown data family '{}'", read.name), hint);
    }
    if (term.has_arg) {
      const auto number = read_double(term.arg, read.name);
      if (!number) return tl::unexpected(number.error());
      read.arg = *number;
    }
    data.terms.push_back(std::move(read));
    if (auto valid = validate(data); !valid) {
      valid.error().column = term.whole.column;
      return tl::unexpected(valid.error());
    }
  }
  return data;
}

std::string data_text(const DataSpec& data) {
  if (data.terms.empty()) return "normal";
  std::vector<std::string> parts;
  for (const auto& term : data.terms) {
    parts.push_back(term.has_arg ? fmt::format("{}:{}", term.name, number_text(term.arg)) : term.name);
  }
  return fmt::format("{}", fmt::join(parts, "+"));
}

std::vector<ValueInfo> data_terms() {
  std::vector<ValueInfo> terms;
  for (const auto& family : families()) {
    terms.push_back({fmt::format("{}{}", family.name, family.has_arg ? "[:A]" : ""), family.meaning});
  }
  return terms;
}

std::string data_values() {
  std::vector<std::string> scores, values;
  for (const auto& family : families()) {
    (family.shapes_qk ? scores : values).push_back(fmt::format("{}{}", family.name, family.has_arg ? "[:A]" : ""));
  }
  return fmt::format("{}; for V {}", fmt::join(scores, " | "), fmt::join(values, " | "));
}

void canonicalise(DataSpec& data) {
  for (auto& term : data.terms) {
    const FamilyInfo* family = find_family(term.name);
    if (family != nullptr && term.has_arg && term.arg == family->default_arg) term.has_arg = false;
    term.arg = term.has_arg ? term.arg + 0.0 : 0;
  }
  std::erase_if(data.terms, [](const DataTerm& term) { return term.name == "normal" && !term.has_arg; });
  std::stable_sort(data.terms.begin(), data.terms.end(), [](const DataTerm& a, const DataTerm& b) {
    const FamilyInfo *left = find_family(a.name), *right = find_family(b.name);
    return left != nullptr && left->shapes_qk && right != nullptr && !right->shapes_qk;
  });
}

}  // namespace attest::grammar
