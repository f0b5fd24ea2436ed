// What this machine has of what attest can use, what is missing, and how to get it.
#pragma once

#include <string>
#include <vector>

#include "cases/error.h"
#include "harness/backends.h"
#include "harness/run/runner.h"

namespace attest {

struct Finding {
  enum class State : std::uint8_t {
    here,
    missing,  // something cannot be done without it
    broken,   // attest does not work on this machine
  };
  std::string group;  // machine, backends, tools or cache
  std::string name;
  State state = State::here;
  std::string says;    // what there is, or what cannot be done without it
  std::string remedy;  // how to get it; empty: nothing to be done
};

// Looks at processor, memory and SIMD targets, runs one small case in a subject process, lists every backend and what
// each ggml build offers (each loaded in a child process), finds the programs that attest or its tests start, and
// measures the cache. `builds` may be find_ggml_builds()'s error, which is then a finding of its own.
std::vector<Finding> examine_machine(const Expected<BackendEnvironment>& builds, const SubjectMaker& maker);

// Each of these backends as a finding: it starts here, or why not. The error is for a name that no machine would know.
Expected<std::vector<Finding>> examine_backends(const std::vector<std::string>& backends, const SubjectMaker& maker);

}  // namespace attest
