// A kernel as a test hands it to the judge, and what the judge says of it.
#pragma once

#include <attest/attest_plugin.h>

#include <functional>
#include <string>

namespace attest {

// A kernel under test. What it gets is described in attest_plugin.h: shapes, strides, data; what it has to compute,
// too.
struct Kernel {
  std::string name;
  // Writes O [d_v, n_head, n_q, n_seq], f32, contiguous. An exception makes the case fail.
  std::function<void(const attest_problem& problem, float* out)> run;
  // Why it does not take the problem; "": it does. Left out: it takes them all.
  std::function<std::string(const attest_problem& problem)> unsupported = {};
  // What is different from arithmetic in f32 throughout. The error budget follows from it.
  std::function<void(const attest_problem& problem, attest_contract& contract)> contract = {};
};

struct Ruling {
  enum class Kind { good, bad, unsupported, harness_error } kind = Kind::harness_error;
  std::string verdict;      // PASS, BLIND, FAIL, NAN ... (attest list verdicts)
  std::string explanation;  // the worst element, its budget, what triage makes of it; or the reason
};

}  // namespace attest
