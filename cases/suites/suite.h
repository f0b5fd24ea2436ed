// Suites: named lists of cases, carried by the binary or read from a file.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"
#include "cases/generate/axes.h"
#include "cases/relations.h"

namespace attest {

// Cases that stand together for one reason; cases[first] to cases[first + count).
struct SuiteGroup {
  std::vector<std::string> tags;
  std::string why;                             // one line for people
  std::optional<std::vector<Feature>> claims;  // what its cases are about; none: what each line says (features.h)
  std::size_t first = 0, count = 0;
};

// A [[covering]] group: the axes it declares, and its rows.
struct SuiteCovering {
  AxisSpace space;
  int strength = 2;
  std::vector<CoveringRow> rows;
};

// What a suite is meant to ask and no case can: [[unexpressed]].
struct Unexpressed {
  std::string ref, reason;
};

struct Suite {
  std::string name;
  std::string description;
  std::vector<Case> cases;  // in file order, no two with the same text; tags are the group's
  std::vector<SuiteGroup> groups;
  std::vector<SuiteCovering> coverings;
  std::vector<Unexpressed> unexpressed;
  RelationChoice relations;    // what `attest run` tries on the cases unless told otherwise
  std::size_t duplicates = 0;  // lines dropped because an earlier one is the same case
};

// The suites the binary carries, sorted.
std::vector<std::string> suite_names();
// One of those, or a TOML file where the name ends in ".toml". The format is in suites/README.md. Errors are input
// errors with file, line and column.
Expected<Suite> load_suite(std::string_view name_or_path);

// A plain text file: one case per line, in either grammar; '#' after a blank or at the start opens a comment. The one
// group has no tag.
Expected<Suite> load_case_file(const std::string& path);

}  // namespace attest
