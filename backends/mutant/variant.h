// The tables of deliberate bugs and of legal variants of the CPU kernels.
#pragma once

#include <string_view>
#include <vector>

#include "backends/cpu/scratch.h"
#include "cases/contract.h"

namespace attest::mutant {

struct Call;

// A row of mutants.def.
struct Mutant {
  std::string_view name, path, suspected_class, description, models;
  double (*run)(Call& call, cpu::Scratches& scratch);

  bool is_faulty() const { return suspected_class != "none"; }
};
const std::vector<Mutant>& mutants();

// A row of variants.def. promise() turns the production kernel's contract into the variant's own.
struct Variant : Mutant {
  std::string_view contract;
  void (*promise)(ArithmeticContract& contract);
};
const std::vector<Variant>& variants();

}  // namespace attest::mutant
