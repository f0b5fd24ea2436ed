// What one case on one step of a history came to: verdict, errors, bits, time; kept on disk for the next bisect.
#pragma once

#include <atomic>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "cases/case.h"
#include "harness/run/runner.h"
#include "reports/record.h"

namespace attest {

struct Measurement {
  std::string unknown;   // not empty: nothing was compared, and why
  VerdictRecord record;  // as `attest run` gives it
  std::string bits;      // fingerprint of the output's bytes; "": none, or not the same when run again
  double cpu_s = 0;      // least CPU time of the backend in many runs; 0: not asked for
  std::string like;      // the arithmetic the output's errors are like (fingerprint.h); "": none attest knows
  std::string release;   // what the step's build calls itself, e.g. "llama.cpp b6845"; may be empty

  bool operator==(const Measurement&) const = default;

  // The backend ran to its end and its output was held against the references.
  bool compared() const;
  // Largest absolute error of a judged element and NMSE; infinite where the output is NaN, Inf or not written.
  double error() const;
  double nmse() const;
};

// One line for people: "FAIL, err 0.0657, NMSE 0.057", or why nothing was compared.
std::string summary(const Measurement& measurement);

// As text, and back; nothing where the text is of another version of attest.
std::string to_text(const Measurement& measurement);
std::optional<Measurement> measurement_from_text(std::string_view text);

struct MeasureOptions {
  bool timed = false;           // fill cpu_s
  double timeout_s = 0;         // deadline per case; 0: from its cost
  std::filesystem::path cache;  // of keys; empty: nowhere
  std::atomic<bool>* interrupted = nullptr;
};

// Runs the case on the backend, in subject processes. A backend that does not load, or does not take the case, is
// `unknown` with its reason. The error is of kind harness: interrupted.
Expected<Measurement> measure(const Case& c, const std::string& backend, const SubjectMaker& make_subject,
                              const MeasureOptions& options);

}  // namespace attest
