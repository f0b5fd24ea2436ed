#include "harness/run/await_case.h"

#include <algorithm>

namespace attest {

namespace {

// Of an answer `found`: a verdict, and from the next line on what it is about.
Fault finding(const std::string& text) {
  const auto line_break = std::min(text.find('\n'), text.size());
  const auto named = verdict_from_name(text.substr(0, line_break));
  return {named.value_or(Verdict::ERROR), text.substr(std::min(line_break + 1, text.size()))};
}

}  // namespace

CaseAnswer await_case(Subject& subject, const Place& place, double timeout_s,
                      const std::function<void(const ArithmeticContract&)>& accepted) {
  SubjectAnswer answer = subject.next(timeout_s);
  CaseAnswer result;
  result.contract = answer.contract;
  if (answer.kind == SubjectAnswer::Kind::accepted) {
    if (accepted) accepted(result.contract);
    answer = subject.next(timeout_s);
  }
  const auto without_output = [&](CaseAnswer::Kind kind, Fault fault) {
    result.kind = kind;
    result.fault = std::move(fault);
    return result;
  };
  switch (answer.kind) {
    case SubjectAnswer::Kind::unsupported:
      return without_output(CaseAnswer::Kind::unsupported, {Verdict::UNSUPPORTED, answer.text});
    case SubjectAnswer::Kind::failed:
      return without_output(CaseAnswer::Kind::failed, {Verdict::ERROR, answer.text});
    case SubjectAnswer::Kind::found:
      return without_output(CaseAnswer::Kind::failed, finding(answer.text));
    case SubjectAnswer::Kind::fault:
      return without_output(CaseAnswer::Kind::fault, answer.fault);
    case SubjectAnswer::Kind::interrupted:
      return without_output(CaseAnswer::Kind::interrupted, answer.fault);
    case SubjectAnswer::Kind::accepted:
    case SubjectAnswer::Kind::done:
      break;
  }
  result.cpu_seconds = answer.cpu_seconds;
  result.wall_seconds = answer.wall_seconds;
  result.text = answer.text;
  if (!place.red_zones_hold(kRedZone)) {
    result.kind = CaseAnswer::Kind::spilled;
    result.fault = {Verdict::OOB, "bytes next to the output were written"};
  }
  return result;
}

}  // namespace attest
