// The command line as data: verbs, their options and what may stand behind them; man page and completions are made of
// it.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace attest::cli {

// What an option's value is, as far as a shell can complete it.
enum class ValueKind { none, text, words, file, directory, suite, backend, op, relation, mutant };

struct OptionText {
  std::vector<std::string> names;  // "-b", "--backend"; of a positional one its name alone
  std::string description;
  ValueKind kind = ValueKind::none;
  std::vector<std::string> words;  // kinds words, suite, op, relation: all of them
  bool positional = false, required = false, repeatable = false;

  std::string value() const;  // "FILE", "BACKEND", "full|sample"; "" for a flag
};

// The program itself, with the name "", or a verb, or a verb's verb: "bisect npm".
struct VerbText {
  std::string name, description, footer;
  std::vector<OptionText> options;  // positional ones first
  std::vector<VerbText> verbs;

  std::string word() const { return name.substr(name.rfind(' ') + 1); }
};

VerbText describe(const CLI::App& app, const std::string& name = {});

// roff; the same text for the same program, no date in it.
std::string man_page(const VerbText& program, const std::string& version);
std::string bash_completion(const VerbText& program);
std::string zsh_completion(const VerbText& program);

}  // namespace attest::cli
