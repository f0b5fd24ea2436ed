// Every backend a run can name: the registry of backends/, the references as parties of their own, and what a ggml
// build offers, which only a child process can find out.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "backends/registry.h"
#include "harness/run/subject.h"

namespace attest {

// registry.h's make_backend() plus `eigen:f32` and `eigen:f64`, the Eigen reference as a party.
Expected<std::unique_ptr<Backend>> make_any_backend(const BackendSpec& spec, const BackendEnvironment& environment);

// Path of this executable: subjects are further instances of it.
std::filesystem::path own_executable();

// ggml builds: those given (`DIR` or `NAME=DIR`), else ATTEST_GGML_DIR, else every directory under build/ggml of the
// working directory or of the build tree this executable lies in. Errors: a directory that does not exist, or two
// builds of one name.
Expected<BackendEnvironment> find_ggml_builds(const std::vector<std::string>& given);

// What is available here. Each ggml build is loaded in a child process of its own.
std::vector<BackendListing> all_listings(const BackendEnvironment& environment);

// CPU variants of a build that run on this machine, best first; none where it has one CPU backend without a name. The
// build is loaded in a child process.
Expected<std::vector<std::string>> runnable_cpu_variants(const GgmlBuild& build);

// Child side of all_listings(): prints one listing per line, fields separated by tabs.
int print_ggml_listings(const std::string& name, const std::string& dir);
inline constexpr const char* kListingsVerb = "__ggml-listings";

// "quick over every available backend": cpu:vec, cpu:tiled, cpu:split and the CPU device of every ggml build, plain and
// `ref`.
std::vector<std::string> default_backends(const BackendEnvironment& environment);

}  // namespace attest
