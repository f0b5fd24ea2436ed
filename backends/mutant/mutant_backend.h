// Deliberate bugs and legal variants of the CPU kernels as backends: mutant:<bug>, legal:<variant>.
#pragma once

#include <memory>
#include <vector>

#include "backends/registry.h"

namespace attest {

// A row of mutants.def or variants.def as the harness reads it.
struct MutantRow {
  std::string backend;  // "mutant:gqa-modulo", "legal:p-bf16"
  std::string path, suspected_class, description;
  std::string models;    // the historical bug or habit; empty for legal variants
  std::string contract;  // legal variants: what they state
  bool narrow = false;   // legal variants: some of it in fewer bits than f32
};
std::vector<MutantRow> mutant_rows();  // faulty ones only: without mutant:none
std::vector<MutantRow> legal_rows();

// mutant:NAME or legal:NAME, with threads=N as for cpu. Errors of kind input: no such name, unknown option.
Expected<std::unique_ptr<Backend>> make_mutant_backend(const BackendSpec& spec, const BackendEnvironment& environment);

// One line per family: the rows themselves are listed by `attest list mutants`.
std::vector<BackendListing> mutant_listings();

}  // namespace attest
