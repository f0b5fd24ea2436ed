#include "harness/backends.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include <fmt/format.h>

#include "backends/ggml/backend.h"
#include "harness/child_output.h"
#include "harness/eigen_party.h"

namespace attest {

namespace fs = std::filesystem;

Expected<std::unique_ptr<Backend>> make_any_backend(const BackendSpec& spec, const BackendEnvironment& environment) {
  if (spec.family == "eigen") return make_eigen_party(spec);
  auto made = make_backend(spec, environment);
  const bool known = std::any_of(backend_families().begin(), backend_families().end(),
                                 [&](const BackendFamily& f) { return f.name == spec.family; });
  if (!made && !known && made.error().hint.empty()) made.error().hint = did_you_mean(spec.family, {"eigen"});
  return made;
}

fs::path own_executable() {
#ifdef __APPLE__
  char path[4096];
  std::uint32_t size = sizeof path;
  if (_NSGetExecutablePath(path, &size) == 0) return fs::canonical(path);
  return {};
#else
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error);
#endif
}

namespace {

void add_children(const fs::path& root, std::vector<GgmlBuild>& builds) {
  std::error_code error;
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (entry.is_directory(error) && entry.path().filename().string().front() != '.') found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  for (const auto& dir : found) {
    const std::string name = dir.filename().string();
    const bool known = std::any_of(builds.begin(), builds.end(), [&](const GgmlBuild& b) { return b.name == name; });
    if (!known) builds.push_back({name, fs::canonical(dir, error)});
  }
}

}  // namespace

Expected<BackendEnvironment> find_ggml_builds(const std::vector<std::string>& given) {
  BackendEnvironment environment;
  std::vector<std::string> wanted = given;
  if (wanted.empty()) {
    if (const char* dir = std::getenv("ATTEST_GGML_DIR"); dir != nullptr && *dir != '\0') wanted.emplace_back(dir);
  }
  for (const std::string& word : wanted) {
    const auto equals = word.find('=');
    std::error_code error;
    const bool named = equals != std::string::npos && !fs::exists(word, error);
    const fs::path dir = named ? word.substr(equals + 1) : word;
    if (!fs::is_directory(dir, error)) {
      return harness_error(
          fmt::format("{} '{}': no such directory", given.empty() ? "ATTEST_GGML_DIR" : "--ggml", dir.string()),
          "ci/fetch-ggml gets a published build into build/ggml");
    }
    const fs::path real = fs::canonical(dir, error);
    if (error) return harness_error(fmt::format("--ggml '{}': {}", dir.string(), error.message()));
    const std::string name = named ? word.substr(0, equals) : real.filename().string();
    for (const auto& build : environment.ggml) {
      if (build.name == name) {
        return harness_error(fmt::format("two ggml builds are called '{}'", name), "name them: --ggml NAME=DIR");
      }
    }
    environment.ggml.push_back({name, real});
  }
  if (wanted.empty()) {
    add_children(fs::path("build") / "ggml", environment.ggml);
    add_children(own_executable().parent_path() / ".." / ".." / "ggml", environment.ggml);
  }
  return environment;
}

int print_ggml_listings(const std::string& name, const std::string& dir) {
  for (const auto& l : ggml_listings(GgmlBuild{name, dir})) {
    fmt::print("{}\t{}\t{}\t{}\n", l.name, l.description, l.available ? 1 : 0, l.reason);
  }
  return 0;
}

// What one build offers, told by a child process that loads it.
static Expected<std::vector<BackendListing>> listings_of(const GgmlBuild& build) {
  const auto output = child_output({own_executable().string(), kListingsVerb, build.name, build.dir.string()}, 60);
  if (!output) return Unexpected(output.error());
  std::vector<BackendListing> listings;
  std::istringstream lines(*output);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, '\t');) fields.push_back(cell);
    fields.resize(4);
    listings.push_back({fields[0], fields[1], fields[2] == "1", fields[3]});
  }
  return listings;
}

Expected<std::vector<std::string>> runnable_cpu_variants(const GgmlBuild& build) {
  const auto listings = listings_of({"", build.dir});
  if (!listings) return Unexpected(listings.error());
  constexpr std::string_view kPrefix = "ggml:CPU,variant=";
  std::vector<std::string> variants;
  for (const BackendListing& one : *listings) {
    if (one.available && one.name.rfind(kPrefix, 0) == 0) variants.push_back(one.name.substr(kPrefix.size()));
  }
  return variants;
}

std::vector<BackendListing> all_listings(const BackendEnvironment& environment) {
  std::vector<BackendListing> listings = builtin_listings();
  for (const char* variant : {"f32", "f64"}) {
    const auto party = make_eigen_party(BackendSpec{"eigen", "", variant, {}});
    listings.push_back({(*party)->name(), (*party)->description(), true, ""});
  }
  for (const GgmlBuild& build : environment.ggml) {
    // A single build needs no name: ggml:CPU.
    const std::string name = environment.ggml.size() == 1 ? "" : build.name;
    auto offered = listings_of({name, build.dir});
    if (!offered) {
      listings.push_back({"ggml@" + build.name, build.dir.string(), false, offered.error().text()});
      continue;
    }
    for (BackendListing& one : *offered) listings.push_back(std::move(one));
  }
  return listings;
}

std::vector<std::string> default_backends(const BackendEnvironment& environment) {
  std::vector<std::string> backends{"cpu:vec", "cpu:tiled", "cpu:split"};
  for (const GgmlBuild& build : environment.ggml) {
    const std::string family = environment.ggml.size() == 1 ? "ggml" : "ggml@" + build.name;
    backends.push_back(family + ":CPU");
    backends.push_back(family + ":CPU,ref");
  }
  return backends;
}

}  // namespace attest
