// Which files of a directory make up a ggml build; nothing is loaded here.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::ggml {

// libggml-<family>[-<variant>].so: libggml-cpu-haswell.so is family cpu, variant haswell.
struct BackendFile {
  std::filesystem::path path;
  std::string family, variant;
};

struct BuildFiles {
  std::filesystem::path dir;       // where the libraries lie
  std::filesystem::path base;      // libggml-base.so; empty in releases that had one library for everything
  std::filesystem::path registry;  // libggml*.so that is not libggml-*; empty: backends are loaded one by one
  std::vector<BackendFile> backends;
};

// Finds a build in `given` itself, in bin, lib, src, ggml/src, build/bin and the like below it (a cmake build
// directory), or one level further down (an unpacked npm package keeps its libraries in bins/<platform>).
// Errors (harness): no such directory; no ggml in it, saying what was looked for and where; only static libraries.
Expected<BuildFiles> find_build(const std::filesystem::path& given);

}  // namespace attest::ggml
