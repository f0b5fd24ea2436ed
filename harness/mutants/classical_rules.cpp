#include "harness/mutants/classical_rules.h"

namespace attest {

namespace {

bool all_see(const VerdictRecord& record) {
  const Verdict v = record.verdict;
  const bool nan_below = v == Verdict::STALE && record.underlying == info(Verdict::NAN_).name;
  return v == Verdict::NAN_ || v == Verdict::UNWRITTEN || v == Verdict::CRASH || v == Verdict::HANG ||
         v == Verdict::OOM || v == Verdict::ERROR || nan_below;
}

}  // namespace

RuleSays rejected_by(const VerdictRecord& record, double standard_max_abs) {
  RuleSays says{};
  if (all_see(record)) {
    says.fill(true);
    return says;
  }
  if (record.rows_judged == 0) return says;
  says = {!(record.nmse <= 5e-4), !(record.allclose <= 1e-3), !(record.allclose <= 1e-2),
          !(record.max_abs <= 2 * standard_max_abs), !(record.cosine > 0.999)};
  return says;
}

}  // namespace attest
