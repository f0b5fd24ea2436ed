#include "harness/run/execution.h"

#include <fmt/format.h>

#include "cases/inputs.h"
#include "harness/run/await_case.h"
#include "harness/run/schedule.h"
#include "reports/record.h"

namespace attest {

Bench::Bench(std::string backend, SubjectMaker make_subject, double timeout_s)
    : backend_(std::move(backend)), make_subject_(std::move(make_subject)), timeout_s_(timeout_s) {}

Expected<void> Bench::start() {
  if (!subject_) {
    if (auto opened = place_.open(); !opened) return Unexpected(opened.error());
    subject_ = make_subject_(backend_, {place_.fd()});
  }
  if (alive_) return {};
  if (auto started = subject_->start(); !started) return Unexpected(started.error());
  alive_ = true;
  return {};
}

Expected<std::string> Bench::unsupported(const Case& c) {
  if (auto started = start(); !started) return Unexpected(started.error());
  const SubjectAnswer answer = subject_->ask(c, text(c));
  if (answer.kind == SubjectAnswer::Kind::fault) alive_ = false;
  return answer.kind == SubjectAnswer::Kind::unsupported ? answer.text : std::string();
}

Expected<Execution> Bench::execute(const Case& c) {
  if (auto started = start(); !started) return Unexpected(started.error());
  const InputPlan plan = plan_inputs(c.problem);
  const std::string line = text(c);
  if (line != in_place_) {
    if (auto ready = place_.prepare(plan, c.problem.layout.left_aligned); !ready) return Unexpected(ready.error());
    fill_inputs(c, plan, place_.buffers());
    place_.fill_input_gaps();
    in_place_ = line;
  }
  fill_output(c, plan, place_.buffers());
  const double deadline = timeout_s_ > 0 ? timeout_s_ : default_deadline(c.problem, backend_);
  place_.fill_red_zones(kRedZone);
  subject_->post(0, place_, c, line);
  const CaseAnswer answer = await_case(*subject_, place_, deadline);
  alive_ = !answer.subject_gone();
  if (answer.kind == CaseAnswer::Kind::interrupted) return harness_error("interrupted");
  if (answer.kind == CaseAnswer::Kind::unsupported) {
    return harness_error(fmt::format("{}: {}", backend_, answer.fault.detail));
  }
  Execution e;
  e.contract = answer.contract;
  e.cpu_s = answer.cpu_seconds;
  if (answer.kind == CaseAnswer::Kind::done) {
    const std::byte* out = place_.buffers().out;
    e.bits.assign(out, out + plan.out.bytes);
    e.note = answer.text;
  } else {
    e.verdict = info(answer.fault.verdict).name;
    e.detail = answer.fault.detail;
  }
  return e;
}

}  // namespace attest
