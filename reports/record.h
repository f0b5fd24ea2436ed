// The record of truth: one verdict as it stands in the JSONL file, and what every report reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest {

inline constexpr int kRecordSchema = 1;

// Verdict names, meanings and whether they are bad: verdicts.def.
enum class Verdict : std::uint8_t {
#define ATTEST_VERDICT(name, text, bad, meaning) name,
#include "reports/verdicts.def"
#undef ATTEST_VERDICT
};
struct VerdictInfo {
  std::string_view name, meaning;
  bool bad;
};
const VerdictInfo& info(Verdict verdict);
const std::vector<Verdict>& all_verdicts();
Expected<Verdict> verdict_from_name(std::string_view name);

// The element with the largest err/B (or the first NaN/Inf).
struct WorstElement {
  std::int64_t seq = 0, head = 0, query = 0, column = 0;
  double got = 0, expected = 0, budget = 0;
  std::string dominant;  // the budget's dominant term there
  bool operator==(const WorstElement&) const = default;
};

// Error of one party (eigen:f32, scalar oracle, ...) against the fp64 reference over the judged rows: information.
struct PartyError {
  std::string party;
  double nmse = 0, max_abs = 0;
  bool operator==(const PartyError&) const = default;
};

// What the judge made of a failure. Empty where it was not looked at.
struct TriageRecord {
  std::string suspect;             // a class word of suspects.def: rescale, mask, tail, precision ...
  std::string says;                // the suspicion in words
  std::string place;               // where the error sits: sequences, heads, queries, columns, periods
  std::string fingerprint;         // the arithmetic the error is like: "an f16 accumulator"
  std::vector<std::string> hints;  // what makes it go away, or does not
  std::string depth;               // "pattern": from this output alone; "full": altered cases were run too
  bool operator==(const TriageRecord&) const = default;
};

// A picture of an output: the largest err/B per cell, row by row. A cell stands for `down` x `across` neighbours. NaN:
// nothing was judged there; infinity: NaN, Inf or unwritten. `period`: what is wrong repeats after so many (0: no
// sign).
struct MapRecord {
  std::string rows, columns;  // what lies down and across: "head", "query", "column"
  std::int64_t down = 1, across = 1, period = 0;
  std::vector<std::vector<double>> values;
  bool operator==(const MapRecord&) const = default;
};

// What a stated contract allows may still be useless: above this NMSE (the one test-backend-ops goes by) a record of a
// verdict that is not bad names the loss, whatever the contract.
inline constexpr double kLossyNmse = 5e-4;

struct VerdictRecord {
  std::string case_id, line, backend, build_id, suite;
  std::vector<std::string> tags;
  Verdict verdict = Verdict::PASS;
  std::string detail;             // one sentence: reason of UNSUPPORTED, signal of CRASH, ledger reason of XFAIL
  std::string underlying;         // XFAIL, XPASS, FLAKY, STALE, NONDETERMINISTIC: the verdict behind it
  std::vector<std::string> also;  // further bad verdicts of the case that `verdict` does not say
  std::string path;               // code path the contract names
  std::string source;             // captured tensors: manifest and case, as `attest check` takes them

  double err_over_b = 0;             // max over judged elements; NaN when there is no ratio
  bool err_over_b_is_bound = false;  // true: passed by the cheap lower bound, err/B <= err_over_b
  WorstElement worst;
  double nmse = 0, max_abs = 0, cosine = 1;
  double allclose = 0;                           // smallest t with |error| <= t + t |reference| everywhere
  double ulp_p50 = 0, ulp_p99 = 0, ulp_max = 0;  // f32 ULP against the fp64 reference
  double contract_nmse = 0;                      // against exact Q where the contract declares a rounding of Q
  std::vector<PartyError> parties;
  TriageRecord triage;
  std::vector<MapRecord> maps;        // where a failure sits
  std::string digest;                 // XXH3-64 of the output's bytes, 16 hexadecimal digits; empty: none came
  std::string alignment;              // of a causal case that fails: the alignments its output is like
  std::string loss;                   // not bad, and yet far from the exact answer: what was lost; see kLossyNmse
  std::vector<std::string> blind_to;  // BLIND: features.def; features the case claims and could not have seen go wrong

  std::int64_t rows = 0, rows_judged = 0, rows_confirmed = 0, rows_dead = 0, rows_range = 0, rows_det = 0;
  std::int64_t bad_elements = 0;
  int suspect_reruns = 0;  // fresh seeds tried
  bool suspect = false;    // was SUSPECT before it passed
  bool prec_not_honoured = false;

  // Relations tried on a case that passed; the last two with ": reason" behind the name.
  std::vector<std::string> relations_held, relations_broken, relations_unsupported, relations_inapplicable;

  double backend_cpu_s = 0, backend_wall_s = 0, judge_s = 0;  // times: the only fields that differ between equal runs
  bool operator==(const VerdictRecord&) const = default;
};

// `verdict` takes the place of the record's, which is kept in `also` where it is bad.
void overrule(VerdictRecord& record, Verdict verdict);
void note_also(VerdictRecord& record, Verdict verdict);  // where it is bad and new

// One JSON object on one line, no newline. NaN and Inf are written as strings "nan", "inf", "-inf".
std::string to_json(const VerdictRecord& record);
Expected<VerdictRecord> record_from_json(std::string_view json);

// A run: what was asked, by whom, where.
struct RunHeader {
  int schema = kRecordSchema;
  std::string version, command, suite, started_utc, host, cpu;
  std::uint64_t seed = 0;
  std::vector<std::string> backends, build_ids;
  std::int64_t cases = 0, verdicts_expected = 0;  // of this shard
  int shard_index = 0, shard_count = 1;
  std::string selection;  // fingerprint of the whole selection: the same in all shards
  std::string options;    // what else bears on the verdicts, e.g. "rows=8 oracle=full"
  std::string commit;     // revision of the code under test, where somebody said so
  std::string id;         // what tells this run from all others; records of older versions have none
  bool operator==(const RunHeader&) const = default;
};
std::string to_json(const RunHeader& header);
// Refuses a schema newer than this program's.
Expected<RunHeader> header_from_json(std::string_view json);

// Written before a case runs, so that a run that is killed names what it was doing.
std::string started_json(std::string_view line, std::string_view case_id, std::string_view backend);

struct RunSummary {
  std::map<std::string, std::map<Verdict, std::int64_t>> counts;  // backend -> verdict -> count
  std::map<std::string, double> max_err_over_b;                   // backend -> max over PASS, BLIND, FAIL and CONTRACT
  std::int64_t selected = 0, ruled = 0;                           // every selected (case, backend) must be ruled
  double wall_s = 0, backend_cpu_s = 0;
  std::int64_t jobs = 0;  // slots that worked side by side; 0: the times do not belong together (resumed, merged)
  bool interrupted = false;

  void add(const VerdictRecord& record);  // one more is ruled; wall_s is left alone
  // wall_s * jobs / backend_cpu_s: what the run cost for every second the backends worked. 0: not known.
  double overhead() const { return backend_cpu_s > 0 ? wall_s * static_cast<double>(jobs) / backend_cpu_s : 0; }
};
std::string to_json(const RunSummary& summary);

}  // namespace attest
