// attest completion: scripts that complete the command line in a shell, and the man page.
#include <fmt/format.h>

#include <memory>

#include "harness/cli/describe.h"
#include "harness/cli/verbs.h"
#include "harness/version.h"

namespace attest::cli {

Verb add_completion(CLI::App& app) {
  auto what = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("completion", "print a completion script for bash or zsh, or the man page");
  verb->add_option("what", *what, "bash, zsh or man")->required()->check(CLI::IsMember({"bash", "zsh", "man"}));
  verb->footer(
      "Now: source <(attest completion bash). For good: into ~/.local/share/bash-completion/completions/attest, or\n"
      "as _attest into a directory of zsh's fpath. cmake --install and the Debian package put all three where they\n"
      "belong.");
  return [what, &app] {
    const VerbText program = describe(app);
    fmt::print("{}", *what == "bash"  ? bash_completion(program)
                     : *what == "zsh" ? zsh_completion(program)
                                      : man_page(program, kVersion));
    return std::fflush(stdout) == 0 ? kOk : kHarness;
  };
}

}  // namespace attest::cli
