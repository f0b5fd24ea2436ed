#include "backends/metal/outcome.h"

#include <chrono>
#include <new>

namespace attest::metal {

Outcome outcome_of(const std::string& who, const std::function<Expected<DispatchResult>()>& work) {
  Outcome outcome;
  const auto start = std::chrono::steady_clock::now();
  try {
    const auto result = work();
    if (!result) {
      outcome.ok = false;
      outcome.error = who + ": " + result.error().text();
    } else {
      outcome.cpu_seconds = result->cpu_seconds;
      for (const std::string& note : result->notes) outcome.note += (outcome.note.empty() ? "" : "; ") + note;
      outcome.ok = result->findings.empty();
      if (!outcome.ok) outcome.finding = result->findings.front().verdict;
      for (const Finding& f : result->findings) outcome.error += (outcome.error.empty() ? "" : "\n") + f.text;
    }
  } catch (const std::bad_alloc&) {
    outcome.ok = false;
    outcome.error = who + ": out of memory";
  }
  outcome.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

}  // namespace attest::metal
