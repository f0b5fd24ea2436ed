// The data families: which values fill Q, K and V, and whether their roundings may be taken as independent.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"

namespace attest {

struct FamilyInfo {
  std::string_view name;
  std::string_view meaning;  // one line; <arg> stands for the parameter
  bool shapes_qk;            // shapes Q and K (and gives V its default); otherwise shapes V
  bool has_arg;              // takes a parameter, e.g. normal:4
  double default_arg;
  bool generic;  // error-budget.md, admissibility
};

// All families in the order of families.def.
const std::vector<FamilyInfo>& families();
// nullptr: no such family.
const FamilyInfo* find_family(std::string_view name);
std::vector<std::string> family_names();

// Input error where a term is unknown, has an unusable parameter, or where two terms shape the same tensors.
Expected<void> validate(const DataSpec& data);

enum class Family {
#define ATTEST_FAMILY(name, shapes_qk, has_arg, default_arg, generic, meaning) name,
#include "cases/families.def"
#undef ATTEST_FAMILY
};

// A DataSpec with its defaults filled in. No term that shapes Q and K: normal:1. No term that shapes V: V follows the
// family of Q and K (uniform, outlier, integer) or is N(0,1).
struct ResolvedData {
  Family scores = Family::normal;
  double scores_arg = 1;
  bool has_values = false;
  Family values = Family::v_shift;
  double values_arg = 0;
};
ResolvedData resolve(const DataSpec& data);

}  // namespace attest
