// The compiler the simulator builds kernels with, and its cache of shared objects.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::metal {

struct Toolchain {
  std::filesystem::path clang;
  int version = 0;
  bool bfloat = true;    // clang 16 has none
  std::string identity;  // path, size and time of the compiler: part of every cache key
};

// clang 19, or another from 16 on; ATTEST_CLANG names one. Error (harness): none here, and how to get it.
Expected<Toolchain> find_toolchain();

// What compiled kernels tell the simulator as they run: nothing but what they ask of it; every access to memory; every
// basic block and every access to memory, before it happens, so that lanes can go in step.
enum class Telling { nothing, accesses, steps };

// The shared object of an MSL file; from the cache where the same text was compiled before. Errors: input with file and
// line where the text is no MSL; harness where the compiler or the cache directory fails.
Expected<std::filesystem::path> compile_msl(const Toolchain& toolchain, std::string_view name, std::string_view source,
                                            Telling telling);

// "vec.metal:120" of an address inside a compiled kernel (the innermost line that is not the simulator's own), or "".
std::string source_line(const std::filesystem::path& object, std::uintptr_t offset);

}  // namespace attest::metal
