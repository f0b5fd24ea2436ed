// Every `attest` command in recipes and documents is one that the command line takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <sstream>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::HasSubstr;

using Words = std::vector<std::string>;
namespace fs = std::filesystem;

const fs::path kRoot = ATTEST_SOURCE_DIR;

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The words of a shell command up to what ends it: ; | & ) > < # or the end of the line. What a variable would hold
// is 1.
Words words_of(const std::string& line) {
  Words words;
  std::string word;
  bool some = false;
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == quote) {
        quote = 0;
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      some = true;
    } else if (c == ' ' || c == '\t') {
      if (some) words.push_back(word);
      word.clear();
      some = false;
    } else if (std::string(";|&)><").find(c) != std::string::npos || (c == '#' && !some)) {
      break;
    } else {
      word += c;
      some = true;
    }
  }
  if (some) words.push_back(word);
  std::erase(words, "...");
  return words;
}

// Commands in `text`, which is shell. `at_start`: only those that begin a line, as in documents.
std::vector<Words> commands_in(std::string text, bool at_start) {
  text = std::regex_replace(text, std::regex("\\\\\n *"), " ");
  text = std::regex_replace(text, std::regex(R"("\$\{arguments\[@\]\}")"), "--suite quick");  // of the one who submits
  text = std::regex_replace(
      text, std::regex(R"(\$\{\{[^}]*\}\}|\$\(\([^)]*\)\)|\$\([^)]*\)|\$\{[^}]*\}|\$[A-Za-z_][A-Za-z_0-9]*|\$[?#@])"),
      "1");
  std::vector<Words> commands;
  std::istringstream in(text);
  const std::regex command(at_start ? R"(^\s*(?:\$ )?attest ([a-z].*))" : R"((?:^|[\s;&|(/])attest ([a-z].*))");
  for (std::string line; std::getline(in, line);) {
    std::smatch found;
    if (line.find_first_not_of(" \t") != std::string::npos && line[line.find_first_not_of(" \t")] == '#') continue;
    if (std::regex_search(line, found, command)) commands.push_back(words_of(found[1]));
  }
  return commands;
}

// Code blocks of Markdown: indented by four, or fenced.
std::string code_of(const std::string& markdown) {
  std::string code;
  bool fenced = false;
  std::istringstream in(markdown);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      fenced = !fenced;
    } else if (fenced || line.starts_with("    ")) {
      code += line + "\n";
    }
  }
  return code;
}

// Every text in a YAML file, by a parser; "" and a failure where it is no YAML.
std::string yaml_texts(const fs::path& file) {
  const Ended ended = shell(
      "python3 -c '\n"
      "import sys, yaml\n"
      "def texts(x):\n"
      "  if isinstance(x, dict): [texts(v) for v in x.values()]\n"
      "  elif isinstance(x, list): [texts(v) for v in x]\n"
      "  elif isinstance(x, str): print(x)\n"
      "texts(yaml.safe_load(open(sys.argv[1])))' " +
      file.string());
  EXPECT_EQ(ended.code, 0) << file << "\n" << ended.err;
  return ended.out;
}

void expect_taken(const fs::path& file, const std::vector<Words>& commands) {
  for (const Words& command : commands) {
    Words words{"__parse"};
    words.insert(words.end(), command.begin(), command.end());
    const Ended ended = attest(words);
    std::string line = "attest";
    for (const auto& word : command) line += " '" + word + "'";
    EXPECT_EQ(ended.code, 0) << file << ": " << line << "\n" << ended.err;
  }
}

TEST(Recipes, AreYamlAndUseTheCommandLineAsItIs) {
  if (shell("python3 -c 'import yaml'").code != 0) GTEST_SKIP() << "needs python3-yaml";
  std::size_t files = 0, commands = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "ci" / "recipes")) {
    if (!entry.is_regular_file()) continue;
    const bool yaml = entry.path().extension() == ".yml", markdown = entry.path().extension() == ".md";
    const std::string text = contents(entry.path());
    const auto found = commands_in(yaml ? yaml_texts(entry.path()) : markdown ? code_of(text) : text, markdown);
    expect_taken(entry.path(), found);
    ++files;
    commands += found.size();
  }
  EXPECT_GE(files, 7U);
  EXPECT_GE(commands, 15U);
}

TEST(Documents, UseTheCommandLineAsItIs) {
  std::size_t commands = 0;
  for (const char* name : {"README.md", "CONTRIBUTING.md", "backends/plugin/README.md", "reports/schema.md"}) {
    const auto found = commands_in(code_of(contents(kRoot / name)), true);
    expect_taken(kRoot / name, found);
    commands += found.size();
  }
  EXPECT_GE(commands, 30U);
}

TEST(Documents, WouldBeCaughtWithAnOptionThatIsNone) {
  const auto commands = commands_in("  attest run --suit quick | tail\n# attest no\n", false);
  ASSERT_EQ(commands.size(), 1U);
  EXPECT_EQ(commands[0], (Words{"run", "--suit", "quick"}));
  const Ended ended = attest({"__parse", "run", "--suit", "quick"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("--suite"));
}

}  // namespace
}  // namespace attest::testing
