#include "harness/cli/testing/attest_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to the program

namespace attest::testing {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> environment_with(const Variables& variables) {
  std::vector<std::string> all;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string entry = *e;
    bool kept = true;
    // Whoever shards or filters the tests does not mean the runs that they start.
    for (const char* ours : {"ATTEST_", "GTEST_", "TEST_"}) kept = kept && entry.rfind(ours, 0) != 0;
    for (const auto& [name, value] : variables) kept = kept && entry.rfind(name + "=", 0) != 0;
    if (kept) all.push_back(entry);
  }
  for (const auto& [name, value] : variables) {
    if (!value.empty()) all.push_back(name + "=" + value);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> p;
  for (auto& word : words) p.push_back(word.data());
  p.push_back(nullptr);
  return p;
}

std::string contents(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

pid_t start(std::vector<std::string> words, const Variables& variables, const std::string& out,
            const std::string& err) {
  std::vector<std::string> environment = environment_with(variables);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_RDWR | O_CREAT | O_NOCTTY, 0600);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t pid = -1;
  const auto argv = pointers(words);
  const auto envp = pointers(environment);
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " + words[0]);
  return pid;
}

Ended run(const std::vector<std::string>& words, const Variables& variables) {
  const ScratchDir dir;
  const fs::path out = dir.path() / "out", err = dir.path() / "err";
  Ended ended;
  ended.code = wait_for(start(words, variables, out.string(), err.string()));
  ended.out = contents(out);
  ended.err = contents(err);
  return ended;
}

std::vector<std::string> with_program(const std::vector<std::string>& words) {
  std::vector<std::string> all{attest_executable().string()};
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

}  // namespace

fs::path attest_executable() { return ATTEST_EXECUTABLE; }

Ended attest(const std::vector<std::string>& words, const Variables& variables) {
  return run(with_program(words), variables);
}

Ended shell(const std::string& command, const Variables& variables) { return run({"sh", "-c", command}, variables); }

Ended attest_on_terminal(const std::vector<std::string>& words, const Variables& variables) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) {
    throw std::runtime_error("no pseudo terminal");
  }
  const pid_t pid = start(with_program(words), variables, ptsname(terminal), "/dev/null");
  Ended ended;
  char buffer[4096];
  // The read fails once the last descriptor of the other end is closed.
  for (ssize_t n = 0; (n = read(terminal, buffer, sizeof buffer)) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0) ended.out.append(buffer, static_cast<std::size_t>(n));
  }
  close(terminal);
  ended.code = wait_for(pid);
  return ended;
}

ScratchDir::ScratchDir() {
  std::string name = (fs::temp_directory_path() / "attest-cli-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
  path_ = name;
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string ScratchDir::file(const std::string& name, const std::string& text) const {
  const fs::path at = path_ / name;
  fs::create_directories(at.parent_path());
  std::ofstream(at, std::ios::binary) << text;
  return at.string();
}

}  // namespace attest::testing
