// Completion scripts for bash and zsh, made of what --help knows; names of suites and backends are asked for when
// needed.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "harness/cli/describe.h"

namespace attest::cli {

namespace {

// What only the machine at hand knows is asked for when it is needed: attest list THIS.
const char* listing_of(ValueKind kind) { return kind == ValueKind::backend ? "backends" : "mutants"; }

// What the bash script's _attest_values is to do.
std::string bash_values(const OptionText& option) {
  switch (option.kind) {
    case ValueKind::suite:
      return fmt::format("suites {}", fmt::join(option.words, " "));
    case ValueKind::words:
    case ValueKind::op:
    case ValueKind::relation:
      return fmt::format("words {}", fmt::join(option.words, " "));
    case ValueKind::file:
      return "files";
    case ValueKind::directory:
      return "directories";
    case ValueKind::text:
      return "nothing";
    case ValueKind::none:
      return {};
    default:
      return fmt::format("listed {}", listing_of(option.kind));
  }
}

constexpr const char* kBashHead = R"bash(# bash completion for attest. Made by `attest completion bash`.

# Backends have colons and options equals signs, where bash would begin a new word.
_attest_reply() {
  local strip=${_attest_word%"${_attest_word##*[:=]}"} reply i
  COMPREPLY=()
  while IFS= read -r reply; do
    [ -n "$reply" ] && COMPREPLY+=("${reply#"$strip"}")
  done
}

_attest_words() { compgen -P "$_attest_prefix" -W "$*" -- "$_attest_value" | _attest_filter; }
_attest_filter() { sort -u; }

# What may stand behind an option: how, and with what.
_attest_values() {
  case $1 in
    words) shift; _attest_reply < <(_attest_words "$*") ;;
    suites)
      shift
      _attest_reply < <(_attest_words "$*"; compgen -P "$_attest_prefix" -f -X '!*.toml' -- "$_attest_value")
      ;;
    listed)
      _attest_reply < <(
        _attest_words "$(attest list "$2" 2>/dev/null | sed -n 's/^\([a-z][^ ]*\).*/\1/p' | tr '\n' ' ')")
      ;;
    files) compopt -o filenames 2>/dev/null; _attest_reply < <(compgen -P "$_attest_prefix" -f -- "$_attest_value") ;;
    directories) compopt -o filenames 2>/dev/null; _attest_reply < <(compgen -P "$_attest_prefix" -d -- "$_attest_value") ;;
    *) COMPREPLY=() ;;
  esac
}
)bash";

constexpr const char* kBashTail = R"bash(
_attest() {
  local line=${COMP_LINE:0:COMP_POINT} words option= verb= word _attest_word _attest_value _attest_prefix=
  read -r -a words <<<"$line"
  _attest_word=${line##*[[:space:]]}
  [ -n "$_attest_word" ] && unset 'words[${#words[@]}-1]'
  _attest_value=$_attest_word
  for word in "${words[@]:1}"; do
    if [[ -z $verb && $word != -* ]]; then
      verb=$word
    elif [[ -n $verb && " $(_attest_verbs_of "$verb") " == *" $word "* ]]; then
      verb="$verb $word"
    fi
  done
  case $_attest_word in
    --*=*) option=${_attest_word%%=*} _attest_value=${_attest_word#*=} _attest_prefix=$option= ;;
    *) [ ${#words[@]} -gt 1 ] && option=${words[${#words[@]}-1]} ;;
  esac
  local values
  values=$(_attest_value_of "$verb" "$option")
  if [ -n "$values" ]; then
    _attest_values $values
  elif values=$(_attest_verbs_of "$verb"); [[ -n $values && $_attest_word != -* ]]; then
    _attest_reply < <(_attest_words "$values")
  elif [[ $_attest_word == -* ]]; then
    _attest_reply < <(_attest_words "$(_attest_options_of "$verb")")
  else
    values=$(_attest_positional_of "$verb")
    _attest_values ${values:-words $(_attest_options_of "$verb")}
  fi
}
complete -F _attest attest
)bash";

std::string joined_names(const VerbText& verb) {
  std::string names;
  for (const OptionText& option : verb.options) {
    if (!option.positional) names += fmt::format("{}{}", names.empty() ? "" : " ", fmt::join(option.names, " "));
  }
  return names;
}

// For double or single quotes in zsh specifications: brackets and colons end a description.
std::string zsh_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') break;
    if (c == '\'') {
      out += "'\\''";
    } else if (c == '[' || c == ']' || c == ':' || c == '\\') {
      out += std::string("\\") + c;
    } else {
      out += c;
    }
  }
  return out;
}

// A blank in front keeps _arguments from putting words of its own before those here.
std::string zsh_action(const OptionText& option) {
  switch (option.kind) {
    case ValueKind::suite:
      return fmt::format(" _attest_suites {}", fmt::join(option.words, " "));
    case ValueKind::words:
    case ValueKind::op:
    case ValueKind::relation:
      return fmt::format("({})", fmt::join(option.words, " "));
    case ValueKind::file:
      return "_files";
    case ValueKind::directory:
      return "_files -/";
    case ValueKind::text:
      return " ";
    default:
      return fmt::format(" _attest_listed {}", listing_of(option.kind));
  }
}

