#include "harness/ledger.h"

#include <fmt/format.h>

#include <algorithm>

namespace attest {

bool LedgerEntry::matches(const Case& c, std::string_view backend_name, std::string_view path_name) const {
  if (!glob_matches(backend, backend_name)) return false;
  if (!path.empty() && !glob_matches(path, path_name)) return false;
  if (pattern) return pattern->matches(c);
  if (!tag.empty()) return std::find(c.tags.begin(), c.tags.end(), tag) != c.tags.end();
  return line == text(c);
}

bool LedgerEntry::lists(const VerdictRecord& record) const {
  const auto listed = [&](std::string_view name) {
    return std::any_of(verdicts.begin(), verdicts.end(), [&](Verdict v) { return info(v).name == name; });
  };
  const std::string_view verdict = record.verdict == Verdict::XFAIL ? record.underlying : info(record.verdict).name;
  return listed(verdict) && std::all_of(record.also.begin(), record.also.end(), listed);
}

const LedgerEntry* Ledger::match(const Case& c, std::string_view backend, std::string_view path) const {
  for (const auto& entry : entries_) {
    if (entry.relations.empty() && entry.matches(c, backend, path)) return &entry;
  }
  return nullptr;
}

const LedgerEntry* Ledger::match(const Case& c, const VerdictRecord& record) const {
  const auto entry_for = [&](const std::string& relation) {
    return std::find_if(entries_.begin(), entries_.end(), [&](const LedgerEntry& entry) {
      return std::find(entry.relations.begin(), entry.relations.end(), relation) != entry.relations.end() &&
             entry.lists(record) && entry.matches(c, record.backend, record.path);
    });
  };
  const auto& broken = record.relations_broken;
  const bool known = std::all_of(broken.begin(), broken.end(),
                                 [&](const std::string& relation) { return entry_for(relation) != entries_.end(); });
  if (known && !broken.empty()) return &*entry_for(broken.front());
  const bool failed = info(record.verdict).bad || record.verdict == Verdict::XFAIL;
  const bool expects_pass = record.verdict == Verdict::XPASS;
  for (const auto& entry : entries_) {
    if (!entry.relations.empty() || entry.mode == LedgerMode::quarantined) continue;
    if (!entry.matches(c, record.backend, record.path)) continue;
    const TriageRecord& t = record.triage;
    const bool other = (!entry.suspect.empty() && !glob_matches(entry.suspect, t.suspect)) ||
                       (!entry.fingerprint.empty() && !glob_matches(entry.fingerprint, t.fingerprint));
    if (!(failed && !expects_pass && other)) return &entry;
  }
  return nullptr;
}

bool Ledger::asks_for_class(const Case& c, std::string_view backend, std::string_view path) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const LedgerEntry& e) { return e.names_class() && e.matches(c, backend, path); });
}

void Ledger::apply(VerdictRecord& record, const LedgerEntry& entry) {
  Count& count = counts_.at(static_cast<std::size_t>(&entry - entries_.data()));
  ++count.matched;
  if (entry.mode == LedgerMode::quarantined) {
    record.verdict = Verdict::QUARANTINED;
    record.detail = entry.reason;
    return;
  }
  const bool passed = record.verdict == Verdict::PASS || record.verdict == Verdict::BLIND;
  const bool expected = entry.lists(record);
  count.passed += passed ? 1 : 0;
  count.failed += expected ? 1 : 0;
  if (expected) {
    record.underlying = info(record.verdict).name;
    record.verdict = Verdict::XFAIL;
    record.detail = entry.reason;
  } else if (passed && !entry.sometimes) {
    record.underlying = info(record.verdict).name;
    record.verdict = Verdict::XPASS;
    record.detail = fmt::format("{}:{} expects it to fail: {}", file_, entry.file_line, entry.reason);
  }
}

void Ledger::recount(const VerdictRecord& record, const LedgerEntry& entry) {
  Count& count = counts_.at(static_cast<std::size_t>(&entry - entries_.data()));
  ++count.matched;
  const Verdict v = record.verdict;
  count.passed += v == Verdict::PASS || v == Verdict::BLIND || v == Verdict::XPASS ? 1 : 0;
  count.failed += v == Verdict::XFAIL ? 1 : 0;
}

Ledger::Leftovers Ledger::finish() const {
  Leftovers left;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Count& count = counts_[i];
    if (count.matched == 0 && entries_[i].relations.empty()) left.unused.push_back(&entries_[i]);
    if (entries_[i].relations.empty() && entries_[i].sometimes && count.passed > 0 && count.failed == 0)
      left.never_failed.push_back(&entries_[i]);
  }
  return left;
}

}  // namespace attest
