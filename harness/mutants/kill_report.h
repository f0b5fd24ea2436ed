// The kill matrix for people: on the console, as Markdown for the README, as one self-contained HTML page.
#pragma once

#include <string>

#include "harness/mutants/kill_matrix.h"

namespace attest {

// One set of inputs and how every suspect fared on it.
struct KillPart {
  std::string suite;  // "quick", "ggml"
  std::string about;  // "every 40th line of suite ggml up to 1e8 flop"; empty for a whole suite
  std::int64_t cases = 0;
  std::vector<Suspect> suspects;
};

struct KillReport {
  std::string command;
  KillPart main;
  std::vector<KillPart> others;  // with rules: the inputs of test-backend-ops
  bool rules = false;
  double wall_s = 0;
};

// At most 100 columns. `all` lists every suspect, else the survivors and false alarms alone.
std::string kill_console(const KillReport& report, bool all);
// Mutants by class, then the classical rules.
std::string kill_markdown(const KillReport& report);
std::string kill_html(const KillReport& report);

}  // namespace attest
