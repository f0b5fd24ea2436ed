// Where tests labelled `real` find the libraries of a ggml build.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace attest {

// Shared libraries whose name begins with `prefix` and then ends or goes on with '-', under ATTEST_GGML_DIR, else
// under build/ggml of the source tree; sorted by path, so that the last is of the newest version.
inline std::vector<std::string> ggml_files_for_tests(std::string_view prefix) {
  namespace fs = std::filesystem;
  const char* named = std::getenv("ATTEST_GGML_DIR");
  const fs::path root = named != nullptr ? fs::path(named) : fs::path(ATTEST_SOURCE_DIR) / "build" / "ggml";
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(root, error)) {
    const fs::path& path = entry.path();
    const std::string stem = path.stem().string();
    const bool library = path.extension() == ".so" || path.extension() == ".dylib";
    if (library && (stem == prefix || stem.starts_with(std::string(prefix) + "-"))) found.push_back(path.string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace attest
