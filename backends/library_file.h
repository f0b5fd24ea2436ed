// A shared library on disk: is it one for this machine, and does it load?
#pragma once

#include <filesystem>

#include "cases/error.h"

namespace attest {

// Reads the file's header: is it a shared library for this machine? The error (harness) names both architectures.
Expected<void> check_loadable(const std::filesystem::path& library);

// check_loadable() and dlopen with RTLD_NOW | RTLD_LOCAL. `library` has a slash in it. Errors (harness): the loader's
// words.
Expected<void*> open_library(const std::filesystem::path& library);

}  // namespace attest
