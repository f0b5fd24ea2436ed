// The man page, made of what --help knows.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "harness/cli/describe.h"
#include "harness/cli/verbs.h"

namespace attest::cli {

namespace {

// Text as roff takes it: no line may begin with a control character, a hyphen is a minus, a backslash is spelled.
std::string roff(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (const char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_start = c == '\n';
  }
  return out;
}

std::string paragraph(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return text.empty() ? std::string() : roff(text) + "\n";
}

std::string term(const OptionText& option) {
  std::vector<std::string> names;
  for (const auto& name : option.names) names.push_back("\\fB" + roff(name) + "\\fR");
  const std::string value = option.value();
  if (option.positional) return "\\fI" + roff(option.kind == ValueKind::words ? value : option.names[0]) + "\\fR";
  return fmt::format("{}{}", fmt::join(names, ", "), value.empty() ? "" : " \\fI" + roff(value) + "\\fR");
}

std::string options_of(const VerbText& verb) {
  std::string text;
  for (const OptionText& option : verb.options) {
    if (option.names.back() == "--help") continue;
    std::string notes = option.required && !option.positional ? " (required)" : "";
    text += fmt::format(".TP\n{}\n{}", term(option), paragraph(option.description + notes));
  }
  return text;
}

std::string usage_of(const VerbText& verb) {
  std::string usage =
      fmt::format("\\fBattest {}\\fR{} [\\fIoptions\\fR]", roff(verb.name), verb.verbs.empty() ? "" : " \\fIverb\\fR");
  for (const OptionText& option : verb.options) {
    if (!option.positional) continue;
    usage += fmt::format(" \\fI{}\\fR{}", roff(option.names[0]), option.repeatable ? " ..." : "");
  }
  return usage;
}

struct Variable {
  const char *name, *meaning;
};
constexpr Variable kVariables[] = {
    {"ATTEST_GGML_DIR", "The ggml build to use where --ggml names none; without it, build/ggml/* is looked at."},
    {"ATTEST_CACHE_DIR",
     "Where keys, budgets and compiled kernels are kept; default: attest in XDG_CACHE_HOME or ~/.cache."},
    {"ATTEST_CLANG", "The compiler of metal:sim; default: clang 19 or another from 16 on."},
    {"GTEST_SHARD_INDEX, GTEST_TOTAL_SHARDS, TEST_SHARD_INDEX, TEST_TOTAL_SHARDS",
     "The part of the cases to run where --shard names none."},
    {"NO_COLOR", "Set: no colour. There is none either where standard output is no terminal."},
};

void add_verbs(const VerbText& parent, std::string& page) {
  for (const VerbText& verb : parent.verbs) {
    page += fmt::format(".SS {}\n{}\n.PP\n{}{}", roff(verb.name), usage_of(verb), paragraph(verb.description),
                        options_of(verb));
    if (verb.footer != kExitCodes && !verb.footer.empty()) page += ".PP\n" + paragraph(verb.footer);
    add_verbs(verb, page);
  }
}

}  // namespace

std::string man_page(const VerbText& program, const std::string& version) {
  std::string page = fmt::format(
      ".\\\" Made by `attest completion man`.\n.TH ATTEST 1 \"\" \"attest {}\" \"User Commands\"\n.nh\n.ad l\n"
      ".SH NAME\nattest \\- differential correctness harness for flash\\-attention kernels\n"
      ".SH SYNOPSIS\n\\fBattest\\fR \\fIverb\\fR [\\fIoptions\\fR]\n.SH DESCRIPTION\n{}",
      version, paragraph(program.description.substr(program.description.find('\n') + 1)));
  page += ".SH OPTIONS\n" + options_of(program);
  page += ".SH VERBS\n";
  add_verbs(program, page);
  page += ".SH EXIT STATUS\n" + paragraph(kExitCodes);
  page += ".SH ENVIRONMENT\n";
  for (const Variable& v : kVariables) page += fmt::format(".TP\n\\fB{}\\fR\n{}", v.name, paragraph(v.meaning));
  page += ".SH EXAMPLES\n.nf\n" +
          paragraph(
              "attest run --suite quick -b cpu:vec -b ggml:CPU --ggml ~/llama.cpp/build\n"
              "attest run -b ggml:CPU --case 'flash_attn_ext d=128 n_head=16 n_head_kv=8 n_q=1 n_kv=2060 kv=f16'\n"
              "attest explain 'flash_attn_ext d=64 n_kv=100 softcap=10' -b ggml:CPU\n"
              "attest list suites") +
          ".fi\n";
  return page;
}

}  // namespace attest::cli
