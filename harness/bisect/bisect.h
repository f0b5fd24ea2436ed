// Finds the first step of a history at which a case is bad: premise, search, and what was seen on both sides.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cases/case.h"
#include "harness/bisect/history.h"
#include "harness/bisect/measurement.h"
#include "harness/bisect/predicate.h"
#include "harness/run/blob_store.h"

namespace attest {

struct BisectQuestion {
  Case c;
  // For steps that are ggml builds: "" is ggml:CPU. Without variant=, every step runs the best CPU variant that both
  // ends have, unless own_variant. For plug-in files: "" or "plugin,option...".
  std::string backend;
  bool own_variant = false;
  Predicate when;
  bool find_fix = false;  // the older end is the bad one, and the first good step is asked for
};

// One step, and what it came to.
struct StepReport {
  Step step;
  Specimen specimen;  // only where it was obtained
  std::string backend;
  Measurement measurement;
  Answer bad = Answer::unknown;
  bool kept = false;   // from the verdicts on disk: nothing was built, fetched or run
  double seconds = 0;  // obtaining and measuring
};

class BisectListener {
 public:
  virtual ~BisectListener() = default;
  virtual void on_doing(const std::string& /*what*/) {}  // "fetching 3.15.0": may take a while
  // Both ends are as they should be; `about`: what makes a step bad, with the limit in numbers.
  virtual void on_premise(const StepReport& /*older*/, const StepReport& /*newer*/, const std::string& /*about*/) {}
  virtual void on_left(const StepsLeft& /*left*/, double /*seconds*/) {}  // 0 seconds: not known
  virtual void on_step(const StepReport& /*step*/) {}
};

struct BisectOptions {
  std::string version;          // of attest: another one's verdicts do not count
  std::string machine;          // what CPU this is: nor do another one's
  std::filesystem::path cache;  // verdicts and keys are kept below it
  bool fresh = false;           // take nothing from there
  bool retry_unknown = false;   // nor what could not be judged
  double timeout_s = 0;
  std::uint64_t max_memory = 0;  // what `subjects` allows; verdicts with another limit do not count
  std::atomic<bool>* interrupted = nullptr;
  // Makes the subjects of a backend whose builds are these.
  std::function<SubjectMaker(const BackendEnvironment&)> subjects;
  // CPU variants of a ggml build that run here, best first; empty where it has but one CPU backend.
  std::function<Expected<std::vector<std::string>>(const GgmlBuild&)> variants;
};

struct BisectOutcome {
  enum class Kind : std::uint8_t {
    found,          // candidates has one step
    range,          // the first bad (good) one is among the candidates: the others could not be judged
    premise_false,  // `premise` says how
    interrupted,
  };
  Kind kind = Kind::found;
  std::string premise;
  StepReport older, newer;             // the ends
  StepReport before, after;            // the last step like the older end, the first one known to be like the newer
  std::vector<StepReport> candidates;  // oldest first, `after` last
  int steps = 0, kept = 0;             // looked at besides the ends, and how many of them had been before
  int unknown = 0;
};

// Errors: kind harness where a step cannot be had for a reason that is not its own (no network, full disk).
Expected<BisectOutcome> bisect(const BisectQuestion& question, BisectHistory& history, const BisectOptions& options,
                               BisectListener& listener);

// The backend a specimen is asked through: the question's with `variant`, or its plug-in file with the question's
// options. An input error where the question's backend does not fit.
Expected<std::string> backend_of(const BisectQuestion& question, const Specimen& specimen, const std::string& variant);

// Judges one specimen as bisect() does.
Expected<Measurement> measure_specimen(const BisectQuestion& question, const Specimen& specimen,
                                       const std::string& variant, const BisectOptions& options);

}  // namespace attest
