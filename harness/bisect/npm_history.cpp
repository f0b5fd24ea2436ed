#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/bisect/history.h"
#include "harness/child_output.h"

namespace attest {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

constexpr double kAnswerSeconds = 90, kFetchSeconds = 600;
constexpr std::string_view kPart = ".part-";  // and the version, a dash, the process that fetches it

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// npm's words about why: "E404", "ECONNREFUSED".
std::string code_in(const std::string& complaint) {
  std::istringstream words(complaint);
  for (std::string word; words >> word;) {
    const bool code = word.size() > 3 && word[0] == 'E' &&
                      word.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
    if (code && word != "ERR") return word;
  }
  return "no reason given";
}

// What npm is asked, in `directory`, so that no project of the user's bears on it.
Expected<ChildEnd> npm(const std::vector<std::string>& words, const fs::path& directory, double seconds,
                       const Obtain& how) {
  std::vector<std::string> argv{"npm", "--fetch-retries=1", "--fetch-timeout=60000", "--loglevel=error"};
  argv.insert(argv.end(), words.begin(), words.end());
  ChildOptions options;
  options.directory = directory;
  options.timeout_s = seconds;
  options.interrupted = how.interrupted;
  auto end = run_child(argv, options);
  if (!end) return harness_error("npm cannot be started: is it installed, and on PATH?");
  return end;
}

Expected<std::vector<std::string>> parse_versions(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  std::vector<std::string> versions;
  if (json.is_string()) versions.push_back(json.get<std::string>());
  if (json.is_array()) {
    for (const Json& one : json) {
      if (one.is_string()) versions.push_back(one.get<std::string>());
    }
  }
  if (versions.empty()) return harness_error("npm answered without a list of versions");
  return versions;
}

// Written whole or not at all.
bool write_file(const fs::path& file, const std::string& text) {
  const fs::path part = file.string() + fmt::format("{}{}", kPart, getpid());
  std::error_code error;
  {
    std::ofstream out(part, std::ios::binary);
    out << text;
    out.close();
    if (!out) return false;
  }
  fs::rename(part, file, error);
  return !error;
}

class NpmHistory final : public LinearHistory {
 public:
  NpmHistory(std::string package, fs::path root, std::vector<Step> steps)
      : LinearHistory(std::move(steps)), package_(std::move(package)), root_(std::move(root)) {}

  std::string describe() const override {
    return fmt::format("{} releases of {}, {} .. {}", steps().size(), package_, older().name, newer().name);
  }
  // A version that is published never changes.
  Expected<std::string> identity(const Step& step) override { return fmt::format("npm {}@{}", package_, step.id); }
  Expected<Specimen> obtain(const Step& step, const Obtain& how) override;
  std::string full_name(const Step& step) const override { return package_ + "@" + step.id; }

 private:
  Expected<void> fetch(const std::string& version, const Obtain& how);
  Expected<std::string> pack(const std::string& version, const fs::path& part, const Obtain& how);

  std::string package_;
  fs::path root_;  // <version>/ is a whole one
};

bool has_ggml(const fs::path& dir) {
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(dir, ignored), end; !ignored && it != end; it.increment(ignored)) {
    if (it->path().filename().string().rfind("libggml", 0) == 0) return true;
  }
  return false;
}

// "llama.cpp b6845", from the note that @node-llama-cpp puts beside its libraries; "" elsewhere.
std::string release_of(const fs::path& dir) {
  std::error_code ignored;
  for (fs::recursive_directory_iterator it(dir, ignored), end; !ignored && it != end; it.increment(ignored)) {
    if (it->path().filename() != "_nlcBuildMetadata.json") continue;
    const Json json = Json::parse(contents(it->path()), nullptr, false);
    const Json::json_pointer where("/buildOptions/llamaCpp/release");
    if (json.is_object() && json.contains(where) && json[where].is_string()) {
      return "llama.cpp " + json[where].get<std::string>();
    }
  }
  return "";
}

