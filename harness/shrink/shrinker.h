// A failing case made as plain as it can be while it fails in the same way, and where the failure begins and ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"
#include "harness/shrink/line_edits.h"
#include "reports/record.h"

namespace attest {

// What a backend made of a case.
struct Observation {
  Verdict verdict = Verdict::PASS;
  std::string suspect;
  bool operator==(const Observation&) const = default;
  std::string text() const;  // "FAIL, suspected tail"
};

enum class Keep : std::uint8_t {
  class_,   // same verdict, same suspected class
  verdict,  // same verdict
  bad,      // any bad verdict
};

struct ShrinkOptions {
  Keep keep = Keep::class_;
  std::int64_t most_runs = 2000;
};

struct ShrinkResult {
  Case minimal;
  Observation seen;                    // of the minimal case
  std::string note;                    // where another class than the line\'s own was kept, and why
  std::vector<std::string> remaining;  // "softcap=10: without it PASS": why each non-default key stays
  std::vector<std::string> bounds;     // "n_kv: fails for n_kv > 2048"
  std::int64_t runs = 0;               // different cases asked about
  bool exhausted = false;              // most_runs was reached: the case may not be minimal
};

// Runs a case; the error ends the search.
using Examine = std::function<Expected<Observation>(const Case&)>;
// Told whenever a plainer case is found.
using OnStep = std::function<void(const Case&, const std::string& what)>;

// Passes over the line, each taking the first plainer case that still fails in the same way (rank_of(): fewer
// non-default keys, then shortlex), until no pass finds one: keys dropped in groups and one by one, terms dropped,
// words replaced, numbers lowered (small and round ones first, then halving down to the smallest that fails between the
// last that did not and one that does). No case is asked about twice. A function of its arguments and of what `examine`
// answers.
Expected<ShrinkResult> shrink(const Case& failing, const Observation& seen, const ShrinkOptions& options,
                              const Examine& examine, const OnStep& on_step = {});

// What holds for exactly the numbers that failed: "n > 2048", "n % 64 != 0", "n > 64 and n % 32 == 1", "n = 7"; the
// plainest that fits, "" where none does or where all did. `tried`: number -> failed.
std::string boundary_text(const std::string& name, const std::map<std::int64_t, bool>& tried);

}  // namespace attest
