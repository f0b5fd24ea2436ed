// The rules by which kernels are judged elsewhere, applied to the measures of a verdict: for comparison, never to rule.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "reports/record.h"

namespace attest {

struct ClassicalRule {
  std::string_view name, says;
};
inline constexpr std::size_t kClassicalRules = 5;
inline constexpr std::array<ClassicalRule, kClassicalRules> kRules{{
    {"NMSE 5e-4", "test-backend-ops: squared error over squared reference, whole tensor"},
    {"allclose 1e-3", "|error| <= 1e-3 + 1e-3 |reference| everywhere"},
    {"allclose 1e-2", "|error| <= 1e-2 + 1e-2 |reference| everywhere"},
    {"2x standard", "flash-attention's tests: largest error <= 2 x that of standard attention in the same precision"},
    {"cosine 0.999", "cosine of output and reference > 0.999"},
}};

using RuleSays = std::array<bool, kClassicalRules>;

// Which of them reject the output. standard_max_abs: the largest error of standard attention in f32 on the same case.
// Guard pages, red zones and read-only inputs are not theirs: an output nobody could compare is rejected only where the
// kernel crashed, hung or failed, or the output was not finite or not written.
RuleSays rejected_by(const VerdictRecord& record, double standard_max_abs);

}  // namespace attest
