// Runs a program to its end: what it printed, how it ended; in any directory, with a time limit and an interrupt.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cases/error.h"

namespace attest {

struct ChildOptions {
  std::filesystem::path directory;                               // to run in; empty: this process's
  std::vector<std::pair<std::string, std::string>> environment;  // added to this process's; value "": taken out
  std::filesystem::path log;                                     // takes both outputs instead of ChildEnd; empty: none
  double timeout_s = 0;                                          // 0: none
  const std::atomic<bool>* interrupted = nullptr;                // set: the child is ended
};

struct ChildEnd {
  std::string out, err;
  int code = 0;                            // exit code, where no signal ended it
  int signal = 0;                          // that ended it
  bool late = false, interrupted = false;  // it was ended, with whatever it had started

  bool ok() const { return code == 0 && signal == 0 && !late && !interrupted; }
  // "exited with code 2", "was ended by signal 11", "did not end in time", "was interrupted".
  std::string how() const;
};

// The child leads a process group of its own: a Ctrl-C is for attest, which ends the group. Standard input is empty.
// Error (harness): it cannot be started.
Expected<ChildEnd> run_child(const std::vector<std::string>& argv, const ChildOptions& options = {});

// Standard output of `argv` alone. Errors (harness): cannot be started, ended by a signal, exit code not 0, or no end
// within `timeout_s`.
Expected<std::string> child_output(const std::vector<std::string>& argv, double timeout_s);

}  // namespace attest
