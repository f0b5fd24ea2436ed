// What shells make of `attest completion`, and what man makes of its page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

using Words = std::vector<std::string>;

Words lines_of(const std::string& text) {
  Words lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string with_attest_on_path(const std::string& script) {
  return "PATH=" + attest_executable().parent_path().string() + ":$PATH\n" + script;
}

// What bash offers behind each of `typed`, as it would stand there when TAB is pressed.
std::vector<Words> bash_offers(const Words& typed) {
  const ScratchDir dir;
  std::string all;
  for (const auto& line : typed) all += line + "\n";
  const std::string script = dir.file("script", with_attest_on_path(R"(
source <(attest completion bash)
complete -p attest >/dev/null || exit 9
while IFS= read -r COMP_LINE; do
  COMP_POINT=${#COMP_LINE}
  _attest
  echo "--- $COMP_LINE"
  [ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\n' "${COMPREPLY[@]}"
done < )") + dir.file("lines", all) + "\n");
  const Ended ended = shell("bash --norc --noprofile " + script);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.err, "");
  std::vector<Words> offers;
  for (const auto& line : lines_of(ended.out)) {
    if (line.starts_with("--- ")) {
      offers.emplace_back();
    } else {
      offers.back().push_back(line);
    }
  }
  return offers;
}

Words bash_offers(const std::string& typed) { return bash_offers(Words{typed}).at(0); }

Words verbs() {
  Words verbs;
  bool there = false;
  for (const auto& line : lines_of(attest({"--help"}).out)) {
    std::smatch found;
    there = there || line == "Subcommands:";
    if (there && std::regex_search(line, found, std::regex("^  ([a-z][a-z-]+) "))) verbs.push_back(found[1]);
  }
  return verbs;
}

std::set<std::string> options_of(const std::string& verb) {
  const std::string help = attest({verb, "--help"}).out;
  std::set<std::string> options;
  const std::regex option("\n  (?:-[a-z],)?(--[a-z-]+)");
  for (std::sregex_iterator it(help.begin(), help.end(), option), end; it != end; ++it) options.insert((*it)[1]);
  return options;
}

TEST(Bash, OffersEveryVerbAndEveryOption) {
  const Words all = verbs();
  ASSERT_GE(all.size(), 10U);
  EXPECT_THAT(bash_offers("attest "), IsSupersetOf(all));
  Words typed;
  for (const auto& verb : all) typed.push_back("attest " + verb + " --");
  const auto offers = bash_offers(typed);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_THAT(offers[i], IsSupersetOf(options_of(all[i]))) << all[i];
  }
}

TEST(Bash, OffersWhatAnOptionTakes) {
  const ScratchDir dir;
  dir.file("report.jsonl", "");
  const std::vector<std::pair<std::string, Words>> expected{
      {"attest ru", {"run"}},
      {"attest bisect n", {"npm"}},
      {"attest bisect npm --goo", {"--good"}},
      {"attest run --suite mus", {"museum"}},
      {"attest run --suite=mus", {"museum"}},
      {"attest run -b cpu:ti", {"tiled"}},
      {"attest run -b cpu:vec -b metal:s", {"sim"}},
      {"attest run --backend=cpu:ti", {"tiled"}},
      {"attest run --oracle f", {"full"}},
      {"attest list back", {"backends"}},
      {"attest completion z", {"zsh"}},
      {"attest run --shard ", {}},
      {"attest report " + dir.path().string() + "/re", {dir.path().string() + "/report.jsonl"}},
      {"attest run --jsonl " + dir.path().string() + "/re", {dir.path().string() + "/report.jsonl"}},
  };
  Words typed;
  for (const auto& [line, offer] : expected) typed.push_back(line);
  const auto offers = bash_offers(typed);
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(offers.at(i), expected[i].second) << typed[i];
}

TEST(Zsh, TakesTheScript) {
  if (shell("command -v zsh").code != 0) GTEST_SKIP() << "needs zsh";
  const ScratchDir dir;
  const std::string dump = (dir.path() / "dump").string();
  const Ended ended =
      shell("zsh -f -c '" + with_attest_on_path("autoload -Uz compinit && compinit -u -d " + dump +
                                                "\nsource <(attest completion zsh) && print -r -- $_comps[attest]'"));
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(ended.out, "_attest\n");
  EXPECT_EQ(ended.err, "");
}

// A terminal with zsh in it and TAB pressed; what stands on the line then comes back.
TEST(Zsh, CompletesWhatAnOptionTakes) {
  if (shell("command -v zsh").code != 0) GTEST_SKIP() << "needs zsh";
  const ScratchDir dir;
  const std::string script = dir.file("script", with_attest_on_path(R"(
zmodload zsh/zpty || exit 9
export PATH
zpty s "PS1='> ' TERM=dumb zsh -f -i"
zpty -w s "unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -d $1; source <(attest completion zsh); echo rea''dy"
zpty -r -m s text '*ready*'
for line in 'attest run --suite mus' 'attest run --orac' 'attest run -b eig' 'attest list backe'; do
  # What TAB leaves is quoted and printed by the shell itself, which takes keys only after it has completed.
  zpty -w -n s "$line"$'\t\C-a'"print -r -- 'line: "$'\C-e'"!'"$'\n'
  zpty -r -m s text $'*\nline: *!*' && print -r -- "${${text##*$'\n'line: }%%!*}"
done
zpty -d s
)"));
  const Ended ended = shell("timeout 60 zsh -f " + script + " " + (dir.path() / "dump").string());
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(lines_of(ended.out), ElementsAre("attest run --suite museum", "attest run --oracle",
                                               "attest run -b eigen:f", "attest list backends"));
}

TEST(ManPage, HasEveryVerbAndOptionAndNoFaults) {
  const Ended page = attest({"completion", "man"});
  ASSERT_EQ(page.code, 0);
  EXPECT_EQ(page.out, attest({"completion", "man"}).out);
  for (const auto& verb : verbs()) {
    const auto spelled = [](const std::string& text) { return std::regex_replace(text, std::regex("-"), "\\-"); };
    const auto at = page.out.find("\n.SS " + spelled(verb) + "\n");
    ASSERT_NE(at, std::string::npos) << verb;
    const std::string section = page.out.substr(at, page.out.find("\n.S", at + 2) - at);
    for (const auto& option : options_of(verb)) {
      if (option == "--help") continue;
      EXPECT_THAT(section, HasSubstr("\\fB" + spelled(option) + "\\fR")) << verb;
    }
  }
  EXPECT_THAT(page.out,
              AllOf(HasSubstr(".SH EXIT STATUS"), HasSubstr(".SH ENVIRONMENT"), HasSubstr("ATTEST_GGML_DIR")));
  if (shell("command -v groff").code == 0) {
    const ScratchDir dir;
    const Ended checked = shell("groff -man -ww -Wbreak -Tutf8 -z " + dir.file("attest.1", page.out));
    EXPECT_EQ(checked.code, 0);
    EXPECT_EQ(checked.err, "");
  }
}

TEST(Completion, NamesWhatItKnows) {
  const Ended ended = attest({"completion", "fish"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("fish"));
}

}  // namespace
}  // namespace attest::testing
