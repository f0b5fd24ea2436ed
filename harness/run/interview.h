// One case on one backend, by hand: the verdict, and the output itself to look at.
#pragma once

#include <memory>
#include <vector>

#include "harness/compare.h"
#include "harness/run/place.h"
#include "harness/run/runner.h"

namespace attest {

struct Testimony {
  VerdictRecord record;  // as compare() or the fault left it; suspects are not run on fresh seeds
  ArithmeticContract contract;
  bool compared = false;          // the backend ran to its end
  std::vector<std::byte> output;  // O [d_v, n_head, n_q, n_seq], contiguous f32, where compared
};

// Keeps the subject between questions. Not thread-safe.
class Interview {
 public:
  Interview(std::string backend, const SubjectMaker& make_subject, double timeout_s = 0);

  // Starts the subject, or starts it anew. The error is Subject::start()'s.
  Expected<SubjectInfo> start();
  // Runs the case; `key` is its key. A subject that is gone is started again first.
  Expected<Testimony> ask(const Case& c, Key& key);
  // The same with a key of its own, for the verdict alone.
  Expected<Verdict> verdict(const Case& c, const KeyOptions& options);

 private:
  std::string backend_;
  SubjectMaker make_subject_;
  double timeout_s_;
  Place place_;
  std::unique_ptr<Subject> subject_;
  SubjectInfo info_;
  bool alive_ = false;
};

}  // namespace attest
