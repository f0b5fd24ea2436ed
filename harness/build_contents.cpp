#include "harness/build_contents.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "backends/ggml/files.h"

namespace attest {

namespace fs = std::filesystem;

std::string contents_of(const fs::path& path) {
  std::vector<fs::path> files;
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    const auto build = ggml::find_build(path);
    if (!build) return "";
    files = {build->base, build->registry};
    for (const auto& backend : build->backends) files.push_back(backend.path);
  } else {
    files = {path};
  }
  std::sort(files.begin(), files.end());
  std::string all;
  for (const fs::path& file : files) {
    if (file.empty()) continue;
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
    all += fmt::format("{} {:016x}{:016x}\n", file.filename().string(), hash.high64, hash.low64);
  }
  return all;
}

std::string fingerprint_of_text(const std::string& text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

}  // namespace attest
