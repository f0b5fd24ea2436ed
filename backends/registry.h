// Names -> backends: parses family[@NAME][:variant][,option...] and makes what it names.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "cases/error.h"

namespace attest {

// "ggml@v5:CPU,ref,threads=2" -> family ggml, build v5, variant CPU, options {ref, ""}, {threads, "2"}.
struct BackendSpec {
  std::string family, build, variant;
  std::vector<std::pair<std::string, std::string>> options;

  static Expected<BackendSpec> parse(std::string_view text);
  std::string text() const;
  const std::string* option(std::string_view key) const;  // nullptr: absent
  Expected<int> threads() const;                          // option threads=N, default 1
};

// A ggml build the user named (--ggml, ATTEST_GGML_DIR) or that was found under build/ggml.
struct GgmlBuild {
  std::string name;  // for ggml@NAME; the directory's last component by default
  std::filesystem::path dir;
};

struct BackendEnvironment {
  std::vector<GgmlBuild> ggml;
};

// A row of backends.def.
struct BackendFamily {
  std::string_view name, usage, description;
  bool own_process;  // loads foreign code: never in the main process
};
const std::vector<BackendFamily>& backend_families();

// A backend that can be asked for here, or the reason why not.
struct BackendListing {
  std::string name, description;
  bool available = true;
  std::string reason;
};

// Built-in backends only; what a ggml build offers is found by loading it (ggml_listings in backends/ggml/backend.h),
// which belongs in a process of its own.
std::vector<BackendListing> builtin_listings();

// Errors: unknown family or variant (input, with the nearest valid word); library or directory that does not load
// (harness). For own_process families call this in a subject process only.
Expected<std::unique_ptr<Backend>> make_backend(const BackendSpec& spec, const BackendEnvironment& environment);

}  // namespace attest
