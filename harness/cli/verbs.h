// The verbs of the attest command line; each adds its options to the parser and returns what runs it.
#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::cli {

// Exit codes (README, "Exit codes").
enum ExitCode : int { kOk = 0, kBad = 1, kUsage = 2, kHarness = 3, kUnavailable = 77, kInterrupted = 130 };
// What `git bisect run` understands: 0 and kBad as they are, skip this commit, and stop.
enum BisectStepCode : int { kSkipCommit = 125, kStopBisect = 128 };
inline constexpr std::string_view kBisectStepVerb = "bisect-step";

inline constexpr const char* kExitCodes =
    "Exit codes: 0 all as expected; 1 some verdict is bad; 2 usage or bad input; 3 the harness could not do\n"
    "its work (backend, library, directory, 0 cases); 77 with --skip-unavailable, a backend is not available\n"
    "here; 130 interrupted.";

inline constexpr const char* kBisectExitCodes =
    "Exit codes: 0 found; 2 usage, or an end is not what it is said to be; 3 steps that could not be judged leave\n"
    "more than one candidate, or the work could not be done; 130 interrupted (the same command goes on).";

// Adds a subcommand to `app`; the returned function runs it after parsing and gives the exit code.
using Verb = std::function<int()>;
Verb add_run(CLI::App& app);
Verb add_list(CLI::App& app);
Verb add_show(CLI::App& app);
Verb add_explain(CLI::App& app);
Verb add_accuracy(CLI::App& app);
Verb add_merge(CLI::App& app);
Verb add_fuzz(CLI::App& app);
Verb add_check(CLI::App& app);
Verb add_shrink(CLI::App& app);
Verb add_probe(CLI::App& app);
Verb add_sweep(CLI::App& app);
Verb add_coverage(CLI::App& app);
Verb add_race(CLI::App& app);
Verb add_report(CLI::App& app);
Verb add_history(CLI::App& app);
Verb add_compare(CLI::App& app);
Verb add_mutants(CLI::App& app);
Verb add_doctor(CLI::App& app);
Verb add_bisect(CLI::App& app);
Verb add_bisect_step(CLI::App& app);
Verb add_completion(CLI::App& app);

// Prints "attest: error: ..." to standard error and returns the exit code of the error's kind.
int report(const Error& error);
// The same for a backend that cannot be had, whoever's mistake it is: kHarness; kUsage where a file it is made of is
// wrong.
int report_backend(Error error);

// Operations attest knows, in both spellings; the error names the nearest.
Expected<std::string> operation(std::string_view name);

// To go with CLI's ranges, which let "nan" through: it lies neither below nor above a bound.
inline CLI::Validator finite() {
  return {[](std::string& text) {
            double value = 0;
            const bool fine = CLI::detail::lexical_cast(text, value) && std::isfinite(value);
            return fine ? std::string() : "'" + text + "' is no finite number";
          },
          ""};
}

// Set by the handler of SIGINT and SIGTERM.
std::atomic<bool>& interrupted();

}  // namespace attest::cli
