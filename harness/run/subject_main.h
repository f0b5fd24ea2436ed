// The subject process: loads one backend, runs the cases the judge names, and says where it was hit if it dies.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/registry.h"

namespace attest {

using BackendFactory =
    std::function<Expected<std::unique_ptr<Backend>>(const BackendSpec&, const BackendEnvironment&)>;

// First word of a subject's command line; everything after it is between judge and subject.
inline constexpr const char* kSubjectVerb = "__subject";

// Descriptors a subject inherits: the control socket, the fault report, then the places.
inline constexpr int kControlFd = 3, kFaultFd = 4, kFirstPlaceFd = 5;

struct SubjectArguments {
  std::string backend;
  BackendEnvironment environment;
  int places = 0;
  std::uint64_t max_memory = 0;  // bytes of address space, 0: no limit
  std::int64_t judge = 0;        // process id: the subject ends when its judge does, whatever it is doing

  std::vector<std::string> to_words() const;  // after kSubjectVerb
  static Expected<SubjectArguments> from_words(const std::vector<std::string>& words);
};

// Runs until the judge closes the socket. Returns the process's exit code.
int subject_main(const std::vector<std::string>& words, const BackendFactory& factory);

}  // namespace attest
