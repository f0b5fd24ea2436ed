// Tells which tensor a kernel left when the process is about to die of it.
#pragma once

#include <attest/guarded_inputs.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>

namespace attest {

// While it lives, a kernel that leaves its tensors is told so before the process dies of it as it would without.
class FaultWatch {
 public:
  explicit FaultWatch(const GuardedInputs& inputs) {
    watched() = &inputs;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &before()[0]);
    sigaction(SIGBUS, &action, &before()[1]);
  }
  ~FaultWatch() { restore(); }
  FaultWatch(const FaultWatch&) = delete;
  FaultWatch& operator=(const FaultWatch&) = delete;

 private:
  static const GuardedInputs*& watched() {
    static const GuardedInputs* inputs = nullptr;
    return inputs;
  }
  static struct sigaction* before() {
    static struct sigaction actions[2];
    return actions;
  }
  static void restore() {
    watched() = nullptr;
    sigaction(SIGSEGV, &before()[0], nullptr);
    sigaction(SIGBUS, &before()[1], nullptr);
  }
  static void on_fault(int, siginfo_t* info, void*) {
    char where[128], text[256];
    const GuardedInputs* inputs = watched();
    if (inputs != nullptr && inputs->describe(info->si_addr, where, sizeof where)) {
      const int n = std::snprintf(text, sizeof text, "attest: the kernel touched %s\nattest: case ", where);
      const auto say = [](const char* data, std::size_t bytes) { return write(STDERR_FILENO, data, bytes) >= 0; };
      if (say(text, static_cast<std::size_t>(n)) && say(inputs->line().data(), inputs->line().size())) say("\n", 1);
    }
    restore();  // and the same access is made again, for whoever handled it before
  }
};

}  // namespace attest
