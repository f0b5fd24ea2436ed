#include "harness/cli/testing/kernel_history.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {

namespace fs = std::filesystem;

namespace {

void replace(std::string& text, const std::string& what, const std::string& with) {
  const auto at = text.find(what);
  if (at == std::string::npos) throw std::runtime_error("the example kernel has no '" + what + "' any more");
  text.replace(at, what.size(), with);
}

std::string kernel_at(const KernelHistory& history, const std::string& example, int commit) {
  std::string kernel = fmt::format("/* revision {} */\n", commit) + example;
  if (commit >= history.bug && commit < history.fixed) replace(kernel, "      sum *= rescale;\n", "");
  if (history.crashing.count(commit) != 0) replace(kernel, "  (void)job;\n", "  *(volatile int*)job = 1;\n");
  if (history.unbuildable.count(commit) != 0) kernel += "#error half done\n";
  return kernel;
}

std::string subject_of(const KernelHistory& history, int commit) {
  if (commit == history.bug) return "Save a multiplication per maximum\n\nThe sum is rescaled at the end anyway.";
  return fmt::format("Revision {}", commit);
}

}  // namespace

void write_history(const fs::path& repository, const KernelHistory& history) {
  std::ifstream in(fs::path(ATTEST_SOURCE_DIR) / "backends/plugin/examples/plain_attention.c", std::ios::binary);
  const std::string example{std::istreambuf_iterator<char>(in), {}};
  const auto blob = [](const std::string& text) { return fmt::format("data {}\n{}\n", text.size(), text); };
  std::string stream;
  for (int commit = 1; commit <= history.commits; ++commit) {
    stream += fmt::format("commit refs/heads/main\nmark :{}\ncommitter A Uthor <a@example.org> {} +0000\n{}", commit,
                          1700000000 + 60 * commit, blob(subject_of(history, commit)));
    if (commit > 1) stream += fmt::format("from :{}\n", commit - 1);
    stream += "M 100644 inline flash_attention.c\n" + blob(kernel_at(history, example, commit));
    if (commit == history.bug || commit == 1) stream += "M 100644 inline notes.txt\n" + blob(fmt::format("{}", commit));
    stream += fmt::format("\nreset refs/tags/c{}\nfrom :{}\n\n", commit, commit);
  }
  fs::create_directories(repository);
  std::ofstream(repository.string() + ".stream", std::ios::binary) << stream;
  const Ended made =
      shell(fmt::format("cd '{0}' && git init -q -b main . && git fast-import --quiet < '{0}.stream' && "
                        "git checkout -q --force main",
                        repository.string()));
  if (made.code != 0) throw std::runtime_error("no repository: " + made.err);
}

std::string kernel_build_command() {
  return fmt::format("cc -O0 -w -std=c99 -fPIC -shared -I '{}/backends/plugin' -o kernel.so flash_attention.c -lm",
                     ATTEST_SOURCE_DIR);
}

}  // namespace attest::testing
