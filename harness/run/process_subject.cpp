#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <vector>

#include "harness/run/protocol.h"
#include "harness/run/stack_text.h"
#include "harness/run/subject.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX leaves it to the program

namespace attest {

namespace {

constexpr double kStartTimeout = 60;
constexpr double kInterruptPollMs = 200;                  // how often a waiting judge looks whether it was interrupted
constexpr double kGoneTimeout = 0.1, kDyingTimeout = 10;  // from a closed socket to a dead process: asleep, not asleep
constexpr std::size_t kStderrKept = 4096;

class ProcessSubject final : public Subject {
 public:
  explicit ProcessSubject(ProcessSubjectOptions options) : options_(std::move(options)) {}
  ~ProcessSubject() override {
    stop();
    for (const int fd : {fault_fd_, stderr_fd_}) {
      if (fd >= 0) close(fd);
    }
    if (fault_ != nullptr) munmap(fault_, sizeof *fault_);
  }

  Expected<SubjectInfo> start() override;
  SubjectAnswer ask(const Case& c, const std::string& line) override;
  void post(std::size_t index, const Place& place, const Case& c, const std::string& line) override;
  SubjectAnswer next(double timeout_s) override;

 private:
  Expected<void> open_files();
  Expected<void> spawn();
  void stop();
  // -1: gone, 0: deadline passed, 1: reply read.
  int read_reply(double timeout_s, protocol::Reply& reply, std::string& text);
  bool wait_readable(double timeout_s) const;
  double cpu_seconds() const;
  // What the system says of the subject's threads.
  struct Schedule {
    bool known = false, asleep = false;  // asleep: none of them runs or waits for a core
    double starved = 0;                  // seconds waited for a core so far, the most of any thread
  };
  Schedule schedule() const;
  bool interrupted() const { return options_.interrupted != nullptr && options_.interrupted->load(); }
  SubjectAnswer gone();
  SubjectAnswer fault(Verdict verdict, std::string detail);
  std::string last_words(std::string& stack) const;
  Fault describe_death(int status) const;

  ProcessSubjectOptions options_;
  pid_t pid_ = -1;
  int control_ = -1, fault_fd_ = -1, stderr_fd_ = -1;
  protocol::FaultReport* fault_ = nullptr;
  std::uint64_t next_id_ = 1;
};

Expected<void> ProcessSubject::open_files() {
  if (fault_ != nullptr) return {};
  fault_fd_ = create_shared_memory();
  stderr_fd_ = create_shared_memory();
  if (fault_fd_ < 0 || stderr_fd_ < 0 || ftruncate(fault_fd_, sizeof(protocol::FaultReport)) != 0) {
    return harness_error(fmt::format("cannot create shared memory for a subject: {}", std::strerror(errno)));
  }
  fcntl(stderr_fd_, F_SETFL, O_APPEND);
  void* fault = mmap(nullptr, sizeof(protocol::FaultReport), PROT_READ | PROT_WRITE, MAP_SHARED, fault_fd_, 0);
  if (fault == MAP_FAILED) return harness_error(fmt::format("cannot map a fault report: {}", std::strerror(errno)));
  fault_ = static_cast<protocol::FaultReport*>(fault);
  return {};
}

Expected<void> ProcessSubject::spawn() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return harness_error(fmt::format("cannot create a socket pair: {}", std::strerror(errno)));
  }
  control_ = to_high_fd(ends[0]);
  const int theirs = to_high_fd(ends[1]);

  SubjectArguments arguments;
  arguments.backend = options_.backend;
  arguments.environment = options_.environment;
  arguments.places = static_cast<int>(options_.place_fds.size());
  arguments.max_memory = options_.max_memory;
  arguments.judge = getpid();
  std::vector<std::string> words = options_.command;
  for (auto& word : arguments.to_words()) words.push_back(std::move(word));
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, stderr_fd_, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, stderr_fd_, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, theirs, kControlFd);
  posix_spawn_file_actions_adddup2(&actions, fault_fd_, kFaultFd);
  for (std::size_t i = 0; i < options_.place_fds.size(); ++i) {
    posix_spawn_file_actions_adddup2(&actions, options_.place_fds[i], kFirstPlaceFd + static_cast<int>(i));
  }
  // A Ctrl-C is for the judge: held back until the subject has said that it does not care for it.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t held;
  sigemptyset(&held);
  sigaddset(&held, SIGINT);
  posix_spawnattr_setsigmask(&attributes, &held);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int failed = posix_spawn(&pid_, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(theirs);
  if (failed != 0) {
    pid_ = -1;
    return harness_error(fmt::format("cannot start '{}': {}", words[0], std::strerror(failed)));
  }
  return {};
}

void ProcessSubject::stop() {
  if (control_ >= 0) close(control_);
  control_ = -1;
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = -1;
}

