// The ledger: failures that are known, with reason and reproducing line, so that a run is judged by what is new.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"
#include "harness/case_pattern.h"
#include "reports/record.h"

namespace attest {

enum class LedgerMode : std::uint8_t {
  tolerated,    // runs; the listed verdicts become XFAIL, a pass becomes XPASS
  quarantined,  // is never started
};

// One [[entry]] of the TOML file. Which cases: one of pattern, tag and line is set.
struct LedgerEntry {
  std::string backend;                 // glob over canonical names, e.g. "ggml:CPU*"
  std::string path;                    // glob over the contract's code path; "": any
  std::optional<CasePattern> pattern;  // key `match`
  std::string suspect, fingerprint;    // globs over triage's class word and fingerprint; "": any
  std::string tag;                     // a tag the suite gives its cases
  std::string line;                    // canonical text of one case
  std::vector<Verdict> verdicts;       // the bad verdicts that are expected
  std::vector<std::string> relations;  // not empty: the entry is about these relations of cases that pass, nothing else
  LedgerMode mode = LedgerMode::tolerated;
  bool sometimes = false;  // true: a matching case may pass, as long as one of them fails
  std::string reason, link, repro;
  int file_line = 0;

  bool matches(const Case& c, std::string_view backend_name, std::string_view path_name) const;
  // Whether it lists the record's verdict (of an XFAIL, the one behind it) and all that it would hide.
  bool lists(const VerdictRecord& record) const;
  bool names_class() const { return !suspect.empty() || !fingerprint.empty(); }
};

// Not thread-safe: events of a run arrive from one thread.
class Ledger {
 public:
  // For messages that say what to take out of the file.
  struct Leftovers {
    std::vector<const LedgerEntry*> never_failed;  // `sometimes` entries whose cases ran and all passed: bad, as XPASS
    std::vector<const LedgerEntry*> unused;        // matched no case of this run: a note
  };

  // The first entry that matches and is not about relations, or nullptr. `path` is what the backend's contract names,
  // "" where it was not asked.
  const LedgerEntry* match(const Case& c, std::string_view backend, std::string_view path) const;
  // The same for a verdict on a case that ran, so that no quarantined entry is about it: a failure must also be of the
  // class and fingerprint an entry names. Where relations are broken and each of them is named by some matching entry
  // about relations that lists all verdicts, the first one's. Such entries are never outdated: whether a variant shows
  // a defect depends on more than the case.
  const LedgerEntry* match(const Case& c, const VerdictRecord& record) const;
  // Whether some entry for this case names a class or a fingerprint.
  bool asks_for_class(const Case& c, std::string_view backend, std::string_view path) const;

  // Rewrites the record of a case that `entry` matched, and counts it. `entry` comes from match().
  // quarantined: QUARANTINED (the case was not started). tolerated: a bad verdict that the entry lists() becomes
  // XFAIL, PASS and BLIND become XPASS unless the entry says `sometimes`; other verdicts stay as they are.
  void apply(VerdictRecord& record, const LedgerEntry& entry);

  // Counts a record that apply() rewrote in an earlier part of the run, and leaves it as it is.
  void recount(const VerdictRecord& record, const LedgerEntry& entry);

  Leftovers finish() const;
  const std::vector<LedgerEntry>& entries() const { return entries_; }
  const std::string& file() const { return file_; }

  // TOML text; `file` is for messages. Errors are input errors with line and column.
  static Expected<Ledger> parse(std::string_view toml, std::string file);

 private:
  struct Count {
    std::int64_t matched = 0, passed = 0, failed = 0;
  };
  std::string file_;
  std::vector<LedgerEntry> entries_;
  std::vector<Count> counts_;
};

Expected<Ledger> load_ledger(const std::filesystem::path& path);

}  // namespace attest
