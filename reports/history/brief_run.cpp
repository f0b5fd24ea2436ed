#include "reports/history/brief_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "reports/history/history.h"

namespace attest {

bool was_judged(Verdict verdict) {
  return verdict != Verdict::UNSUPPORTED && verdict != Verdict::QUARANTINED && verdict != Verdict::BLIND &&
         verdict != Verdict::RANGE;
}

Expected<BriefRun> brief(RecordFile file) {
  const auto wrong = [&](std::string message) {
    Error error;
    error.message = std::move(message);
    error.file = file.name;
    return Unexpected(error);
  };
  if (file.runs.empty()) return wrong("records no run");
  BriefRun run;
  run.name = file.name;
  run.header = file.runs.front();
  run.complete = static_cast<std::int64_t>(file.verdicts.size()) >= run.header.verdicts_expected;
  run.texts = {""};
  std::unordered_map<std::string, std::uint32_t> places{{"", 0}};
  const auto place = [&](const std::string& text) {
    const auto [at, fresh] = places.try_emplace(text, static_cast<std::uint32_t>(run.texts.size()));
    if (fresh) run.texts.push_back(text);
    return at->second;
  };
  auto lines = std::make_shared<std::unordered_map<std::uint64_t, std::string>>();
  for (VerdictRecord& r : file.verdicts) {
    const auto id = hex_number(r.case_id);
    if (!id) return wrong(fmt::format("case id '{}' is not 16 hexadecimal digits", r.case_id));
    auto& names = run.header.backends;
    auto backend = std::find(names.begin(), names.end(), r.backend);
    if (backend == names.end()) {
      run.header.build_ids.resize(names.size());
      run.header.build_ids.push_back(r.build_id);
      names.push_back(r.backend);
      backend = names.end() - 1;
    }
    BriefVerdict v;
    v.case_id = *id;
    v.digest = hex_number(r.digest).value_or(0);
    v.rows_judged = r.rows_judged;
    v.err_over_b = r.err_over_b;
    v.err_over_b_is_bound = r.err_over_b_is_bound;
    v.nmse = r.nmse;
    v.max_abs = r.max_abs;
    v.cpu_s = r.backend_cpu_s;
    v.path = place(r.path);
    v.suspect = place(r.triage.suspect);
    v.detail = place(r.detail);
    v.underlying = place(r.underlying);
    v.backend = static_cast<std::uint16_t>(backend - names.begin());
    v.verdict = r.verdict;
    run.verdicts.push_back(v);
    lines->emplace(*id, std::move(r.line));
  }
  std::sort(run.verdicts.begin(), run.verdicts.end(), [](const BriefVerdict& a, const BriefVerdict& b) {
    return a.backend != b.backend ? a.backend < b.backend
                                  : static_cast<std::int64_t>(a.case_id) < static_cast<std::int64_t>(b.case_id);
  });
  const auto twice = std::adjacent_find(
      run.verdicts.begin(), run.verdicts.end(),
      [](const BriefVerdict& a, const BriefVerdict& b) { return a.backend == b.backend && a.case_id == b.case_id; });
  if (twice != run.verdicts.end()) {
    return wrong(
        fmt::format("has two verdicts on '{}' by {}", (*lines)[twice->case_id], run.header.backends[twice->backend]));
  }
  run.line = [lines](std::uint64_t case_id) {
    const auto at = lines->find(case_id);
    return at == lines->end() ? fmt::format("case {:016x}", case_id) : at->second;
  };
  return run;
}

}  // namespace attest
