#include "harness/check/expected_subject.h"

#include <cstring>
#include <deque>

namespace attest {
namespace {

class ExpectedSubject final : public Subject {
 public:
  explicit ExpectedSubject(const CapturedCases& cases) : cases_(cases) {}

  Expected<SubjectInfo> start() override {
    answers_.clear();
    return SubjectInfo{kFileParty, "the expected outputs", "expected output of the files"};
  }

  SubjectAnswer ask(const Case& c, const std::string&) override {
    SubjectAnswer answer;
    const auto expected = cases_.expectation(c);
    answer.kind = expected ? SubjectAnswer::Kind::accepted : SubjectAnswer::Kind::unsupported;
    if (expected) answer.contract = expected->contract;
    if (!expected) answer.text = expected.error().text();
    return answer;
  }

  void post(std::size_t, const Place& place, const Case& c, const std::string&) override {
    SubjectAnswer answer;
    const auto expected = cases_.expectation(c);
    if (!expected) {
      answer.kind =
          expected.error().kind == ErrorKind::input ? SubjectAnswer::Kind::unsupported : SubjectAnswer::Kind::failed;
      answer.text = expected.error().text();
      answers_.push_back(answer);
      return;
    }
    const TensorPlan out = plan_inputs(c.problem).out;
    std::memcpy(place.buffers().out + out.offset, expected->output.bytes.data(), expected->output.bytes.size());
    answer.kind = SubjectAnswer::Kind::accepted;
    answer.contract = expected->contract;
    answers_.push_back(answer);
    answer.kind = SubjectAnswer::Kind::done;
    answers_.push_back(answer);
  }

  SubjectAnswer next(double) override {
    SubjectAnswer answer;
    answer.kind = SubjectAnswer::Kind::failed;
    answer.text = "nothing was posted";
    if (answers_.empty()) return answer;
    answer = answers_.front();
    answers_.pop_front();
    return answer;
  }

 private:
  const CapturedCases& cases_;
  std::deque<SubjectAnswer> answers_;
};

}  // namespace

std::unique_ptr<Subject> make_expected_subject(const CapturedCases& cases) {
  return std::make_unique<ExpectedSubject>(cases);
}

}  // namespace attest
