#include "reports/tally.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <tuple>

namespace attest {

namespace {

constexpr std::size_t kSlowest = 5;

bool word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// No ratio (NaN in the output, a crash) is worse than any ratio.
double severity(const VerdictRecord& r) {
  return std::isnan(r.err_over_b) ? std::numeric_limits<double>::infinity() : r.err_over_b;
}

bool worse(const VerdictRecord& a, const VerdictRecord& b) {
  return std::make_tuple(-severity(a), a.line.size(), std::string_view(a.line)) <
         std::make_tuple(-severity(b), b.line.size(), std::string_view(b.line));
}

template <class... Parts>
std::string key_of(const Parts&... parts) {
  std::string key;
  ((key += parts, key += '\0'), ...);
  return key;
}

bool has_ratio(Verdict verdict) {
  return verdict == Verdict::PASS || verdict == Verdict::BLIND || verdict == Verdict::FAIL ||
         verdict == Verdict::CONTRACT;
}

bool is_note(Verdict verdict) {
  return verdict == Verdict::XFAIL || verdict == Verdict::QUARANTINED || verdict == Verdict::UNSUPPORTED ||
         verdict == Verdict::BLIND;
}

}  // namespace

std::string alike(std::string_view detail) {
  std::string out;
  for (std::size_t i = 0; i < detail.size();) {
    const bool free_standing = digit(detail[i]) && (i == 0 || !word(detail[i - 1]));
    if (!free_standing) {
      out += detail[i++];
      continue;
    }
    out += '#';
    while (i < detail.size()) {
      const bool fraction = detail[i] == '.' && i + 1 < detail.size() && digit(detail[i + 1]);
      const bool exponent = (detail[i] == '-' || detail[i] == '+') && detail[i - 1] == 'e';
      if (!word(detail[i]) && !fraction && !exponent) break;
      ++i;
    }
  }
  return out;
}

void Tally::announce(const std::vector<std::string>& backends) {
  for (const auto& backend : backends) row(backend);
}

BackendTally& Tally::row(const std::string& backend) {
  const auto found =
      std::find_if(backends_.begin(), backends_.end(), [&](const auto& r) { return r.backend == backend; });
  if (found != backends_.end()) return *found;
  backends_.push_back({});
  backends_.back().backend = backend;
  return backends_.back();
}

void Tally::add(const VerdictRecord& r) {
  ++verdicts_;
  BackendTally& totals = row(r.backend);
  ++totals.cases;
  ++totals.counts[r.verdict];
  if (has_ratio(r.verdict) && !std::isnan(r.err_over_b)) {
    totals.max_err_over_b = std::max(totals.max_err_over_b, r.err_over_b);
  }
  totals.cpu_s += r.backend_cpu_s;
  totals.cases_judged += r.rows_judged > 0 && r.verdict != Verdict::BLIND ? 1 : 0;
  totals.rows += r.rows;
  totals.rows_judged += r.rows_judged;
  totals.rows_confirmed += r.rows_confirmed;
  const auto slower = [](const SlowCase& a, const SlowCase& b) {
    return std::make_tuple(-a.cpu_s, std::string_view(a.line), std::string_view(a.backend)) <
           std::make_tuple(-b.cpu_s, std::string_view(b.line), std::string_view(b.backend));
  };
  if (slowest_.size() < kSlowest || r.backend_cpu_s >= slowest_.back().cpu_s) {
    SlowCase slow{r.backend_cpu_s, r.backend, r.line};
    slowest_.insert(std::upper_bound(slowest_.begin(), slowest_.end(), slow, slower), std::move(slow));
    if (slowest_.size() > kSlowest) slowest_.pop_back();
  }
  totals.suspects += r.suspect ? 1 : 0;
  totals.prec_not_honoured += r.prec_not_honoured ? 1 : 0;
  for (const auto& [total, names] : {std::pair{&totals.relations_held, &r.relations_held},
                                     {&totals.relations_broken, &r.relations_broken},
                                     {&totals.relations_unsupported, &r.relations_unsupported},
                                     {&totals.relations_inapplicable, &r.relations_inapplicable}}) {
    *total += static_cast<std::int64_t>(names->size());
  }

  if (!r.loss.empty()) {
    LossGroup& group = losses_[key_of(r.backend, r.path, r.loss)];
    const auto lossier = [](const VerdictRecord& a, const VerdictRecord& b) {
      return std::make_tuple(-a.nmse, a.line.size(), std::string_view(a.line)) <
             std::make_tuple(-b.nmse, b.line.size(), std::string_view(b.line));
    };
    if (group.count == 0 || lossier(r, group.worst)) group.worst = r;
    group.backend = r.backend;
    group.path = r.path;
    group.loss = r.loss;
    ++group.count;
  }

  const std::string verdict(info(r.verdict).name);
  if (info(r.verdict).bad) {
    ++bad_;
    const std::string cause = !r.triage.suspect.empty() ? r.triage.suspect
                              : r.detail.empty()        ? r.worst.dominant
                                                        : alike(r.detail);
    FailureGroup& group = failures_[key_of(r.backend, verdict, r.path, cause)];
    if (group.count == 0 || worse(r, group.worst)) group.worst = r;
    group.backend = r.backend;
    group.verdict = r.verdict;
    group.path = r.path;
    group.cause = cause;
    ++group.count;
  } else if (is_note(r.verdict)) {
    // A case may be blind to several features: each is a reason of its own.
    std::vector<std::string> reasons{r.detail};
    if (r.verdict == Verdict::BLIND && !r.blind_to.empty()) reasons = r.blind_to;
    for (const auto& reason : reasons) {
      NoteGroup& group = notes_[key_of(r.backend, verdict, r.underlying, reason)];
      group.backend = r.backend;
      group.verdict = r.verdict;
      group.underlying = r.underlying;
      group.reason = reason;
      ++group.count;
    }
  }
}

std::vector<FailureGroup> Tally::failures() const {
  std::vector<FailureGroup> out;
  for (const auto& [key, group] : failures_) out.push_back(group);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(a.verdict, -a.count) < std::make_tuple(b.verdict, -b.count);
  });
  return out;
}

std::vector<LossGroup> Tally::losses() const {
  std::vector<LossGroup> out;
  for (const auto& [key, group] : losses_) out.push_back(group);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::make_tuple(std::string_view(a.backend), -a.count) <
           std::make_tuple(std::string_view(b.backend), -b.count);
  });
  return out;
}

std::vector<NoteGroup> Tally::notes(Verdict verdict) const {
  std::vector<NoteGroup> out;
  for (const auto& [key, group] : notes_) {
    if (group.verdict == verdict) out.push_back(group);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  return out;
}

}  // namespace attest
