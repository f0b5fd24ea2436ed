// Reads suite texts: TOML with groups and axes, and plain lists of lines.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "cases/generate/covering.h"
#include "cases/suites/suite.h"

namespace attest {

// Collects cases group by group and drops those that came before.
class SuiteBuilder {
 public:
  void open(SuiteGroup group);
  void add(Case c);
  // One case per line; `path` is for messages.
  Expected<void> add_lines(std::string_view lines, const std::string& path);
  // The rows of a covering array. Errors: a value that does not parse, a seed that breaks a rule, no row at all.
  Expected<void> add_covering(AxisSpace space, const CoveringOptions& options);
  Suite& suite() { return suite_; }

 private:
  Suite suite_;
  std::unordered_set<std::string> seen_;
};

// The text of a file that a suite names (file = "...").
using FileReader = std::function<Expected<std::string>(const std::string& name)>;

// `path` is for messages.
Expected<Suite> parse_toml_suite(std::string_view toml, const std::string& path, const FileReader& read);

}  // namespace attest
