// Cases of a suite as parameterised tests of your own kernel, judged by attest.
//
//   const attest::Kernel kMine{"mine", [](const attest_problem& p, float* out) { my_attention(p, out); }};
//   ATTEST_SUITE(MyKernel, "quick", kMine);      // tests Attest/MyKernel.ComputesAttention/<case>
//
// A case that the kernel does not take is skipped with its reason. One test more, .../takes_some_case, fails where it
// takes none of several: also with a process per test (gtest_discover_tests) or shards, where none would see that all
// are skipped.
#pragma once

#include <attest/judge_client.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace attest {

struct SuiteParameter {
  SuiteCase the_case;
  std::string suite, error;  // error: why there are no cases; then there is this one parameter
  bool any_case = false;     // of no case: the kernel must take one of the suite
};
inline void PrintTo(const SuiteParameter& p, std::ostream* out) { *out << p.the_case.line; }

inline std::vector<SuiteParameter> suite_parameters(const std::string& suite) {
  std::vector<SuiteParameter> all;
  std::string error;
  for (SuiteCase& c : Judge::get().cases(suite, error)) all.push_back({std::move(c), suite, {}, false});
  if (all.empty()) all.push_back({{"none", ""}, suite, error.empty() ? "no cases" : error, false});
  if (all.size() > 1) all.push_back({{"takes_some_case", ""}, suite, {}, true});
  return all;
}

// "d_64_n_q_3_n_kv_70_mask_causal_0123456789abcdef"
inline std::string parameter_name(const ::testing::TestParamInfo<SuiteParameter>& info) {
  const std::string& line = info.param.the_case.line;
  std::string name;
  for (const char c : line.substr(std::min(line.find(' ') + 1, line.size()))) {
    if (name.size() >= 60) break;
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (plain || (!name.empty() && name.back() != '_')) name += plain ? c : '_';
  }
  if (!name.empty() && name.back() != '_') name += '_';
  return name + info.param.the_case.id;
}

// How to run the current test alone.
inline std::string this_test_again() {
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  return test == nullptr ? std::string()
                         : std::string("--gtest_filter='") + test->test_suite_name() + "." + test->name() + "'";
}

class SuiteTest : public ::testing::TestWithParam<SuiteParameter> {
 protected:
  void Compare(const Kernel& kernel) {
    const SuiteParameter& p = GetParam();
    if (!p.error.empty()) FAIL() << "suite '" << p.suite << "': " << p.error;
    if (p.any_case) return ExpectToTakeSomeCase(kernel, p.suite);
    const Ruling ruling = Judge::get().judge(kernel, p.the_case.line, p.suite);
    RecordProperty("attest_line", p.the_case.line);
    RecordProperty("attest_verdict", ruling.verdict);
    switch (ruling.kind) {
      case Ruling::Kind::unsupported:
        GTEST_SKIP() << ruling.explanation;
      case Ruling::Kind::good:
        return;
      case Ruling::Kind::bad:
        FAIL() << ruling.verdict << "  " << kernel.name << "\n"
               << ruling.explanation << "  repro   " << this_test_again() << "\n";
      case Ruling::Kind::harness_error:
        FAIL() << "nothing was compared: " << ruling.explanation;
    }
  }

 private:
  static void ExpectToTakeSomeCase(const Kernel& kernel, const std::string& suite) {
    std::string error;
    const std::vector<SuiteCase> cases = Judge::get().cases(suite, error);
    for (const SuiteCase& c : cases) {
      GuardedInputs inputs;
      try {
        inputs = Judge::get().open(c.line);
      } catch (const std::runtime_error& e) {  // of another op, which no kernel of a test is asked for
        error = e.what();
        continue;
      }
      if (!kernel.unsupported || kernel.unsupported(inputs.problem()).empty()) return;
    }
    FAIL() << "the kernel took none of " << cases.size() << " cases: nothing was compared"
           << (error.empty() ? "" : " (" + error + ")");
  }
};

}  // namespace attest

#define ATTEST_SUITE(test_suite, suite, kernel)                                                        \
  class test_suite : public ::attest::SuiteTest {};                                                    \
  TEST_P(test_suite, ComputesAttention) { Compare(kernel); }                                           \
  INSTANTIATE_TEST_SUITE_P(Attest, test_suite, ::testing::ValuesIn(::attest::suite_parameters(suite)), \
                           ::attest::parameter_name)
