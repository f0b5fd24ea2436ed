// Cases of a suite as parameterised tests of your own kernel, judged by attest.
//
//   const attest::Kernel kMine{"mine", [](const attest_problem& p, float* out) { my_attention(p, out); }};
//   ATTEST_SUITE(MyKernel, "quick", kMine);      // tests Attest/MyKernel.ComputesAttention/<case>
//
// A case that the kernel does not take is skipped with its reason; a kernel that takes none of several fails.
#pragma once

#include <attest/judge_client.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <ostream>
#include <string>
#include <vector>

namespace attest {

struct SuiteParameter {
  SuiteCase the_case;
  std::string suite, error;  // error: why there are no cases; then there is this one parameter
};
inline void PrintTo(const SuiteParameter& p, std::ostream* out) { *out << p.the_case.line; }

inline std::vector<SuiteParameter> suite_parameters(const std::string& suite) {
  std::vector<SuiteParameter> all;
  std::string error;
  for (SuiteCase& c : Judge::get().cases(suite, error)) all.push_back({std::move(c), suite, {}});
  if (all.empty()) all.push_back({{"none", ""}, suite, error.empty() ? "no cases" : error});
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

// Tag keeps the counts of one ATTEST_SUITE apart from another's.
template <class Tag>
class SuiteTest : public ::testing::TestWithParam<SuiteParameter> {
 public:
  static void SetUpTestSuite() { taken() = skipped() = 0; }
  static void TearDownTestSuite() {
    if (taken() == 0 && skipped() > 1) ADD_FAILURE() << "the kernel took none of " << skipped() << " cases";
  }

 protected:
  void Compare(const Kernel& kernel) {
    const SuiteParameter& p = GetParam();
    if (!p.error.empty()) FAIL() << "suite '" << p.suite << "': " << p.error;
    const Ruling ruling = Judge::get().judge(kernel, p.the_case.line, p.suite);
    RecordProperty("attest_line", p.the_case.line);
    RecordProperty("attest_verdict", ruling.verdict);
    switch (ruling.kind) {
      case Ruling::Kind::unsupported:
        ++skipped();
        GTEST_SKIP() << ruling.explanation;
      case Ruling::Kind::good:
        ++taken();
        return;
      case Ruling::Kind::bad:
        ++taken();
        FAIL() << ruling.verdict << "  " << kernel.name << "\n"
               << ruling.explanation << "  repro   " << this_test_again() << "\n";
      case Ruling::Kind::harness_error:
        ++taken();
        FAIL() << "nothing was compared: " << ruling.explanation;
    }
  }

 private:
  static int& taken() {
    static int count = 0;
    return count;
  }
  static int& skipped() {
    static int count = 0;
    return count;
  }
};

}  // namespace attest

#define ATTEST_SUITE(test_suite, suite, kernel)                                                        \
  class test_suite : public ::attest::SuiteTest<test_suite> {};                                        \
  TEST_P(test_suite, ComputesAttention) { Compare(kernel); }                                           \
  INSTANTIATE_TEST_SUITE_P(Attest, test_suite, ::testing::ValuesIn(::attest::suite_parameters(suite)), \
                           ::attest::parameter_name)
