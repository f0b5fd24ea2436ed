#include <deque>

#include "harness/run/subject.h"

namespace attest {

namespace {

class InProcessSubject final : public Subject {
 public:
  explicit InProcessSubject(std::function<Expected<std::unique_ptr<Backend>>()> make) : make_(std::move(make)) {}

  Expected<SubjectInfo> start() override {
    posted_.clear();
    auto made = make_();
    if (!made) return Unexpected(made.error());
    backend_ = std::move(*made);
    return SubjectInfo{backend_->name(), backend_->build_id(), backend_->description()};
  }

  SubjectAnswer ask(const Case& c, const std::string&) override {
    SubjectAnswer answer;
    if (const Support support = support_of(*backend_, c.problem); !support.yes) {
      answer.kind = SubjectAnswer::Kind::unsupported;
      answer.text = support.reason;
      return answer;
    }
    answer.kind = SubjectAnswer::Kind::accepted;
    answer.contract = backend_->contract(c.problem);
    return answer;
  }

  void post(std::size_t, const Place& place, const Case& c, const std::string&) override {
    posted_.push_back({c, place.buffers()});
  }

  SubjectAnswer next(double) override {
    SubjectAnswer answer;
    if (posted_.empty()) {
      answer.kind = SubjectAnswer::Kind::failed;
      answer.text = "nothing was posted";
      return answer;
    }
    const Posted& p = posted_.front();
    const AttentionProblem& problem = p.c.problem;
    if (!accepted_) {
      answer = ask(p.c, {});
      accepted_ = answer.kind == SubjectAnswer::Kind::accepted;
      if (!accepted_) posted_.pop_front();
      return answer;
    }
    const InputPlan plan = plan_inputs(problem);
    const Outcome outcome = backend_->run(input_views(p.c, plan, p.buffers), output_view(plan, p.buffers));
    answer.kind = outcome.ok ? SubjectAnswer::Kind::done : SubjectAnswer::Kind::failed;
    answer.text = outcome.ok ? outcome.note : outcome.error;
    if (!outcome.ok && !outcome.finding.empty()) {
      answer.kind = SubjectAnswer::Kind::found;
      answer.text = outcome.finding + "\n" + outcome.error;
    }
    answer.cpu_seconds = outcome.cpu_seconds;
    answer.wall_seconds = outcome.wall_seconds;
    posted_.pop_front();
    accepted_ = false;
    return answer;
  }

 private:
  struct Posted {
    Case c;
    InputBuffers buffers;
  };
  std::function<Expected<std::unique_ptr<Backend>>()> make_;
  std::unique_ptr<Backend> backend_;
  std::deque<Posted> posted_;
  bool accepted_ = false;
};

}  // namespace

std::unique_ptr<Subject> make_in_process_subject(std::function<Expected<std::unique_ptr<Backend>>()> make) {
  return std::make_unique<InProcessSubject>(std::move(make));
}

}  // namespace attest
