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
  std::vector<std::string> words;  // kind words: all of them
  bool positional = false, required = false, repeatable = false;

  std::string value() const;  // "FILE", "BACKEND", "full|sample"; "" for a flag
};

struct VerbText {
  std::string name, description, footer;
  std::vector<OptionText> options;  // positional ones first
};

struct ProgramText {
  VerbText program;  // options that stand before the verb
  std::vector<VerbText> verbs;
};

ProgramText describe(const CLI::App& app);

// roff; the same text for the same program, no date in it.
std::string man_page(const ProgramText& text, const std::string& version);
std::string bash_completion(const ProgramText& text);
std::string zsh_completion(const ProgramText& text);

}  // namespace attest::cli
