#include "harness/run/interview.h"

#include "cases/inputs.h"
#include "harness/run/await_case.h"
#include "harness/run/schedule.h"

namespace attest {

Interview::Interview(std::string backend, const SubjectMaker& make_subject, double timeout_s)
    : backend_(std::move(backend)), make_subject_(make_subject), timeout_s_(timeout_s) {}

Expected<SubjectInfo> Interview::start() {
  if (!subject_) {
    if (auto opened = place_.open(); !opened) return Unexpected(opened.error());
    subject_ = make_subject_(backend_, {place_.fd()});
  }
  auto info = subject_->start();
  alive_ = info.has_value();
  if (info) info_ = *info;
  return info;
}

Expected<Testimony> Interview::ask(const Case& c, Key& key) {
  if (!alive_) {
    if (auto started = start(); !started) return Unexpected(started.error());
  }
  const InputPlan plan = plan_inputs(c.problem);
  if (auto ready = place_.prepare(plan, c.problem.layout.left_aligned); !ready) return Unexpected(ready.error());
  fill_inputs(c, plan, place_.buffers());
  place_.fill_input_gaps();
  fill_output(c, plan, place_.buffers());
  place_.fill_red_zones(kRedZone);
  Testimony t;
  VerdictRecord& record = t.record;
  record.case_id = case_id(c);
  record.line = text(c);
  record.backend = info_.name;
  record.build_id = info_.build_id;
  const double deadline = timeout_s_ > 0 ? timeout_s_ : default_deadline(c.problem, info_.name);
  subject_->post(0, place_, c, record.line);
  const CaseAnswer answer = await_case(*subject_, place_, deadline,
                                       [&](const ArithmeticContract& contract) { record.path = contract.path_name(); });
  alive_ = !answer.subject_gone();
  if (answer.kind == CaseAnswer::Kind::interrupted) return harness_error("interrupted");
  t.contract = answer.contract;
  if (!answer.has_output()) {
    record.verdict = answer.fault.verdict;
    record.detail = answer.fault.detail;
    return t;
  }
  const TensorView out = output_view(plan, place_.buffers()).view();
  t.compared = true;
  record.verdict = compare(key, t.contract, out, record).verdict;
  t.output.assign(out.data, out.data + out.elements() * static_cast<std::int64_t>(sizeof(float)));
  if (answer.kind == CaseAnswer::Kind::spilled) {
    overrule(record, answer.fault.verdict);
    record.detail = answer.fault.detail;
  }
  return t;
}

Expected<Verdict> Interview::verdict(const Case& c, const KeyOptions& options) {
  const OwnedInputs inputs(c);
  Key key(c, inputs.inputs(), options);
  auto t = ask(c, key);
  if (!t) return Unexpected(t.error());
  return t->record.verdict;
}

}  // namespace attest
