#include "reports/history/timeline.h"

#include <algorithm>
#include <cmath>

namespace attest {

namespace {

std::int32_t place_in(std::vector<std::string>& texts, const std::string& text) {
  const auto at = std::find(texts.begin(), texts.end(), text);
  if (at != texts.end()) return static_cast<std::int32_t>(at - texts.begin());
  texts.push_back(text);
  return static_cast<std::int32_t>(texts.size()) - 1;
}

}  // namespace

bool fails(Verdict verdict) { return info(verdict).bad || verdict == Verdict::XFAIL; }

void CaseTrack::add(std::int32_t run, std::int32_t its_build, const BriefVerdict& v) {
  latest = v;
  if (!was_judged(v.verdict)) return;
  const bool bad = fails(v.verdict);
  if (first == kNone) {
    first = run;
    first_ratio = v.err_over_b;
  } else if (its_build == build) {
    ++repeats;
    if (bad != failing) ++flips;
    if (v.digest != 0 && digest != 0 && v.digest != digest) ++other_bits;
  }
  if (!bad) {
    last_good = run;
    first_bad = kNone;
  } else if (first_bad == kNone) {
    first_bad = run;
  }
  last = run;
  build = its_build;
  failing = bad;
  digest = v.digest;
  last_ratio = v.err_over_b;
}

void Timeline::add(std::int64_t id, const BriefRun& run) {
  const RunHeader& h = run.header;
  const auto at = std::find(h.backends.begin(), h.backends.end(), backend_);
  if (at == h.backends.end()) return;
  const auto number = static_cast<std::size_t>(at - h.backends.begin());
  RunPoint point{id, h.started_utc, h.commit, h.suite, number < h.build_ids.size() ? h.build_ids[number] : "", h.seed};
  point.complete = run.complete;
  const auto index = static_cast<std::int32_t>(runs_.size());
  const std::int32_t build = place_in(builds_, point.build + '\n' + point.commit);
  for (BriefVerdict v : run.verdicts) {
    if (v.backend != number) continue;
    ++point.verdicts;
    point.bad += info(v.verdict).bad ? 1 : 0;
    point.unjudged += was_judged(v.verdict) ? 0 : 1;
    point.cpu_s += v.cpu_s;
    if (was_judged(v.verdict) && v.err_over_b > point.worst_ratio) point.worst_ratio = v.err_over_b;
    v.suspect = v.suspect == 0 ? 0 : static_cast<std::uint32_t>(place_in(suspects_, run.texts[v.suspect]));
    cases_[v.case_id].add(index, build, v);
  }
  runs_.push_back(std::move(point));
}

}  // namespace attest
