// Which arithmetic the errors of an output are like: emulates narrower kernels and keeps the narrowest that explains.
#pragma once

#include <string>
#include <vector>

#include "harness/key.h"
#include "oracles/narrow_row.h"

namespace attest {

// ATTEST_DEVIATION(name, words): one way to be narrower than f32 throughout with Q as it is.
enum class Deviation : std::uint8_t {
#define ATTEST_DEVIATION(name, words) name,
#include "harness/deviations.def"
#undef ATTEST_DEVIATION
};
std::string_view words(Deviation deviation);
// "Q rounded to f16 and an f16 accumulator"; "f32 throughout" for none.
std::string words(const std::vector<Deviation>& deviations);

// The deviations that a contract states.
std::vector<Deviation> stated_deviations(const ArithmeticContract& contract);
// The contract with `deviations` on top.
ArithmeticContract widened(ArithmeticContract contract, const std::vector<Deviation>& deviations);

struct Fingerprint {
  std::vector<Deviation> deviations;  // empty: f32 throughout
  double evidence = 0;    // of f32 throughout against the output: sum over elements of ln(1 + x^2), see below
  double remaining = 0;   // the same, of `deviations`
  bool explains = false;  // `deviations` leave errors of the size of f32 roundings
  std::string text() const { return words(deviations); }
};

// Emulates candidates on `rows` (a few, those that are wrong where something is) and compares with `out`.
//
// x is an element's distance from a candidate in units of what f32 arithmetic may differ by; its log-likelihood is that
// of a Cauchy distribution, -ln(1 + x^2), so that single roundings that fell the other way weigh little. Starting from
// f32 throughout, the deviation with the largest gain is added as long as the gain exceeds 2 ln(elements) (BIC with a
// margin), three at most; orders of summation other than the stated one are tried where they matter and the stated one
// does not explain. The result is therefore the narrowest arithmetic the output asks for, not the widest that would do.
Fingerprint fingerprint(Key& key, const ArithmeticContract& stated, const TensorView& out,
                        const std::vector<Row>& rows);

}  // namespace attest
