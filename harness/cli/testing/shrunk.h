// Failures of mutants, each a line of twelve non-default keys or more, and what `attest shrink` makes of them.
#pragma once

#include <gtest/gtest.h>

#include <regex>
#include <string>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {

struct MutantFailure {
  const char *mutant, *line;
};
// Drawn by a seeded generator over mutants and keys: the first line of each mutant that fails.
inline constexpr MutantFailure kMutantFailures[] = {
#include "harness/cli/testing/mutant_failures.inc"
};

struct Shrunk {
  int left = -1, before = -1;  // non-default keys
  std::string line;
};

inline Shrunk shrink(const MutantFailure& f) {
  const Ended run = attest({"shrink", f.line, "-b", f.mutant, "--quiet"});
  EXPECT_EQ(run.code, 0) << f.mutant << ' ' << run.err;
  Shrunk shrunk;
  std::smatch found;
  if (std::regex_search(run.out, found, std::regex("([0-9]+) of ([0-9]+) non-default"))) {
    shrunk.left = std::stoi(found[1]);
    shrunk.before = std::stoi(found[2]);
  }
  if (std::regex_search(run.out, found, std::regex("--case '([^']*)'"))) shrunk.line = found[1];
  // The line stands for itself.
  EXPECT_EQ(attest({"run", "-b", f.mutant, "--case", shrunk.line}).code, 1) << f.mutant << ' ' << shrunk.line;
  return shrunk;
}

}  // namespace attest::testing
