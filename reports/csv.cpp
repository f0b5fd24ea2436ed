#include "reports/csv.h"

#include <fmt/format.h>

#include <string_view>

namespace attest {

namespace {

std::string cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

}  // namespace

std::string csv_table(const RecordFile& file) {
  std::string out =
      "verdict,underlying,backend,build_id,path,suite,tags,case_id,line,detail,suspect,fingerprint,err_over_b,err_over_"
      "b_is_bound,seq,head,"
      "query,column,got,expected,budget,dominant,nmse,max_abs,cosine,ulp_p50,ulp_p99,ulp_max,rows,rows_judged,"
      "rows_confirmed,bad_elements,backend_cpu_s,backend_wall_s,judge_s\r\n";
  for (const VerdictRecord& r : file.verdicts) {
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},", info(r.verdict).name, cell(r.underlying), cell(r.backend),
                       cell(r.build_id), cell(r.path), cell(r.suite), cell(fmt::format("{}", fmt::join(r.tags, " "))),
                       r.case_id, cell(r.line), cell(r.detail));
    out += fmt::format("{},{},", cell(r.triage.suspect), cell(r.triage.fingerprint));
    out += fmt::format("{},{:d},{},{},{},{},{},{},{},{},", r.err_over_b, r.err_over_b_is_bound, r.worst.seq,
                       r.worst.head, r.worst.query, r.worst.column, r.worst.got, r.worst.expected, r.worst.budget,
                       cell(r.worst.dominant));
    out += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", r.nmse, r.max_abs, r.cosine, r.ulp_p50, r.ulp_p99,
                       r.ulp_max, r.rows, r.rows_judged, r.rows_confirmed, r.bad_elements, r.backend_cpu_s,
                       r.backend_wall_s, r.judge_s);
  }
  return out;
}

}  // namespace attest
