#include "harness/bisect/git.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>

namespace attest {

namespace {

constexpr std::size_t kMostFiles = 12, kMostMessage = 20, kMostPatches = 200;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool speaks_of_attention(std::string_view text) {
  const std::string words = lower(text);
  constexpr std::string_view kWords[] = {"attn",  "attention", "fmha",     "sdpa",
                                         "flash", "softmax",   "soft_max", "soft-max"};
  return std::any_of(std::begin(kWords), std::end(kWords),
                     [&](std::string_view w) { return words.find(w) != std::string::npos; });
}

bool is_source(std::string_view path) {
  const std::string extension = lower(std::filesystem::path(path).extension().string());
  constexpr std::string_view kSources[] = {".c",   ".cc",    ".cpp",  ".cxx", ".cu",   ".cuh",  ".h",   ".hh", ".hpp",
                                           ".inc", ".m",     ".mm",   ".cl",  ".s",    ".asm",  ".py",  ".rs", ".swift",
                                           ".zig", ".metal", ".comp", ".hip", ".sycl", ".glsl", ".wgsl"};
  return std::find(std::begin(kSources), std::end(kSources), extension) != std::end(kSources);
}

struct Change {
  std::string path, added, removed;  // counts; "-" of binary files
};

std::vector<Change> changes_of(const Git& git, const std::string& commit) {
  std::vector<Change> changes;
  const auto lines = git.lines({"diff", "--numstat", "--no-renames", commit + "^1", commit});
  if (!lines) return changes;
  for (const std::string& line : *lines) {
    std::istringstream cells(line);
    Change change;
    if (std::getline(cells, change.added, '\t') && std::getline(cells, change.removed, '\t') &&
        std::getline(cells, change.path)) {
      changes.push_back(std::move(change));
    }
  }
  return changes;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> Git::environment() {
  std::vector<std::pair<std::string, std::string>> variables{{"LC_ALL", "C"}, {"GIT_TERMINAL_PROMPT", "0"}};
  for (const char* name : {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
                           "GIT_PREFIX", "GIT_EXTERNAL_DIFF"}) {
    variables.emplace_back(name, "");
  }
  return variables;
}

Expected<ChildEnd> Git::run(const std::vector<std::string>& words) const {
  std::vector<std::string> argv{
      "git", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", "-c", "advice.detachedHead=false"};
  argv.insert(argv.end(), words.begin(), words.end());
  ChildOptions options;
  options.directory = directory_;
  options.environment = environment();
  options.interrupted = interrupted_;
  return run_child(argv, options);
}

Expected<std::string> Git::ask(const std::vector<std::string>& words) const {
  auto end = run(words);
  if (!end) return Unexpected(end.error());
  if (end->interrupted) return harness_error("interrupted");
  if (!end->ok()) {
    std::string why = end->err.substr(0, end->err.find('\n'));
    if (why.empty()) why = end->how();
    return harness_error(fmt::format("git {}: {}", words[0], why));
  }
  while (!end->out.empty() && end->out.back() == '\n') end->out.pop_back();
  return std::move(end->out);
}

Expected<std::vector<std::string>> Git::lines(const std::vector<std::string>& words) const {
  const auto text = ask(words);
  if (!text) return Unexpected(text.error());
  std::vector<std::string> out;
  std::istringstream in(*text);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) out.push_back(line);
  }
  return out;
}

bool looks_like_attention(std::string_view path, std::string_view patch) {
  if (!is_source(path)) return false;
  if (speaks_of_attention(path)) return true;
  std::istringstream in{std::string(patch)};
  for (std::string line; std::getline(in, line);) {
    const bool changed = !line.empty() && (line[0] == '+' || line[0] == '-');
    const bool header = line.rfind("+++", 0) == 0 || line.rfind("---", 0) == 0;
    // git names the function a hunk lies in behind its second @@.
    const bool place = line.rfind("@@", 0) == 0;
    if (((changed && !header) || place) && speaks_of_attention(line)) return true;
  }
  return false;
}

std::vector<std::string> about_commit(const Git& git, const std::string& commit) {
  std::vector<std::string> out;
  const auto text = git.ask({"show", "-s", "--date=iso", "--format=commit %H%nauthor %an <%ae>, %ad%n%n%B", commit});
  if (!text) return out;
  std::istringstream in(*text);
  for (std::string line; std::getline(in, line);) {
    const bool message = out.size() >= 3;
    if (out.size() > 3 + kMostMessage) {
      out.emplace_back("    ...");
      break;
    }
    out.push_back((message && !line.empty() ? "    " : "") + line);
  }
  std::vector<Change> changes = changes_of(git, commit), kernels;
  std::size_t looked_at = 0;
  for (const Change& change : changes) {
    std::string patch;
    if (is_source(change.path) && !looks_like_attention(change.path, "") && ++looked_at <= kMostPatches) {
      patch = git.ask({"diff", "--no-renames", "-U0", commit + "^1", commit, "--", change.path}).value_or("");
    }
    if (looks_like_attention(change.path, patch)) kernels.push_back(change);
  }
  out.emplace_back("");
  const bool none = kernels.empty();
  out.push_back(
      none ? fmt::format("none of its {} changed files looks like an attention kernel:", changes.size())
           : fmt::format("{} of its {} changed files {}:", kernels.size(), changes.size(),
                         kernels.size() == 1 ? "looks like an attention kernel" : "look like attention kernels"));
  const std::vector<Change>& shown = none ? changes : kernels;
  for (std::size_t i = 0; i < shown.size() && i < kMostFiles; ++i) {
    out.push_back(fmt::format("    {:<60} +{} -{}", shown[i].path, shown[i].added, shown[i].removed));
  }
  if (shown.size() > kMostFiles) out.push_back(fmt::format("    and {} more", shown.size() - kMostFiles));
  out.emplace_back("");
  return out;
}

}  // namespace attest