Expected<Specimen> NpmHistory::obtain(const Step& step, const Obtain& how) {
  const fs::path dir = root_ / step.id;
  std::error_code ignored;
  if (!fs::is_directory(dir, ignored)) {
    if (how.doing) how.doing(fmt::format("fetching {}@{}", package_, step.id));
    if (auto fetched = fetch(step.id, how); !fetched) return Unexpected(fetched.error());
  }
  Specimen specimen;
  specimen.ggml = dir;
  specimen.release = release_of(dir);
  if (!has_ggml(dir)) specimen.unusable = "the package holds no libggml";
  return specimen;
}

// The package's file in `part`, held against the digest the registry states.
Expected<std::string> NpmHistory::pack(const std::string& version, const fs::path& part, const Obtain& how) {
  const std::string wanted = package_ + "@" + version;
  const auto stated = npm({"view", wanted, "dist.integrity"}, part, kAnswerSeconds, how);
  if (!stated) return Unexpected(stated.error());
  const auto packed = npm({"pack", wanted, "--json", "--silent"}, part, kFetchSeconds, how);
  if (!packed) return Unexpected(packed.error());
  for (const ChildEnd* end : {&*stated, &*packed}) {
    if (end->interrupted) return harness_error("interrupted");
    if (!end->ok()) return harness_error(fmt::format("npm cannot fetch {} ({})", wanted, code_in(end->err)));
  }
  const Json json = Json::parse(packed->out, nullptr, false);
  const Json entry = json.is_array() && !json.empty() ? json[0] : Json::object();
  const auto word = [&](const char* key) {
    return entry.contains(key) && entry[key].is_string() ? entry[key].get<std::string>() : std::string();
  };
  std::string digest = stated->out;
  while (!digest.empty() && std::isspace(static_cast<unsigned char>(digest.back())) != 0) digest.pop_back();
  const std::string file = fs::path(word("filename")).filename().string();
  if (file.empty() || !fs::exists(part / file)) return harness_error(fmt::format("npm left no file for {}", wanted));
  if (digest.empty() || word("integrity") != digest) {
    return harness_error(fmt::format("{} is damaged: its digest is not the one the registry states", wanted));
  }
  return file;
}

Expected<void> NpmHistory::fetch(const std::string& version, const Obtain& how) {
  const fs::path part = root_ / fmt::format("{}{}-{}", kPart, version, getpid());
  std::error_code error;
  fs::remove_all(part, error);
  fs::create_directories(part / "kept", error);
  if (error) return harness_error(fmt::format("cannot write {}: {}", part.string(), error.message()));
  const auto done = [&](Expected<void> result) {
    std::error_code ignored;
    fs::remove_all(part, ignored);
    return result;
  };
  const auto file = pack(version, part, how);
  if (!file) return done(Unexpected(file.error()));
  ChildOptions options;
  options.directory = part;
  options.timeout_s = kFetchSeconds;
  options.interrupted = how.interrupted;
  const auto unpacked = run_child({"tar", "-xzf", *file}, options);
  if (!unpacked) return done(Unexpected(unpacked.error()));
  if (!unpacked->ok()) return done(harness_error(fmt::format("tar of {}@{} {}", package_, version, unpacked->how())));
  // Only what attest loads, with the note of which release it is: the rest of a package is many times as large.
  for (fs::recursive_directory_iterator it(part / "package", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (!it->is_regular_file(ignored) || (name.rfind("libggml", 0) != 0 && name != "_nlcBuildMetadata.json")) continue;
    const fs::path to = part / "kept" / fs::relative(it->path(), part / "package");
    fs::create_directories(to.parent_path(), error);
    if (!error) fs::rename(it->path(), to, error);
  }
  if (!error) fs::rename(part / "kept", root_ / version, error);
  std::error_code ignored;
  if (error && !fs::is_directory(root_ / version, ignored)) {  // else somebody was faster: theirs is as good
    return done(harness_error(fmt::format("cannot keep {}@{}: {}", package_, version, error.message())));
  }
  return done({});
}

// What a process that is gone did not finish.
void sweep(const fs::path& root) {
  std::error_code ignored;
  std::vector<fs::path> parts;
  for (fs::directory_iterator it(root, ignored), end; !ignored && it != end; it.increment(ignored)) {
    const std::string name = it->path().filename().string();
    if (name.find(kPart) == std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::strtol(name.substr(name.rfind('-') + 1).c_str(), nullptr, 10));
    if (pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH)) parts.push_back(it->path());
  }
  for (const fs::path& part : parts) fs::remove_all(part, ignored);
}

