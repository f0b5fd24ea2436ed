#include "harness/child_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to the program

namespace attest {

namespace {

constexpr int kPollMs = 100;        // how often an interrupt and the clock are looked at
constexpr double kTermSeconds = 2;  // between asking a group to end and ending it

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

std::vector<std::string> environment_of(const ChildOptions& options) {
  std::vector<std::string> all;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string entry = *e;
    const bool replaced = std::any_of(options.environment.begin(), options.environment.end(),
                                      [&](const auto& v) { return entry.rfind(v.first + "=", 0) == 0; });
    if (!replaced) all.push_back(entry);
  }
  for (const auto& [name, value] : options.environment) {
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

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() = default;
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  bool open() {
    if (pipe(ends) != 0) return false;
    for (const int fd : ends) fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return true;
  }
  void close_end(int which) {
    if (ends[which] >= 0) close(ends[which]);
    ends[which] = -1;
  }
  // Takes what is there; closes at the end of the stream.
  void drain(std::string& into) {
    char buffer[65536];
    while (ends[0] >= 0) {
      const ssize_t n = read(ends[0], buffer, sizeof buffer);
      if (n > 0) {
        into.append(buffer, static_cast<std::size_t>(n));
      } else if (n < 0 && errno == EINTR) {
        continue;
      } else {
        if (n == 0 || errno != EAGAIN) close_end(0);
        return;
      }
    }
  }
};

Expected<pid_t> spawn(const std::vector<std::string>& argv, const ChildOptions& options, const Pipe& out,
                      const Pipe& err) {
  std::vector<std::string> words = argv, environment = environment_of(options);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (options.log.empty()) {
    posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, options.log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  }
  if (!options.directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, options.directory.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t usual;  // attest ignores SIGPIPE; other programs count on it
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const auto arguments = pointers(words), variables = pointers(environment);
  const int failed = posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), variables.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return harness_error(fmt::format("cannot start '{}': {}", argv[0], std::strerror(failed)));
  return pid;
}

}  // namespace

std::string ChildEnd::how() const {
  if (interrupted) return "was interrupted";
  if (late) return "did not end in time";
  if (signal != 0) return fmt::format("was ended by signal {}", signal);
  return fmt::format("exited with code {}", code);
}

Expected<ChildEnd> run_child(const std::vector<std::string>& argv, const ChildOptions& options) {
  Pipe out, err;
  if (!out.open() || !err.open()) return harness_error(fmt::format("cannot create a pipe: {}", std::strerror(errno)));
  const auto pid = spawn(argv, options, out, err);
  if (!pid) return Unexpected(pid.error());
  out.close_end(1);
  err.close_end(1);
  ChildEnd end;
  const auto start = Clock::now();
  Clock::time_point asked{};
  int status = 0;
  for (;;) {
    pollfd fds[2] = {{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}};
    const bool listens = out.ends[0] >= 0 || err.ends[0] >= 0;
    poll(fds, 2, listens ? kPollMs : seconds_since(start) < 1 ? 2 : kPollMs / 2);
    out.drain(end.out);
    err.drain(end.err);
    // What it left running may hold the pipes open: its own end is what counts.
    const pid_t gone = waitpid(*pid, &status, WNOHANG);
    if (gone == *pid || (gone < 0 && errno != EINTR)) break;
    if (asked == Clock::time_point{}) {
      end.interrupted = options.interrupted != nullptr && options.interrupted->load();
      end.late = !end.interrupted && options.timeout_s > 0 && seconds_since(start) >= options.timeout_s;
      if (end.interrupted || end.late) {
        kill(-*pid, SIGTERM);
        asked = Clock::now();
      }
    } else if (seconds_since(asked) >= kTermSeconds) {
      kill(-*pid, SIGKILL);
    }
  }
  if (asked != Clock::time_point{}) kill(-*pid, SIGKILL);  // whatever did not listen
  out.drain(end.out);
  err.drain(end.err);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.code = WEXITSTATUS(status);
  return end;
}

Expected<std::string> child_output(const std::vector<std::string>& argv, double timeout_s) {
  ChildOptions options;
  options.timeout_s = timeout_s;
  auto end = run_child(argv, options);
  if (!end) return Unexpected(end.error());
  if (end->late) return harness_error(fmt::format("'{}' did not end within {} s", argv[0], timeout_s));
  if (!end->ok()) return harness_error(fmt::format("'{}' {}", argv[0], end->how()));
  return std::move(end->out);
}

}  // namespace attest
