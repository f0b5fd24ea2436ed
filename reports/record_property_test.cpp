#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "reports/record.h"

namespace {

using namespace attest;

// Any double that equals itself: NaN has a test of its own.
rc::Gen<double> any_number() {
  return rc::gen::map(rc::gen::pair(rc::gen::arbitrary<std::uint64_t>(), rc::gen::inRange(0, 8)), [](const auto& p) {
    if (p.second == 0) return std::numeric_limits<double>::infinity();
    if (p.second == 1) return -std::numeric_limits<double>::infinity();
    const auto value = std::bit_cast<double>(p.first);
    return std::isnan(value) ? 0.1 : value;
  });
}

// Any text that is UTF-8: quotes, backslashes and control characters included.
rc::Gen<std::string> any_text() {
  return rc::gen::container<std::string>(rc::gen::map(rc::gen::inRange(0, 128), [](int c) { return char(c); }));
}

VerdictRecord any_record() {
  const auto number = [] { return *any_number(); };
  const auto text = [] { return *any_text(); };
  const auto integer = [] { return *rc::gen::arbitrary<std::int64_t>(); };
  const auto flag = [] { return *rc::gen::arbitrary<bool>(); };
  VerdictRecord r;
  r.case_id = text();
  r.line = text();
  r.backend = text();
  r.build_id = text();
  r.suite = text();
  r.tags = *rc::gen::container<std::vector<std::string>>(any_text());
  r.verdict = *rc::gen::elementOf(all_verdicts());
  r.detail = text();
  r.underlying = text();
  r.also = *rc::gen::container<std::vector<std::string>>(any_text());
  r.path = text();
  r.err_over_b = number();
  r.err_over_b_is_bound = flag();
  r.worst = {integer(), integer(), integer(), integer(), number(), number(), number(), text()};
  r.nmse = number();
  r.max_abs = number();
  r.cosine = number();
  r.allclose = number();
  r.ulp_p50 = number();
  r.ulp_p99 = number();
  r.ulp_max = number();
  r.contract_nmse = number();
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i) r.parties.push_back({text(), number(), number()});
  if (flag()) r.triage = {text(), text(), text(), text(), {text()}, text()};
  if (flag()) r.maps = {{text(), text(), integer(), integer(), integer(), {{number(), number()}, {}}}};
  r.digest = text();
  r.rows = integer();
  r.rows_judged = integer();
  r.rows_confirmed = integer();
  r.rows_dead = integer();
  r.rows_range = integer();
  r.rows_det = integer();
  r.bad_elements = integer();
  r.suspect_reruns = *rc::gen::arbitrary<int>();
  r.suspect = flag();
  r.prec_not_honoured = flag();
  for (auto* names : {&r.relations_held, &r.relations_broken, &r.relations_unsupported, &r.relations_inapplicable}) {
    *names = *rc::gen::container<std::vector<std::string>>(any_text());
  }
  r.backend_cpu_s = number();
  r.backend_wall_s = number();
  r.judge_s = number();
  return r;
}

RC_GTEST_PROP(RecordProperty, WhatIsWrittenIsReadBackExactly, ()) {
  const VerdictRecord record = any_record();
  const std::string json = to_json(record);
  const auto back = record_from_json(json);
  RC_ASSERT(back.has_value());
  RC_ASSERT(*back == record);
  RC_ASSERT(json.find('\n') == std::string::npos);
}

// A kill can cut a line anywhere: what is left must never be taken for a record.
RC_GTEST_PROP(RecordProperty, APrefixIsNeverARecord, ()) {
  const std::string json = to_json(any_record());
  const auto length = *rc::gen::inRange<std::size_t>(0, json.size());
  RC_ASSERT(!record_from_json(json.substr(0, length)).has_value());
}

}  // namespace
