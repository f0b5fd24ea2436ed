// A GoogleMock backend and subject: drive the runner through orders, retries and faults no real kernel would repeat.
#pragma once

#include <gmock/gmock.h>

#include "backends/backend.h"
#include "harness/run/subject.h"
#include "oracles/scalar_oracle.h"

namespace attest {

class MockBackend : public Backend {
 public:
  MOCK_METHOD(std::string, name, (), (const, override));
  MOCK_METHOD(std::string, description, (), (const, override));
  MOCK_METHOD(std::string, build_id, (), (const, override));
  bool has_op(Op) const override { return true; }
  MOCK_METHOD(Support, supports, (const AttentionProblem&), (const, override));
  MOCK_METHOD(ArithmeticContract, contract, (const AttentionProblem&), (const, override));
  MOCK_METHOD(Outcome, run, (const AttentionInputs&, const MutableTensorView&), (override));
};

class MockSubject : public Subject {
 public:
  MOCK_METHOD(Expected<SubjectInfo>, start, (), (override));
  MOCK_METHOD(SubjectAnswer, ask, (const Case&, const std::string&), (override));
  MOCK_METHOD(void, post, (std::size_t, const Place&, const Case&, const std::string&), (override));
  MOCK_METHOD(SubjectAnswer, next, (double), (override));
};

// The right answer, rounded to f32: what a perfect backend writes.
inline Outcome write_truth(const AttentionInputs& inputs, const MutableTensorView& out) {
  std::vector<double> values(static_cast<std::size_t>(out.ne[0]));
  for (std::int64_t s = 0; s < out.ne[3]; ++s) {
    for (std::int64_t i = 0; i < out.ne[2]; ++i) {
      for (std::int64_t h = 0; h < out.ne[1]; ++h) {
        scalar_oracle(inputs, {s, h, i}, values);
        auto* o = reinterpret_cast<float*>(out.row(h, i, s));
        for (std::size_t e = 0; e < values.size(); ++e) o[e] = static_cast<float>(values[e]);
      }
    }
  }
  return {};
}

}  // namespace attest
