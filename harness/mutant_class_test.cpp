#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "backends/mutant/mutant_backend.h"
#include "cases/inputs.h"
#include "cases/suites/suite.h"
#include "harness/compare.h"
#include "harness/run/interview.h"
#include "harness/triage.h"

namespace attest {
namespace {

constexpr double kMostFlop = 3e6;

std::unique_ptr<Subject> make_subject(const std::string& backend, const std::vector<int>& places) {
  return make_process_subject({{ATTEST_EXECUTABLE, kSubjectVerb}, backend, {}, places, 0, nullptr});
}

// Cases of quick and what the references say of each, shared by all mutants.
class Court {
 public:
  Court() : suite_(load_suite("quick")) {
    for (const Case& c : suite_->cases) {
      if (flop(c.problem) <= kMostFlop) seats_.push_back({&c, nullptr, nullptr});
    }
  }

  // The record of the first bad verdict, triage included; nothing where every case passes.
  std::optional<VerdictRecord> first_kill(const std::string& backend) {
    Interview interview(backend, make_subject);
    for (Seat& s : seats_) {
      if (!s.owned) {
        s.owned = std::make_unique<OwnedInputs>(*s.c);
        s.key = std::make_unique<Key>(*s.c, s.owned->inputs(), KeyOptions{});
      }
      auto t = interview.ask(*s.c, *s.key);
      if (!t || !info(t->record.verdict).bad) continue;
      const Rerun rerun = [&](const Case& altered, bool fresh) -> std::optional<Verdict> {
        if (fresh && !interview.start()) return std::nullopt;
        const auto verdict = interview.verdict(altered, {});
        return verdict ? std::optional(*verdict) : std::nullopt;
      };
      TensorView out;
      static_cast<TensorShape&>(out) = s.owned->output();
      out.data = t->output.data();
      if (t->compared && t->record.verdict != Verdict::OOB) {
        triage(*s.key, t->contract, out, TriageDepth::full, rerun, t->record);
      } else {
        triage_fault(t->record);
      }
      return t->record;
    }
    return std::nullopt;
  }

 private:
  struct Seat {
    const Case* c;
    std::unique_ptr<OwnedInputs> owned;
    std::unique_ptr<Key> key;
  };
  Expected<Suite> suite_;
  std::vector<Seat> seats_;
};

TEST(MutantClass, IsNamedForFourOfFiveKilledMutants) {
  Court court;
  int killed = 0, right = 0;
  std::string wrong;
  for (const MutantRow& row : mutant_rows()) {
    const auto record = court.first_kill(row.backend);
    if (!record) continue;
    ++killed;
    const std::string& found = record->triage.suspect;
    if (found == row.suspected_class) {
      ++right;
    } else {
      wrong += fmt::format("{:<32} {:<13} {:<13} {:<9} {}\n    {}\n", row.backend, row.suspected_class, found,
                           info(record->verdict).name, record->triage.says, record->line);
    }
  }
  fmt::print("{} of {} killed mutants get their class; the others:\n{}", right, killed, wrong);
  EXPECT_GE(killed, 80);
  EXPECT_GE(5 * right, 4 * killed);
}

}  // namespace
}  // namespace attest