Expected<SubjectInfo> ProcessSubject::start() {
  stop();
  if (auto opened = open_files(); !opened) return Unexpected(opened.error());
  std::memset(static_cast<void*>(fault_), 0, sizeof *fault_);
  if (ftruncate(stderr_fd_, 0) != 0) return harness_error("cannot reset a subject's stderr");
  if (auto spawned = spawn(); !spawned) return Unexpected(spawned.error());
  protocol::Reply reply;
  std::string text;
  const int got = read_reply(kStartTimeout, reply, text);
  if (got == 1 && reply.say == protocol::Say::described) {
    const auto first = text.find('\n');
    const auto second = text.find('\n', first + 1);
    return SubjectInfo{text.substr(0, first), text.substr(first + 1, second - first - 1), text.substr(second + 1)};
  }
  if (got == 1) {
    stop();
    if (reply.say == protocol::Say::misread) return Unexpected(protocol::unpacked(text));
    return reply.say == protocol::Say::misnamed ? input_error(text) : harness_error(text);
  }
  if (got == 0) {
    stop();
    if (interrupted()) return harness_error("interrupted while a backend was starting");
    return harness_error(fmt::format("backend '{}' did not start within {} s", options_.backend, kStartTimeout));
  }
  const SubjectAnswer answer = gone();
  return harness_error(fmt::format("backend '{}' died while starting: {}", options_.backend, answer.fault.detail));
}

SubjectAnswer ProcessSubject::ask(const Case&, const std::string& line) {
  protocol::Request request;
  request.ask = protocol::Ask::contract;
  request.id = next_id_++;
  if (control_ >= 0) protocol::send(control_, request, line);
  return next(kStartTimeout);
}

void ProcessSubject::post(std::size_t index, const Place& place, const Case&, const std::string& line) {
  if (control_ < 0) return;  // next() reports the death
  protocol::Request request;
  request.id = next_id_++;
  request.place = static_cast<std::uint32_t>(index);
  request.left_aligned = place.left_aligned() ? 1 : 0;
  request.capacities = place.capacities();
  protocol::send(control_, request, line);  // a failure shows as the subject's death in next()
}

// CPU time the subject has used so far.
double ProcessSubject::cpu_seconds() const {
  clockid_t clock{};
  timespec t{};
  if (pid_ <= 0 || clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

ProcessSubject::Schedule ProcessSubject::schedule() const {
  Schedule now;
  std::error_code none;
  for (const auto& task : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid_), none)) {
    std::ifstream figures(task.path() / "schedstat"), status(task.path() / "stat");
    double ran = 0, waited = 0;
    std::string line;
    if (!(figures >> ran >> waited) || !std::getline(status, line)) continue;
    const auto name_end = line.rfind(") ");
    const bool sleeps = name_end != std::string::npos && line.compare(name_end + 2, 1, "S") == 0;
    now.asleep = (!now.known || now.asleep) && sleeps;
    now.starved = std::max(now.starved, waited * 1e-9);
    now.known = true;
  }
  return now;
}

