// Asks a judge process about kernels and outputs of this process; attest/gtest.h and attest/gmock.h are made of it.
//
// ATTEST_EXECUTABLE names the program: a macro that attest's CMake package defines, or a variable of the environment.
#pragma once

#include <attest/guarded_inputs.h>
#include <attest/wire_io.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

extern char** environ;  // NOLINT: POSIX leaves it to the program

namespace attest {

// A kernel under test. What it gets is described in attest_plugin.h: shapes, strides, data; what it has to compute,
// too.
struct Kernel {
  std::string name;
  // Writes O [d_v, n_head, n_q, n_seq], f32, contiguous. An exception makes the case fail.
  std::function<void(const attest_problem& problem, float* out)> run;
  // Why it does not take the problem; "": it does. Left out: it takes them all.
  std::function<std::string(const attest_problem& problem)> unsupported = {};
  // What is different from arithmetic in f32 throughout. The error budget follows from it.
  std::function<void(const attest_problem& problem, attest_contract& contract)> contract = {};
};

struct Ruling {
  enum class Kind { good, bad, unsupported, harness_error } kind = Kind::harness_error;
  std::string verdict;      // PASS, BLIND, FAIL, NAN ... (attest list verdicts)
  std::string explanation;  // the worst element, its budget, what triage makes of it; or the reason
};

struct SuiteCase {
  std::string id, line;
};

// One judge per process, started when it is first asked. Not for several threads at a time.
class Judge {
 public:
  static Judge& get() {
    static Judge judge;
    return judge;
  }

  // The cases of a built-in suite, a .toml or a .txt file. `error` says why there are none.
  std::vector<SuiteCase> cases(const std::string& suite, std::string& error) {
    std::vector<SuiteCase> cases;
    wire::Message reply;
    std::string text;
    if (!ask(wire::message(wire::Kind::suite), suite, reply, text) || reply.kind != wire::Kind::lines) {
      error = reply_error(reply, text);
      return cases;
    }
    for (std::size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::size_t space = text.find(' ', at);
      cases.push_back({text.substr(at, space - at), text.substr(space + 1, end - space - 1)});
    }
    return cases;
  }

  // Runs the kernel on the case, as often as the verdict needs (fresh seeds, altered cases), and rules.
  Ruling judge(const Kernel& kernel, const std::string& line, const std::string& suite) {
    wire::Message reply;
    std::string text;
    bool there = ask(wire::message(wire::Kind::judge), line + "\n" + suite + "\n" + kernel.name, reply, text);
    while (there && reply.kind == wire::Kind::run) {
      wire::Message answer;
      std::string words;
      run(kernel, GuardedInputs(reply, descriptor_, text), answer, words);
      there = ask(answer, words, reply, text);
    }
    return ruling(reply, text);
  }

  // The case's tensors. The error is thrown as std::runtime_error.
  GuardedInputs open(const std::string& line) {
    wire::Message reply;
    std::string text;
    if (!ask(wire::message(wire::Kind::open), line, reply, text) || reply.kind != wire::Kind::run) {
      throw std::runtime_error("attest: " + reply_error(reply, text));
    }
    return GuardedInputs(reply, descriptor_, text);
  }

  // Rules on an output that somebody worked out: O [d_v, n_head, n_q, n_seq]. Once: what is in doubt passes.
  Ruling rule(const std::string& line, const attest_contract& contract, const float* output, std::size_t elements) {
    wire::Message request = wire::message(wire::Kind::rule), reply;
    request.contract = contract;
    std::string text;
    ask(request, line, reply, text, output, elements * sizeof(float));
    return ruling(reply, text);
  }

  Judge(const Judge&) = delete;
  Judge& operator=(const Judge&) = delete;
  ~Judge() {
    if (socket_ >= 0) close(socket_);
    if (child_ > 0) waitpid(child_, nullptr, 0);
  }

 private:
  Judge() {
    const char* program = std::getenv("ATTEST_EXECUTABLE");
#ifdef ATTEST_EXECUTABLE
    if (program == nullptr || *program == '\0') program = ATTEST_EXECUTABLE;
#endif
    program_ = program == nullptr || *program == '\0' ? "attest" : program;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return;
    for (const int end : ends) fcntl(end, F_SETFD, FD_CLOEXEC);
    // The child's end above the number it is to have there: dup2 onto itself would leave it closed on exec.
    const int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, wire::kJudgeFd + 1);
    close(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, wire::kJudgeFd);
    std::string verb = wire::kJudgeVerb;
    char* words[] = {program_.data(), verb.data(), nullptr};
    const int failed = posix_spawnp(&child_, program_.c_str(), &actions, nullptr, words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(theirs);
    socket_ = ends[0];
    if (failed != 0) child_ = -1;
  }

  bool ask(const wire::Message& request, const std::string& text, wire::Message& reply, std::string& reply_text,
           const void* payload = nullptr, std::size_t bytes = 0) {
    reply = wire::message(wire::Kind::error);
    reply_text.clear();
    const bool there = child_ > 0 && wire::send(socket_, request, text, payload, bytes) &&
                       wire::receive(socket_, reply, reply_text, &descriptor_);
    if (there) return true;
    reply = wire::message(wire::Kind::error);
    reply_text = "the judge '" + program_ + "' cannot be started, is of another version, or ended";
    return false;
  }

  static void run(const Kernel& kernel, const GuardedInputs& inputs, wire::Message& answer, std::string& words) {
    answer = wire::message(wire::Kind::answer);
    answer.contract = inputs.f32_throughout();
    try {
      if (kernel.unsupported) words = kernel.unsupported(inputs.problem());
      if (!words.empty()) {
        answer.status = wire::Status::unsupported;
        return;
      }
      if (kernel.contract) kernel.contract(inputs.problem(), answer.contract);
      const FaultWatch watch(inputs);
      kernel.run(inputs.problem(), inputs.output());
    } catch (const std::exception& e) {
      answer.status = wire::Status::bad;
      words = std::string("the kernel threw: ") + e.what();
    }
  }

  static std::string reply_error(const wire::Message& reply, const std::string& text) {
    return reply.kind == wire::Kind::error ? text : "the judge answered out of turn";
  }

  static Ruling ruling(const wire::Message& reply, const std::string& text) {
    if (reply.kind != wire::Kind::verdict) return {Ruling::Kind::harness_error, "", reply_error(reply, text)};
    const std::size_t line_break = text.find('\n');
    const auto kind = reply.status == wire::Status::good  ? Ruling::Kind::good
                      : reply.status == wire::Status::bad ? Ruling::Kind::bad
                                                          : Ruling::Kind::unsupported;
    const bool more = line_break != std::string::npos;
    return {kind, text.substr(0, line_break), more ? text.substr(line_break + 1) : std::string()};
  }

  std::string program_;
  int socket_ = -1, descriptor_ = -1;
  pid_t child_ = -1;
};

}  // namespace attest
