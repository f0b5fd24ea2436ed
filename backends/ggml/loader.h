// Loads one ggml build into this process with dlopen and opens devices in it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/ggml/files.h"
#include "backends/ggml/symbols.h"
#include "cases/error.h"

namespace attest::ggml {

// A CPU backend file and what its ggml_backend_score() says of this machine; 0: it would die of SIGILL here.
struct CpuVariant {
  std::string name;
  std::filesystem::path path;
  int score = 0;
};

// A device of the build, found but not yet computing. `cpu`: its memory is the process's own.
struct FoundDevice {
  Device* device = nullptr;
  Registry* registry = nullptr;
  std::string name, description;
  std::string variant;  // CPU: which backend file, e.g. "icelake"; "" where there is only one
  bool cpu = false;

  // From the registry's get_proc_address; nullptr where a device has none.
  void (*set_n_threads)(Engine*, int) = nullptr;
  void (*set_use_ref)(Engine*, bool) = nullptr;
  std::vector<std::pair<std::string, std::string>> features;
  bool has_feature(std::string_view feature) const;
};

// By ggml_version(); false where the build does not say.
bool at_least(const Api& api, int major, int minor, int patch);

// Never unloaded: ggml's libraries keep threads and static state. Not thread-safe.
class Library {
 public:
  // Opens the build below `dir` (find_build). Opening the same build again gives the same object; opening a second one
  // is an error, for two builds cannot share a process.
  // Errors (harness): what find_build and check_loadable say; the loader's words; the first missing function.
  static Expected<std::shared_ptr<Library>> open(const std::filesystem::path& dir);

  const Api& api() const { return api_; }
  const BuildFiles& files() const { return files_; }
  std::string version() const;  // "0.21.0 (d99724f2)", "" where the build does not say
  bool at_least(int major, int minor, int patch) const { return ggml::at_least(api_, major, minor, patch); }
  // ggml's last warning or error since the previous call; "" if there was none.
  std::string take_message();

  // Runnable ones first, best first.
  const std::vector<CpuVariant>& cpu_variants();
  // `name` CPU: the best variant, or the one named. Any other device by its name, in any case.
  // Errors (input): unknown device or variant, with the ones there are; variant that cannot run here.
  Expected<FoundDevice> device(const std::string& name, const std::string& variant);
  // Every device the build offers on this machine (loads every backend file).
  Expected<std::vector<FoundDevice>> devices();

 private:
  Library() = default;
  Expected<void> load(BuildFiles files);
  Expected<FoundDevice> cpu_device(const std::string& variant);
  Expected<Registry*> backend_file(const std::filesystem::path& path);
  FoundDevice describe(Device* device, std::string variant) const;
  void* symbol(const char* name) const;
  void resolve_optional();

  BuildFiles files_;
  Api api_;
  std::vector<void*> handles_;
  std::vector<CpuVariant> variants_;
  bool variants_known_ = false, registry_loaded_ = false;
  std::string message_;
};

}  // namespace attest::ggml
