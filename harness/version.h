// The version of this build, as records and `attest --version` state it.
#pragma once

namespace attest {

inline constexpr const char* kVersion = ATTEST_VERSION;

}  // namespace attest
