// The expected output of captured cases as a party of its own: `file`.
#pragma once

#include <memory>

#include "harness/check/captured.h"
#include "harness/run/subject.h"

namespace attest {

inline constexpr const char* kFileParty = "file";

// Answers each case with what its manifest expects; cases without are UNSUPPORTED. `cases` must outlive it.
std::unique_ptr<Subject> make_expected_subject(const CapturedCases& cases);

}  // namespace attest