// From npm, and kept; where npm has no answer, the list it gave before.
Expected<std::vector<std::string>> published(const std::string& package, const fs::path& root, const Obtain& how) {
  const fs::path kept = root / "versions.json";
  if (how.doing) how.doing("asking for the versions of " + package);
  const auto end = npm({"view", package, "versions", "--json"}, root, kAnswerSeconds, how);
  if (end && end->interrupted) return harness_error("interrupted");
  if (end && end->ok()) {
    auto versions = parse_versions(end->out);
    if (versions) static_cast<void>(write_file(kept, end->out));
    return versions;
  }
  const std::string code = end ? code_in(end->out + " " + end->err) : end.error().message;
  if (code == "E404") return input_error(fmt::format("npm knows no package '{}'", package));
  if (auto earlier = parse_versions(contents(kept))) {
    if (how.doing) how.doing("npm has no answer: going by the list it gave before");
    return earlier;
  }
  if (!end) return Unexpected(end.error());
  return harness_error(fmt::format("npm cannot say which versions '{}' has ({})", package, code));
}

Expected<std::size_t> position(const std::vector<std::string>& versions, const std::string& wanted,
                               const std::string& package) {
  const auto at = std::find(versions.begin(), versions.end(), wanted);
  if (at != versions.end()) return static_cast<std::size_t>(at - versions.begin());
  const std::string near = nearest_word(wanted, versions);
  std::vector<std::string> around = versions;
  if (const auto it = std::find(versions.begin(), versions.end(), near); it != versions.end()) {
    const auto from = std::max<std::ptrdiff_t>(0, it - versions.begin() - 2);
    const auto to = std::min<std::ptrdiff_t>(std::ssize(versions), it - versions.begin() + 3);
    around.assign(versions.begin() + from, versions.begin() + to);
  }
  return input_error(fmt::format("{} has no version '{}'", package, wanted),
                     fmt::format("published: {}", fmt::join(around, ", ")));
}

}  // namespace

Expected<std::unique_ptr<BisectHistory>> npm_history(const NpmQuestion& question, const fs::path& cache,
                                                     const Obtain& how) {
  if (cache.empty()) {
    return harness_error("there is no place to keep packages", "set ATTEST_CACHE_DIR");
  }
  std::string folder = question.package;
  std::replace(folder.begin(), folder.end(), '/', '+');
  const bool odd = question.package.empty() || question.package[0] == '-' || question.package[0] == '.' ||
                   question.package.find_first_of(" \t\\:@", 1) != std::string::npos;
  if (odd) return input_error(fmt::format("'{}' is not the name of an npm package", question.package));
  const fs::path root = cache / "npm" / folder;
  std::error_code error;
  fs::create_directories(root, error);
  if (error) return harness_error(fmt::format("cannot write {}: {}", root.string(), error.message()));
  sweep(root);
  const auto versions = published(question.package, root, how);
  if (!versions) return Unexpected(versions.error());
  const auto older = position(*versions, question.older, question.package);
  if (!older) return Unexpected(older.error());
  const auto newer = position(*versions, question.newer, question.package);
  if (!newer) return Unexpected(newer.error());
  if (*older >= *newer) {
    return input_error(fmt::format("{} is not an earlier release than {}", question.older, question.newer),
                       "with --find-fix the bad one is the older one");
  }
  std::vector<Step> steps;
  for (std::size_t i = *older; i <= *newer; ++i) steps.push_back({(*versions)[i], (*versions)[i], ""});
  return std::make_unique<NpmHistory>(question.package, root, std::move(steps));
}

}  // namespace attest