// On a busy machine a subject may not have had its share when the deadline comes: what it waited for a core does not
// count, nor does a deadline pass while it waits for one. Ten times the deadline is the end in any case.
bool ProcessSubject::wait_readable(double timeout_s) const {
  using Clock = std::chrono::steady_clock;
  constexpr double kQuick = 0.02;  // most answers come sooner: no need to look at the scheduler's figures
  const auto start = Clock::now();
  const double cpu_before = cpu_seconds();
  Schedule before;
  double limit = timeout_s;
  for (bool first = true;; first = false) {
    const double passed = std::chrono::duration<double>(Clock::now() - start).count();
    const bool late = passed >= limit;
    if (interrupted()) return false;
    if (!first && !before.known) before = schedule();
    pollfd p{control_, POLLIN, 0};
    const double ms = late ? 0 : std::min(limit - passed, first ? kQuick : limit) * 1000 + 1;
    const int n = poll(&p, 1, static_cast<int>(std::min(ms, kInterruptPollMs)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return true;  // let read() name the error
    if (!late) continue;
    if (passed >= 10 * timeout_s) return false;
    const Schedule now = before.known ? schedule() : Schedule{};
    const bool had_its_time = !now.known || passed - (now.starved - before.starved) >= timeout_s;
    if (had_its_time && (now.asleep || cpu_seconds() - cpu_before >= 0.5 * timeout_s)) return false;
    limit = passed + std::min(timeout_s, 0.05);
  }
}

int ProcessSubject::read_reply(double timeout_s, protocol::Reply& reply, std::string& text) {
  if (control_ < 0) return -1;
  if (!wait_readable(timeout_s)) return 0;
  if (!protocol::read_all(control_, &reply, sizeof reply)) return -1;
  if (reply.magic != protocol::kMagic || reply.text_bytes > (1U << 20)) {
    reply.magic = 0;
    return 1;
  }
  text.resize(reply.text_bytes);
  if (!text.empty() && !protocol::read_all(control_, text.data(), text.size())) return -1;
  return 1;
}

SubjectAnswer ProcessSubject::fault(Verdict verdict, std::string detail) {
  stop();
  SubjectAnswer answer;
  answer.kind = SubjectAnswer::Kind::fault;
  answer.fault = {verdict, std::move(detail)};
  return answer;
}

SubjectAnswer ProcessSubject::next(double timeout_s) {
  protocol::Reply reply;
  SubjectAnswer answer;
  const int got = read_reply(timeout_s, reply, answer.text);
  if (got == 0 && interrupted()) {
    answer = fault(Verdict::HANG, "interrupted");
    answer.kind = SubjectAnswer::Kind::interrupted;
    return answer;
  }
  if (got == 0) {
    std::string stack;
    const std::string words = last_words(stack);
    return fault(Verdict::HANG, fmt::format("no answer within {:.3g} s{}", timeout_s,
                                            words.empty() ? "" : "; last words: " + words));
  }
  if (got < 0) return gone();
  if (reply.magic != protocol::kMagic) {
    return fault(Verdict::CRASH, "garbage on the control channel: the backend writes to descriptors it does not own");
  }
  answer.contract = reply.contract;
  answer.cpu_seconds = reply.cpu_seconds;
  answer.wall_seconds = reply.wall_seconds;
  switch (reply.say) {
    case protocol::Say::accepted:
      answer.kind = SubjectAnswer::Kind::accepted;
      break;
    case protocol::Say::unsupported:
      answer.kind = SubjectAnswer::Kind::unsupported;
      break;
    case protocol::Say::done:
      answer.kind = SubjectAnswer::Kind::done;
      break;
    case protocol::Say::failed:
      answer.kind = SubjectAnswer::Kind::failed;
      break;
    case protocol::Say::found:
      answer.kind = SubjectAnswer::Kind::found;
      break;
    default:
      return fault(Verdict::CRASH, "garbage on the control channel: unknown reply");
  }
  return answer;
}

// What it wrote to standard error; `stack` gets what its signal handler wrote behind that.
std::string ProcessSubject::last_words(std::string& stack) const {
  const off_t size = lseek(stderr_fd_, 0, SEEK_END);
  if (size <= 0) return {};
  const off_t from = std::max<off_t>(0, size - static_cast<off_t>(4 * kStderrKept));
  std::string words(static_cast<std::size_t>(size - from), '\0');
  const ssize_t n = pread(stderr_fd_, words.data(), words.size(), from);
  words.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  if (const auto at = words.rfind(kStackMarker); at != std::string::npos) {
    stack = stack_text(std::string_view(words).substr(at + kStackMarker.size()));
    words.resize(at);
  }
  while (!words.empty() && (words.back() == '\n' || words.back() == '\0')) words.pop_back();
  if (words.size() > kStderrKept) words.erase(0, words.size() - kStderrKept);
  return words;
}

SubjectAnswer ProcessSubject::gone() {
  int status = 0;
  if (pid_ > 0) {
    // The socket closes a moment before the process is gone; one that only closed its pipes has to be ended.
    const auto start = std::chrono::steady_clock::now();
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      const bool dying = fault_->valid.load() != 0;
      if (passed >= kDyingTimeout || (passed >= kGoneTimeout && !dying && schedule().asleep)) {
        kill(pid_, SIGKILL);
        waitpid(pid_, &status, 0);
        pid_ = -1;
        return fault(Verdict::CRASH, "closed its control channel and went on running");
      }
      const timespec pause{0, 500'000};
      nanosleep(&pause, nullptr);
    }
    pid_ = -1;
  }
  const Fault death = describe_death(status);
  return fault(death.verdict, death.detail);
}

Fault ProcessSubject::describe_death(int status) const {
  std::string stack;
  const std::string words = last_words(stack);
  std::string tail = stack.empty() ? "" : " in " + stack;
  if (!words.empty()) tail += "; last words: " + words;
  if (fault_->valid.load() != 0 && fault_->out_of_memory != 0) return {Verdict::OOM, "out of memory" + tail};
  if (fault_->valid.load() != 0 && (fault_->in_place != 0 || fault_->in_memory != 0)) {
    const std::string_view tensor = fault_->in_memory != 0 ? fault_->memory.data() : region_name(fault_->region);
    const char* access = fault_->write == 1 ? "write" : fault_->write == 0 ? "read" : "access";
    if (fault_->within != 0) {
      return {Verdict::INPUT_WRITTEN, fmt::format("{} to {}, which is an input{}", access, tensor, tail)};
    }
    const std::string where = fault_->before > 0 ? fmt::format("{} bytes before {}", fault_->before, tensor)
                                                 : fmt::format("{} bytes past the end of {}", fault_->after, tensor);
    return {Verdict::OOB, fmt::format("{} {}{}", access, where, tail)};
  }
  if (WIFSIGNALED(status)) {
    const int s = WTERMSIG(status);
    if (s == SIGKILL) return {Verdict::OOM, "killed by the system (SIGKILL), most likely out of memory" + tail};
    return {Verdict::CRASH, fmt::format("signal {} ({}){}", s, strsignal(s), tail)};
  }
  return {Verdict::CRASH, fmt::format("exited with code {}{}", WEXITSTATUS(status), tail)};
}

}  // namespace

std::unique_ptr<Subject> make_process_subject(ProcessSubjectOptions options) {
  return std::make_unique<ProcessSubject>(std::move(options));
}

}  // namespace attest
