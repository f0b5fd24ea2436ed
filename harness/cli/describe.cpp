#include "harness/cli/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cases/op.h"
#include "cases/relations.h"
#include "cases/suites/suite.h"

namespace attest::cli {

namespace {

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (c != ',' && c != ' ') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

// CLI::IsMember says "{a,b}" in the type; verbs with messages of their own say "one of: a, b" in the description.
std::vector<std::string> words_of(const CLI::Option& option) {
  const std::string type = option.get_type_name(), &text = option.get_description();
  const auto open = type.find('{'), close = type.find('}');
  if (open != std::string::npos && close != std::string::npos && close > open) {
    return split(std::string_view(type).substr(open + 1, close - open - 1));
  }
  constexpr std::string_view list = "one of: ";
  return text.rfind(list, 0) == 0 ? split(std::string_view(text).substr(list.size())) : std::vector<std::string>{};
}

ValueKind kind_of(const CLI::Option& option, const OptionText& text) {
  if (option.get_items_expected_max() == 0) return ValueKind::none;
  if (!text.words.empty()) return ValueKind::words;
  const std::string name = text.names.back();
  if (name == "--suite") return ValueKind::suite;
  if (name == "--backend" || name == "--need") return ValueKind::backend;
  if (name == "--op") return ValueKind::op;
  if (name == "--relations") return ValueKind::relation;
  if (name == "--mutant") return ValueKind::mutant;
  const std::string& description = option.get_description();
  if (has(description, "directory, DIR") || has(description, "directory of")) return ValueKind::directory;
  if (has(description, "file") || has(description, "page") || name == "files") return ValueKind::file;
  return ValueKind::text;
}

void add_options(const CLI::App& app, VerbText& verb) {
  for (const CLI::Option* option : app.get_options()) {
    OptionText text;
    text.positional = option->get_positional() && option->get_lnames().empty() && option->get_snames().empty();
    for (const auto& name : option->get_snames()) text.names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) text.names.push_back("--" + name);
    if (text.positional) text.names = {option->get_single_name()};
    text.description = option->get_description();
    text.words = words_of(*option);
    text.kind = kind_of(*option, text);
    if (text.kind == ValueKind::suite) text.words = suite_names();
    if (text.kind == ValueKind::op) text.words = op_names();
    if (text.kind == ValueKind::relation) text.words = relation_names();
    text.required = option->get_required();
    text.repeatable =
        option->get_items_expected_max() > 1 ||
        (text.kind != ValueKind::none && option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll);
    verb.options.push_back(std::move(text));
  }
  std::stable_partition(verb.options.begin(), verb.options.end(), [](const OptionText& o) { return o.positional; });
}

}  // namespace

std::string OptionText::value() const {
  switch (kind) {
    case ValueKind::none:
      return {};
    case ValueKind::words:
      return fmt::format("{}", fmt::join(words, "|"));
    case ValueKind::file:
      return "FILE";
    case ValueKind::directory:
      return "DIR";
    case ValueKind::suite:
      return "SUITE";
    case ValueKind::backend:
      return "BACKEND";
    case ValueKind::op:
      return "OP";
    case ValueKind::relation:
      return "LIST";
    case ValueKind::mutant:
      return "NAME";
    default:
      return names.back() == "--case" || names.back() == "--line" || names.back() == "line" ? "LINE" : "VALUE";
  }
}

VerbText describe(const CLI::App& app, const std::string& name) {
  VerbText verb{name, app.get_description(), app.get_footer(), {}, {}};
  add_options(app, verb);
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (below->get_group().empty()) continue;
    verb.verbs.push_back(describe(*below, name.empty() ? below->get_name() : name + " " + below->get_name()));
  }
  return verb;
}

}  // namespace attest::cli
