#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "harness/bisect/history.h"
#include "harness/build_contents.h"

namespace attest {

namespace fs = std::filesystem;

namespace {

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
