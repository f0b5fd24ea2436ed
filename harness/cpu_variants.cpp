#include "harness/cpu_variants.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "backends/ggml/backend.h"
#include "backends/ggml/files.h"

namespace attest {
namespace {

// Variants the build has and this machine cannot execute.
std::vector<std::string> others(const GgmlBuild& build, const std::vector<std::string>& runnable) {
  std::vector<std::string> names;
  const auto files = ggml::find_build(build.dir);
  if (!files) return names;
  for (const auto& file : files->backends) {
    if (file.family != "cpu" || file.variant.empty()) continue;
    if (std::find(runnable.begin(), runnable.end(), file.variant) == runnable.end()) names.push_back(file.variant);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Expected<ExpandedBackends> expand_cpu_variants(const std::vector<std::string>& given,
                                               const BackendEnvironment& environment, const VariantsOf& variants_of) {
  ExpandedBackends expanded;
  const auto add = [&](const std::string& backend) {
    const auto end = expanded.backends.end();
    if (std::find(expanded.backends.begin(), end, backend) == end) expanded.backends.push_back(backend);
  };
  for (const std::string& text : given) {
    auto spec = BackendSpec::parse(text);
    if (!spec) return Unexpected(spec.error());
    const std::string* variant = spec->option("variant");
    if (spec->family != "ggml" || variant == nullptr || *variant != "*") {
      expanded.backends.push_back(text);  // whoever names a backend twice is told so
      continue;
    }
    std::string device = spec->variant;
    for (char& c : device) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (device != "CPU") return input_error(text + ": only the device CPU has variants", "ggml:CPU,variant=*");
    const auto build = choose_ggml_build(*spec, environment.ggml);
    if (!build) return Unexpected(build.error());
    const auto runnable = variants_of(*build);
    if (!runnable) return Unexpected(runnable.error());
    const auto missing = others(*build, *runnable);
    if (runnable->empty()) {
      return harness_error(
          missing.empty()
              ? fmt::format("{}: the ggml build in {} has one CPU backend and no variants", text, build->dir.string())
              : fmt::format("{}: this machine can execute none of {}", text, fmt::join(missing, ", ")));
    }
    for (const std::string& name : *runnable) {
      BackendSpec one = *spec;
      for (auto& [key, value] : one.options) {
        if (key == "variant") value = name;
      }
      add(one.text());
    }
    if (!missing.empty()) {
      expanded.notes.push_back(fmt::format("{}: this machine cannot execute {}", text, fmt::join(missing, ", ")));
    }
  }
  return expanded;
}

}  // namespace attest
