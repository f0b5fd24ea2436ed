// The judge's handle on a subject: post cases, read answers, learn what killed it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "cases/case.h"
#include "harness/run/place.h"
#include "harness/run/subject_main.h"
#include "reports/record.h"

namespace attest {

struct SubjectInfo {
  std::string name, build_id, description;
};

// How a subject ended or misbehaved: CRASH, HANG, OOM, OOB or INPUT-WRITTEN, and a sentence for people.
struct Fault {
  Verdict verdict = Verdict::CRASH;
  std::string detail;
};

struct SubjectAnswer {
  enum class Kind : std::uint8_t { accepted, unsupported, done, failed, found, fault, interrupted };
  Kind kind = Kind::done;
  ArithmeticContract contract;               // accepted
  double cpu_seconds = 0, wall_seconds = 0;  // done
  std::string text;                          // unsupported: reason; failed: what the backend said; found: verdict \n
                                             // what; done: what a simulator noticed beside
  Fault fault;                               // fault, interrupted: the subject is gone until start() is called again
};

class Subject {
 public:
  virtual ~Subject() = default;
  // (Re)starts it. The error is the backend's own: kind input where its name is wrong (no such backend, variant,
  // option), kind harness where it is not to be had here (no such library, wrong architecture, no such device).
  virtual Expected<SubjectInfo> start() = 0;
  // Which code path the backend would take and what it promises there, without running: accepted or unsupported (or
  // a fault). Only when nothing is posted.
  virtual SubjectAnswer ask(const Case& c, const std::string& line) = 0;
  // Queues a case whose inputs lie in `place`, the index-th place this subject was made with.
  virtual void post(std::size_t index, const Place& place, const Case& c, const std::string& line) = 0;
  // The next answer, in order of posting: accepted then done (or failed), or unsupported. A fault drops every case
  // posted after the one that failed. Waits at most `timeout_s`; then the subject is killed and the answer is HANG.
  virtual SubjectAnswer next(double timeout_s) = 0;
};

// A process of its own that loads the backend.
struct ProcessSubjectOptions {
  std::vector<std::string> command;  // program and leading words up to kSubjectVerb
  std::string backend;
  BackendEnvironment environment;
  std::vector<int> place_fds;
  std::uint64_t max_memory = 0;
  const std::atomic<bool>* interrupted = nullptr;  // set: next() ends the subject instead of waiting for it
};
std::unique_ptr<Subject> make_process_subject(ProcessSubjectOptions options);

// The backend in this process, for debuggers and for tests: nothing protects the run from it.
std::unique_ptr<Subject> make_in_process_subject(std::function<Expected<std::unique_ptr<Backend>>()> make);

}  // namespace attest
