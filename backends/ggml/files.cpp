#include "backends/ggml/files.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace attest::ggml {
namespace {

namespace fs = std::filesystem;

bool starts_with(std::string_view s, std::string_view prefix) { return s.substr(0, prefix.size()) == prefix; }

// "libggml-cpu-haswell.so.0.9.4" -> "cpu-haswell"; "libggml.v0.5.0.so" -> ".v0.5.0"; other files -> nothing.
std::optional<std::string> library_stem(std::string_view name) {
  if (!starts_with(name, "libggml")) return std::nullopt;
  name.remove_prefix(std::strlen("libggml"));
  const auto so = name.find(".so");
  if (so != std::string_view::npos && (so + 3 == name.size() || name[so + 3] == '.')) {
    return std::string(name.substr(0, so));
  }
  const std::string_view dylib = ".dylib";
  if (name.size() >= dylib.size() && name.substr(name.size() - dylib.size()) == dylib) {
    return std::string(name.substr(0, name.size() - dylib.size()));
  }
  return std::nullopt;
}

struct Scan {
  BuildFiles files;
  bool static_only = false;
};

Scan scan(const fs::path& dir) {
  Scan found;
  found.files.dir = dir;
  std::vector<fs::path> entries;
  std::error_code ignored;
  for (fs::directory_iterator it(dir, ignored), end; !ignored && it != end; it.increment(ignored)) {
    entries.push_back(it->path());
  }
  std::sort(entries.begin(), entries.end());  // libggml-base.so before libggml-base.so.0, on every file system
  for (const fs::path& path : entries) {
    const std::string name = path.filename().string();
    if (name == "libggml-base.a" || name == "libggml.a") found.static_only = true;
    const auto stem = library_stem(name);
    if (!stem) continue;
    if (stem->empty() || (*stem)[0] != '-') {
      if (found.files.registry.empty()) found.files.registry = path;
    } else if (*stem == "-base" || starts_with(*stem, "-base.")) {
      if (found.files.base.empty()) found.files.base = path;
    } else {
      const std::string rest = stem->substr(1);
      const auto dash = rest.find('-');
      BackendFile file{path, rest.substr(0, dash), dash == std::string::npos ? "" : rest.substr(dash + 1)};
      const bool known =
          std::any_of(found.files.backends.begin(), found.files.backends.end(),
                      [&](const BackendFile& f) { return f.family == file.family && f.variant == file.variant; });
      if (!known) found.files.backends.push_back(std::move(file));
    }
  }
  return found;
}

std::vector<fs::path> places(const fs::path& given) {
  std::vector<fs::path> dirs{given};
  for (const char* below : {"bin", "lib", "src", "ggml/src", "build/bin", "build/lib", "build/src"}) {
    dirs.push_back(given / below);
  }
  const std::size_t near = dirs.size();
  for (std::size_t i = 0; i < near; ++i) {
    std::vector<fs::path> deeper;
    std::error_code ignored;
    for (fs::directory_iterator it(dirs[i], ignored), end; !ignored && it != end; it.increment(ignored)) {
      std::error_code no;
      if (it->is_directory(no)) deeper.push_back(it->path());
    }
    std::sort(deeper.begin(), deeper.end());
    dirs.insert(dirs.end(), deeper.begin(), deeper.end());
  }
  // npm packages: bins/<platform> is two levels down only where `given` is the package itself.
  std::error_code ignored;
  std::vector<fs::path> bins;
  for (fs::directory_iterator it(given / "bins", ignored), end; !ignored && it != end; it.increment(ignored)) {
    bins.push_back(it->path());
  }
  std::sort(bins.begin(), bins.end());
  dirs.insert(dirs.end(), bins.begin(), bins.end());
  return dirs;
}

}  // namespace

Expected<BuildFiles> find_build(const fs::path& given) {
  std::error_code ignored;
  if (!fs::exists(given, ignored)) return harness_error("ggml directory " + given.string() + " does not exist");
  if (!fs::is_directory(given, ignored)) {
    return harness_error(given.string() + " is not a directory",
                         "name the directory that holds libggml-base, not the library");
  }
  bool static_only = false;
  for (const fs::path& dir : places(given)) {
    Scan found = scan(dir);
    static_only = static_only || found.static_only;
    if (!found.files.base.empty() || !found.files.registry.empty()) return std::move(found.files);
  }
  if (static_only) {
    return harness_error("the ggml in " + given.string() + " is built as static libraries, which cannot be loaded",
                         "build with -DBUILD_SHARED_LIBS=ON");
  }
  return harness_error("no ggml in " + given.string() +
                       ": looked for libggml-base.so, libggml-base.dylib and libggml*.so in it and in bin, lib, src, "
                       "ggml/src, build and bins/* below it");
}

}  // namespace attest::ggml
