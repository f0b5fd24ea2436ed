#include "backends/process/child.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <unistd.h>

namespace attest::process {
namespace {

constexpr std::size_t kLongestLine = std::size_t{1} << 20, kWordsKept = 2000;
constexpr double kTimeToEnd = 0.5;  // seconds between end of input and SIGKILL

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// In a forked process: everything but 0, 1, 2 and `kept`.
void close_all_but(int kept) {
#ifdef SYS_close_range
  const auto last = ~0U, keep = static_cast<unsigned>(kept);
  if (syscall(SYS_close_range, 3U, keep - 1, 0U) == 0 && syscall(SYS_close_range, keep + 1, last, 0U) == 0) return;
#endif
  const long most = sysconf(_SC_OPEN_MAX);
  for (int fd = 3; fd < (most > 0 && most < 65536 ? most : 65536); ++fd) {
    if (fd != kept) close(fd);
  }
}

void default_signals() {
  for (const int s : {SIGINT, SIGPIPE, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM}) ::signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void remove_directory(const char* path) {
  if (DIR* dir = opendir(path)) {
    while (const dirent* entry = readdir(dir)) unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
  }
  rmdir(path);
}

int wait_for(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

Unexpected system_error(const std::string& what) {
  return harness_error("process: " + what + ": " + std::strerror(errno));
}

Expected<std::filesystem::path> make_directory() {
  namespace fs = std::filesystem;
  std::error_code ignored;
  std::vector<fs::path> places{fs::temp_directory_path(ignored)};
  if (access("/dev/shm", W_OK) == 0) places.insert(places.begin(), "/dev/shm");
  if (const char* asked = std::getenv("ATTEST_EXCHANGE_DIR"); asked != nullptr && *asked != '\0') places = {asked};
  for (const fs::path& place : places) {
    std::string name = (place / "attest-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) return fs::path(name);
  }
  return system_error("no directory for the tensors' files");
}

}  // namespace

Expected<std::vector<std::string>> split_command(std::string_view command) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\\' && quote != '\'' && i + 1 < command.size()) {
      word += command[++i];
      in_word = true;
    } else if (quote != '\0') {
      if (c == quote) {
        quote = '\0';
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t') {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != '\0') return input_error("process: the command '" + std::string(command) + "' has an open quote");
  if (in_word) words.push_back(std::move(word));
  if (words.empty() || words[0].empty()) return input_error("process needs a command", "process:python3 kernel.py");
  return words;
}

Expected<void> Child::start(const std::vector<std::string>& words) {
  stop();
  auto made = make_directory();
  if (!made) return Unexpected(made.error());
  directory_ = *made;
  auto started = spawn(words);
  if (started) started = spawn_janitor();
  if (!started) stop();
  return started;
}

Expected<void> Child::spawn(const std::vector<std::string>& words) {
  int in[2], out[2], failure[2];
  if (pipe(in) != 0) return system_error("no pipe");
  to_ = in[1];
  if (pipe(out) != 0) {
    close(in[0]);
    return system_error("no pipe");
  }
  from_ = out[0];
  if (pipe(failure) != 0) {
    close(in[0]);
    close(out[1]);
    return system_error("no pipe");
  }
  for (const int fd : {in[1], out[0], failure[0], failure[1]}) fcntl(fd, F_SETFD, FD_CLOEXEC);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  words_from_ = lseek(STDERR_FILENO, 0, SEEK_END);
  spoke_ = false;
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close_all_but(failure[1]);
    default_signals();
    execvp(argv[0], argv.data());
    const int why = errno;
    if (write(failure[1], &why, sizeof why) < 0) _exit(126);
    _exit(127);
  }
  const int fork_error = errno;
  close(in[0]);
  close(out[1]);
  close(failure[1]);
  int why = 0;
  const bool failed = pid_ > 0 && read(failure[0], &why, sizeof why) == sizeof why;
  close(failure[0]);
  if (pid_ < 0) {
    errno = fork_error;
    return system_error("cannot fork");
  }
  setpgid(pid_, pid_);
  if (!failed) return {};
  wait_for(pid_);
  pid_ = -1;
  return harness_error("process: cannot start '" + words[0] + "': " + std::strerror(why));
}

// Reads from a pipe that nobody writes to: it ends with the last process that holds the other end, this one.
Expected<void> Child::spawn_janitor() {
  int ends[2];
  if (pipe(ends) != 0) return system_error("no pipe");
  const pid_t child = pid_;
  const std::string directory = directory_.string();
  janitor_ = fork();
  if (janitor_ == 0) {
    setpgid(0, 0);
    close_all_but(ends[0]);
    char none = 0;
    while (read(ends[0], &none, 1) < 0 && errno == EINTR) {
    }
    kill(-child, SIGKILL);
    remove_directory(directory.c_str());
    _exit(0);
  }
  close(ends[0]);
  janitor_pipe_ = ends[1];
  fcntl(janitor_pipe_, F_SETFD, FD_CLOEXEC);
  return janitor_ > 0 ? Expected<void>{} : system_error("cannot fork");
}

void Child::stop() { end(true); }

void Child::end(bool gently) {
  close_fd(to_);
  if (pid_ > 0) {
    if (!gently) kill(-pid_, SIGKILL);
    const auto start = std::chrono::steady_clock::now();
    const auto passed = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
    while (waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (passed() > kTimeToEnd) {
        kill(-pid_, SIGKILL);
        wait_for(pid_);
        break;
      }
      const timespec pause{0, 1'000'000};
      nanosleep(&pause, nullptr);
    }
    pid_ = -1;
  }
  close_fd(from_);
  close_fd(janitor_pipe_);
  if (janitor_ > 0) wait_for(janitor_);
  janitor_ = -1;
  if (!directory_.empty()) remove_directory(directory_.c_str());
  directory_.clear();
  buffer_.clear();
}

double Child::cpu_seconds() const {
  clockid_t clock{};
  timespec t{};
  if (pid_ <= 0 || clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::string Child::last_words() const {
  const off_t end = lseek(STDERR_FILENO, 0, SEEK_END);
  if (words_from_ < 0 || end <= words_from_) return {};  // a terminal shows them anyway
  const auto from = std::max<off_t>(words_from_, end - static_cast<off_t>(kWordsKept));
  std::string words(static_cast<std::size_t>(end - from), '\0');
  const ssize_t n = pread(STDERR_FILENO, words.data(), words.size(), from);
  words.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!words.empty() && (words.back() == '\n' || words.back() == ' ')) words.pop_back();
  return words.empty() ? "" : "; last words: " + words;
}

// How the child ended, after its output did.
std::string Child::ending() {
  int status = 0;
  for (int i = 0; i < 100; ++i) {
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      if (!WIFSIGNALED(status)) return "the process ended with code " + std::to_string(WEXITSTATUS(status));
      const int s = WTERMSIG(status);
      return "the process ended by signal " + std::to_string(s) + " (" + strsignal(s) + ")";
    }
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  return "the process closed its standard output and went on running";
}

tl::expected<std::string, Child::Death> Child::exchange(const std::string& line) {
  if (spoke_) words_from_ = lseek(STDERR_FILENO, 0, SEEK_END);  // what it says at its start belongs to the first answer
  spoke_ = true;
  const auto died = [&](bool crashed, std::string what) {
    what += last_words();
    end(false);
    return tl::unexpected(Death{crashed, std::move(what)});
  };
  const std::string request = line + "\n";
  for (std::size_t done = 0; done < request.size();) {
    const ssize_t n = write(to_, request.data() + done, request.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return died(true, ending());
    done += static_cast<std::size_t>(n);
  }
  for (;;) {
    if (const auto end = buffer_.find('\n'); end != std::string::npos) {
      std::string answer = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return answer;
    }
    if (buffer_.size() > kLongestLine) return died(false, "the process wrote a line of more than 1 MiB");
    char part[4096];
    const ssize_t n = read(from_, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return died(true, ending());
    buffer_.append(part, static_cast<std::size_t>(n));
  }
}

}  // namespace attest::process
