// A matcher for attention outputs: every element within the error budget that its problem and contract allow.
//
//   const attest::Problem problem("flash_attn_ext d=64 n_head=2 n_q=3 n_kv=100 mask=causal");
//   EXPECT_THAT(my_attention(problem->q, problem->k, ...), attest::WithinBudget(problem));
#pragma once

#include <attest/gtest.h>
#include <gmock/gmock.h>

#include <memory>
#include <ostream>
#include <string>
#include <utility>

namespace attest {

// A case's tensors, to be read like a pointer to attest_problem (attest_plugin.h). Throws std::runtime_error where the
// line is no case or attest cannot be started.
class Problem {
 public:
  explicit Problem(const std::string& line) : inputs_(std::make_shared<GuardedInputs>(Judge::get().open(line))) {}
  const attest_problem& operator*() const { return inputs_->problem(); }
  const attest_problem* operator->() const { return &inputs_->problem(); }
  const std::string& line() const { return inputs_->line(); }
  // A contract to be changed where the kernel's arithmetic is narrower.
  attest_contract f32_throughout() const { return inputs_->f32_throughout(); }
  // Elements of the output [d_v, n_head, n_q, n_seq].
  std::size_t elements() const {
    const attest_problem& p = inputs_->problem();
    return static_cast<std::size_t>(p.d_v * p.n_head * p.n_q * p.n_seq);
  }

 private:
  std::shared_ptr<const GuardedInputs> inputs_;
};

// Matches anything with data() and size() of float. What fails is told with the worst element, its budget and what
// triage makes of it. A verdict in doubt (above 8 sigma, below 13.9) passes: only ATTEST_SUITE can ask again.
class WithinBudgetMatcher {
 public:
  WithinBudgetMatcher(Problem problem, const attest_contract& contract)
      : problem_(std::move(problem)), contract_(contract) {}

  template <class Output>
  bool MatchAndExplain(const Output& output, ::testing::MatchResultListener* listener) const {
    const float* values = output.data();
    const auto elements = static_cast<std::size_t>(output.size());
    if (elements != problem_.elements()) {
      *listener << "which has " << elements << " elements, and the output of '" << problem_.line() << "' has "
                << problem_.elements();
      return false;
    }
    const Ruling ruling = Judge::get().rule(problem_.line(), contract_, values, elements);
    *listener << "which is " << (ruling.verdict.empty() ? "not compared" : ruling.verdict) << "\n"
              << ruling.explanation;
    if (ruling.kind != Ruling::Kind::good) *listener << "  repro   " << this_test_again() << "\n";
    return ruling.kind == Ruling::Kind::good;
  }
  void DescribeTo(std::ostream* out) const { *out << "is attention within its error budget, " << problem_.line(); }
  void DescribeNegationTo(std::ostream* out) const {
    *out << "is not attention within its error budget, " << problem_.line();
  }

 private:
  Problem problem_;
  attest_contract contract_;
};

inline ::testing::PolymorphicMatcher<WithinBudgetMatcher> WithinBudget(const Problem& problem,
                                                                       const attest_contract& contract) {
  return ::testing::MakePolymorphicMatcher(WithinBudgetMatcher(problem, contract));
}
inline ::testing::PolymorphicMatcher<WithinBudgetMatcher> WithinBudget(const Problem& problem) {
  return WithinBudget(problem, problem.f32_throughout());
}

}  // namespace attest
