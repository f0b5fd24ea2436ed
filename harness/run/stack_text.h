// A stack as backtrace_symbols_fd() prints it, made short enough for a verdict's sentence.
#pragma once

#include <string>
#include <string_view>

namespace attest {

// Line that a subject's signal handler writes to standard error before the stack.
inline constexpr std::string_view kStackMarker = "attest: stack of the fault:\n";

// "inner < outer < ..." from lines like "lib.so(_ZN3foo3barEi+0x1f)[0x7f..]": demangled, without arguments and template
// arguments, at most `most` frames, from behind the signal handler up to attest's own loop. A frame without a name is
// "lib.so+0x1f". "" where no line is understood.
std::string stack_text(std::string_view dump, int most = 8);

}  // namespace attest
