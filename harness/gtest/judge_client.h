// Asks a judge process about kernels and outputs of this process; attest/gtest.h and attest/gmock.h are made of it.
#pragma once

#include <attest/fault_watch.h>
#include <attest/judge_process.h>
#include <attest/kernel.h>
#include <attest/wire_io.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace attest {

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

 private:
  Judge() = default;

  bool ask(const wire::Message& request, const std::string& text, wire::Message& reply, std::string& reply_text,
           const void* payload = nullptr, std::size_t bytes = 0) {
    reply = wire::message(wire::Kind::error);
    reply_text.clear();
    const bool there = process_.started() && wire::send(process_.socket(), request, text, payload, bytes) &&
                       wire::receive(process_.socket(), reply, reply_text, &descriptor_);
    if (there) return true;
    reply = wire::message(wire::Kind::error);
    reply_text = "the judge '" + process_.program() + "' cannot be started, is of another version, or ended";
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
    } catch (...) {  // an answer all the same: the judge waits for one, and every later test would fail
      answer.status = wire::Status::bad;
      words = "the kernel threw what is no std::exception";
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

  JudgeProcess process_;
  int descriptor_ = -1;
};

}  // namespace attest