std::string zsh_specification(const OptionText& option) {
  const std::string value =
      option.kind == ValueKind::none ? "" : fmt::format(":{}:{}", zsh_text(option.value()), zsh_action(option));
  if (option.positional) {
    return fmt::format("'{}:{}:{}'", option.repeatable ? "*" : "", zsh_text(option.names[0]), zsh_action(option));
  }
  const std::string description = zsh_text(option.description);
  const char* star = option.repeatable ? "*" : "";
  if (option.names.size() == 1) return fmt::format("'{}{}[{}]{}'", star, option.names[0], description, value);
  const std::string exclusive = option.repeatable ? "*" : fmt::format("({})", fmt::join(option.names, " "));
  return fmt::format("'{}'{{{}}}'[{}]{}'", exclusive, fmt::join(option.names, ","), description, value);
}

}  // namespace

std::string bash_completion(const VerbText& program) {
  std::string verbs = "_attest_verbs_of() {\n  case $1 in\n", options = "_attest_options_of() {\n  case $1 in\n",
              values = "_attest_value_of() {\n  case $1:$2 in\n",
              positional = "_attest_positional_of() {\n  case $1 in\n";
  const std::function<void(const VerbText&)> add = [&](const VerbText& verb) {
    options += fmt::format("    '{}') echo '{}' ;;\n", verb.name, joined_names(verb));
    for (const OptionText& option : verb.options) {
      if (option.kind == ValueKind::none) continue;
      if (option.positional) {
        positional += fmt::format("    '{}') echo '{}' ;;\n", verb.name, bash_values(option));
        continue;
      }
      std::vector<std::string> patterns;
      for (const auto& name : option.names) patterns.push_back(fmt::format("'{}':{}", verb.name, name));
      values += fmt::format("    {}) echo '{}' ;;\n", fmt::join(patterns, "|"), bash_values(option));
    }
    if (verb.verbs.empty()) return;
    std::vector<std::string> words;
    for (const VerbText& below : verb.verbs) words.push_back(below.word());
    verbs += fmt::format("    '{}') echo '{}' ;;\n", verb.name, fmt::join(words, " "));
    for (const VerbText& below : verb.verbs) add(below);
  };
  add(program);
  const std::string end = "  esac\n}\n";
  return fmt::format("{}\n{}{}{}{}{}{}{}{}{}", kBashHead, verbs, end, options, end, values, end, positional, end,
                     kBashTail);
}

std::string zsh_completion(const VerbText& program) {
  std::string script =
      "#compdef attest\n# zsh completion for attest. Made by `attest completion zsh`.\n\n"
      "_attest_listed() {\n"
      "  local -a names\n"
      "  names=(${(f)\"$(attest list $1 2>/dev/null | sed -n 's/^\\([a-z][^ ]*\\).*/\\1/p')\"})\n"
      "  _wanted $1 expl $1 compadd -a names\n"
      "}\n\n"
      "_attest_suites() {\n"
      "  local -a names=(\"$@\")\n"
      "  _alternative 'suites:suite:compadd -a names' 'files:suite file:_files -g \"*.toml\"'\n"
      "}\n\n";
  const auto function_of = [](const VerbText& verb) {
    std::string name = "_attest" + (verb.name.empty() ? "" : "_" + verb.name);
    std::replace(name.begin(), name.end(), ' ', '_');
    return name;
  };
  const std::function<void(const VerbText&)> add = [&](const VerbText& verb) {
    for (const VerbText& below : verb.verbs) add(below);
    script += fmt::format("{}() {{\n  local context state line expl\n  typeset -A opt_args\n  _arguments -S",
                          function_of(verb));
    if (!verb.verbs.empty()) script += " -C";
    for (const OptionText& option : verb.options) script += fmt::format(" \\\n    {}", zsh_specification(option));
    if (verb.verbs.empty()) {
      script += "\n}\n\n";
      return;
    }
    script += " \\\n    '1:verb:->verb' '*::argument:->argument' && return\n  local -a verbs\n  verbs=(\n";
    for (const VerbText& below : verb.verbs) {
      script += fmt::format("    '{}:{}'\n", below.word(), zsh_text(below.description));
    }
    script +=
        "  )\n  case $state in\n    verb) _describe -t verbs verb verbs ;;\n    argument)\n      case $line[1] in\n";
    for (const VerbText& below : verb.verbs) {
      script += fmt::format("        {}) {} ;;\n", below.word(), function_of(below));
    }
    script += "      esac\n      ;;\n  esac\n}\n\n";
  };
  add(program);
  // As a file of fpath it is run for the first completion, sourced it only declares itself.
  script += "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _attest \"$@\"; else compdef _attest attest; fi\n";
  return script;
}

}  // namespace attest::cli
