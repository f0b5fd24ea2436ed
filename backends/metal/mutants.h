// Deliberate bugs in our Metal kernels, asked for as metal:sim,mutant=NAME. The shipped text knows nothing of them:
// they are edits of it, all bugs of a kernel in one library, and a function constant chooses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backends/metal/attention.h"
#include "backends/metal/sim/sim_device.h"
#include "backends/mutant/mutant_backend.h"
#include "cases/error.h"

namespace attest::metal {

// A row of mutants.def.
struct Mutant {
  std::string_view name;
  AttentionKernel kernel;
  std::string_view suspected_class;
  ExecutionModel model;
  std::string_view description, models;
  std::string_view text, instead;
  int number;  // AttentionOptions::mutant
};
const std::vector<Mutant>& mutants();

// Error (input): no such name, with the nearest.
Expected<const Mutant*> find_mutant(std::string_view name);

// The library of one kernel with its bugs in it, all asleep until one is chosen. Error (harness): the text of one does
// not stand there exactly once, or overlaps another's.
Expected<std::string> mutable_library(AttentionKernel kernel);

// For `attest mutants --metal`: the bugs, and the production kernels, which are not to be flagged.
std::vector<MutantRow> mutant_rows();
std::vector<MutantRow> production_rows();

}  // namespace attest::metal
