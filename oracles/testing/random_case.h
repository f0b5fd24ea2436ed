// Seeded random cases over every axis of an attention problem, small enough to judge by slow means.
#pragma once

#include "cases/case.h"

namespace attest::testing {

struct CaseLimits {
  std::int64_t n_q = 6, n_kv = 70;
};

// A valid case: the same for the same number on every machine.
Case random_case(std::uint64_t number, const CaseLimits& limits = {});

}  // namespace attest::testing
