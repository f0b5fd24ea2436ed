// Asks a backend about one case after the other as `attest run --case` would, and keeps the answers in a file.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "harness/run/runner.h"
#include "harness/shrink/shrinker.h"
#include "reports/sink.h"

namespace attest {

// What was asked so far: the first line says what about, each further one an answer. A later search of the same
// question goes on from there; what a kill cut short is asked again.
class ShrinkState {
 public:
  // A file that is about something else is an input error. "" keeps nothing.
  static Expected<ShrinkState> open(const std::string& path, const std::string& question);

  const Observation* find(const std::string& line) const;
  Expected<void> add(const std::string& line, const Observation& seen);
  std::size_t known() const { return known_; }  // answers that were there

 private:
  std::map<std::string, Observation> seen_;
  std::size_t known_ = 0;
  std::unique_ptr<Sink> sink_;
};

// A pass is a pass, whatever it could have seen.
Observation observation_of(const VerdictRecord& record);

// Every question is a run of its own, in subject processes of its own: nothing that an earlier case left is there.
class RunExaminer {
 public:
  RunExaminer(std::string backend, const SubjectMaker& make_subject, const RunOptions& options, ShrinkState& state)
      : backend_(std::move(backend)), make_subject_(make_subject), options_(options), state_(state) {}

  Expected<Observation> examine(const Case& c);
  // The same without the state: the whole record.
  Expected<VerdictRecord> record(const Case& c);

 private:
  std::string backend_;
  const SubjectMaker& make_subject_;
  const RunOptions& options_;
  ShrinkState& state_;
};

}  // namespace attest
