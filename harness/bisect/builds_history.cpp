#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include "backends/ggml/files.h"
#include "harness/bisect/history.h"

namespace attest {

namespace fs = std::filesystem;

namespace {

// Of the bytes of every library that attest may load from it. Empty where there is none.
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

class BuildsHistory final : public LinearHistory {
 public:
  explicit BuildsHistory(std::vector<Step> steps) : LinearHistory(std::move(steps)) {}

  std::string describe() const override {
    return fmt::format("{} builds, {} .. {}", steps().size(), older().name, newer().name);
  }
  Expected<std::string> identity(const Step& step) override { return contents_of(step.id); }
  Expected<Specimen> obtain(const Step& step, const Obtain&) override {
    Specimen specimen;
    std::error_code ignored;
    (fs::is_directory(step.id, ignored) ? specimen.ggml : specimen.plugin) = step.id;
    return specimen;
  }
};

// The ends of the paths, as long as they must be to tell them apart.
std::vector<std::string> short_names(const std::vector<fs::path>& paths) {
  std::vector<std::string> names;
  for (int parts = 1; parts < 32; ++parts) {
    names.clear();
    for (const fs::path& path : paths) {
      fs::path name = path.filename(), rest = path.parent_path();
      for (int more = 1; more < parts && rest.has_relative_path(); ++more) {
        name = rest.filename() / name;
        rest = rest.parent_path();
      }
      names.push_back(name.string());
    }
    if (std::set<std::string>(names.begin(), names.end()).size() == names.size()) break;
  }
  return names;
}

}  // namespace

Expected<std::unique_ptr<BisectHistory>> builds_history(const std::vector<std::string>& paths) {
  if (paths.size() < 2) return input_error("bisect builds needs at least two builds, oldest first");
  std::vector<fs::path> real;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::path at = fs::canonical(path, error);
    if (error) return input_error(fmt::format("'{}': no such build", path));
    if (std::find(real.begin(), real.end(), at) != real.end()) {
      return input_error(fmt::format("'{}' is named twice", path), "each build once, oldest first");
    }
    real.push_back(at);
  }
  const std::vector<std::string> names = short_names(real);
  std::vector<Step> steps;
  for (std::size_t i = 0; i < real.size(); ++i) steps.push_back({real[i].string(), names[i], ""});
  return std::make_unique<BuildsHistory>(std::move(steps));
}

Expected<std::vector<std::string>> read_list(const fs::path& file) {
  std::ifstream in(file);
  if (!in) return input_error(fmt::format("cannot read the list '{}'", file.string()));
  std::vector<std::string> paths;
  for (std::string line; std::getline(in, line);) {
    line.erase(std::min(line.find('#'), line.size()));
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos) continue;
    const fs::path path = line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
    paths.push_back((path.is_absolute() ? path : file.parent_path() / path).string());
  }
  return paths;
}

}  // namespace attest
