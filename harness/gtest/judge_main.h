// The judge process behind attest/gtest.h: rules on a kernel that lives in the process that started it.
#pragma once

namespace attest {

inline constexpr const char* kJudgeVerb = "__judge";  // wire.h has it, too: this is between attest and its own headers

// Serves the socket wire::kJudgeFd until its other end closes. Returns the process's exit code.
int judge_main();

}  // namespace attest
