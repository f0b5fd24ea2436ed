#include "reports/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace attest {

namespace {

constexpr std::array kVerdicts = {
#define ATTEST_VERDICT(name, text, bad, meaning) VerdictInfo{text, meaning, bad},
#include "reports/verdicts.def"
#undef ATTEST_VERDICT
};

}  // namespace

const VerdictInfo& info(Verdict verdict) { return kVerdicts.at(static_cast<std::size_t>(verdict)); }

const std::vector<Verdict>& all_verdicts() {
  static const std::vector<Verdict> all = {
#define ATTEST_VERDICT(name, text, bad, meaning) Verdict::name,
#include "reports/verdicts.def"
#undef ATTEST_VERDICT
  };
  return all;
}

Expected<Verdict> verdict_from_name(std::string_view name) {
  std::vector<std::string> names;
  for (const Verdict verdict : all_verdicts()) {
    if (info(verdict).name == name) return verdict;
    names.emplace_back(info(verdict).name);
  }
  return input_error(fmt::format("'{}' is not a verdict", name), did_you_mean(name, names));
}

void overrule(VerdictRecord& record, Verdict verdict) {
  const Verdict before = record.verdict;
  record.verdict = verdict;
  note_also(record, before);
}

void note_also(VerdictRecord& record, Verdict verdict) {
  const std::string name(info(verdict).name);
  if (!info(verdict).bad || verdict == record.verdict) return;
  if (std::find(record.also.begin(), record.also.end(), name) == record.also.end()) record.also.push_back(name);
}

void RunSummary::add(const VerdictRecord& record) {
  ++ruled;
  ++counts[record.backend][record.verdict];
  backend_cpu_s += record.backend_cpu_s;
  const bool counts_here = record.verdict == Verdict::PASS || record.verdict == Verdict::BLIND ||
                           record.verdict == Verdict::FAIL || record.verdict == Verdict::CONTRACT;
  double& worst = max_err_over_b[record.backend];
  if (counts_here && record.err_over_b > worst) worst = record.err_over_b;
}

}  // namespace attest
