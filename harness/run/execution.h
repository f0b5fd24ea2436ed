// One case on one backend without its key: the output's bits and the time, or what went wrong.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cases/case.h"
#include "harness/run/place.h"
#include "harness/run/runner.h"

namespace attest {

struct Execution {
  std::vector<std::byte> bits;  // the output's allocation; empty where there is a verdict
  ArithmeticContract contract;  // of the path it took
  double cpu_s = 0;             // what the backend used
  std::string verdict, detail;  // what went wrong; empty: nothing
  std::string note;             // what a simulator noticed beside
};

// Keeps the subject between executions. Not thread-safe.
class Bench {
 public:
  // timeout_s 0: from the case's cost.
  Bench(std::string backend, SubjectMaker make_subject, double timeout_s = 0);

  // A subject that is gone is started again first. Errors: the subject's start(); kind harness where the backend does
  // not take the case, with its reason.
  Expected<Execution> execute(const Case& c);
  // Why the backend does not take the case; "": it does, or answers with a fault. Errors: the subject's start().
  Expected<std::string> unsupported(const Case& c);

 private:
  Expected<void> start();
  std::string backend_;
  SubjectMaker make_subject_;
  double timeout_s_;
  Place place_;
  std::string in_place_;  // the line whose inputs lie there
  std::unique_ptr<Subject> subject_;
  bool alive_ = false;
};

}  // namespace attest
