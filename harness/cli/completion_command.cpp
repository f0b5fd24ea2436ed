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
      "Now: source <(attest completion bash). For good: attest completion bash > \\\n"
      "~/.local/share/bash-completion/completions/attest, and the like for zsh into a directory of fpath as\n"
      "_attest. cmake --install and the Debian package put all three where they belong.");
  return [what, &app] {
    const ProgramText text = describe(app);
    fmt::print("{}", *what == "bash"  ? bash_completion(text)
                     : *what == "zsh" ? zsh_completion(text)
                                      : man_page(text, kVersion));
    return std::fflush(stdout) == 0 ? kOk : kHarness;
  };
}

}  // namespace attest::cli
