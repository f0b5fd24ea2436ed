#include "reports/synthetic_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace attest {

namespace {

VerdictRecord base(int number, std::string backend) {
  VerdictRecord r;
  r.case_id = fmt::format("{:016x}", 0x1000 + number);
  r.line = fmt::format("flash_attn_ext d=128 n_head=16 n_head_kv=8 n_q=1 n_kv={} mask=used:300 seed=7", 512 + number);
  r.build_id = backend == "ggml:CPU" ? "ggml 0.9.4 (d99724f2) icelake" : "attest 0.1.0";
  r.backend = std::move(backend);
  r.suite = "synthetic";
  r.tags = {"decode", "gqa"};
  return r;
}

VerdictRecord measured(VerdictRecord r, Verdict verdict, double ratio) {
  r.verdict = verdict;
  r.path = "vec";
  r.err_over_b = ratio;
  r.worst = {0, 3, 0, 17, 0.25 + 1e-6 * ratio, 0.25, 1e-6, "accumulator"};
  r.nmse = 1e-12 * (1 + ratio);
  r.max_abs = 1e-6 * ratio;
  r.cosine = 0.999999;
  r.ulp_p50 = 1;
  r.ulp_p99 = 6;
  r.ulp_max = 33.5;
  r.contract_nmse = 2e-12;
  r.parties = {{"eigen:f32", 3e-14, 2e-7}};
  r.rows = 16;
  r.rows_judged = 16;
  r.rows_confirmed = 4;
  r.bad_elements = ratio > 1 ? 40 : 0;
  r.backend_cpu_s = 0.125;
  r.backend_wall_s = 0.0625;
  r.judge_s = 0.25;
  return r;
}

// A verdict without numbers: the subject never answered, or was never asked.
VerdictRecord bare(VerdictRecord r, Verdict verdict, std::string detail) {
  r.verdict = verdict;
  r.detail = std::move(detail);
  r.err_over_b = std::numeric_limits<double>::quiet_NaN();
  return r;
}

VerdictRecord of_kind(Verdict verdict, int number, const std::string& backend) {
  VerdictRecord r = base(number, backend);
  switch (verdict) {
    case Verdict::PASS:
    case Verdict::BLIND:
      r = measured(std::move(r), verdict, 0.125);
      if (verdict == Verdict::BLIND) {
        r.detail = "could not have seen: sinks";
        r.blind_to = {"sinks"};
      }
      return r;
    case Verdict::FAIL:
      r = measured(std::move(r), verdict, 35.25);
      r.triage = {"mask",
                  "the mask of the next query",
                  "every head, queries 63, 127: every 64th",
                  "",
                  {"goes away with a zero mask", "stays with one thread"},
                  "full"};
      r.maps = {{"head", "query", 2, 8, 64, {{0.25, 0, 35}, {std::numeric_limits<double>::quiet_NaN(), 0.5, 12}}},
                {"", "column", 1, 32, 0, {{0.125, 35, std::numeric_limits<double>::infinity(), 0}}}};
      return r;
    case Verdict::CONTRACT:
      r = measured(std::move(r), verdict, 20.5);
      r.detail = "the backend states f32 and behaves like an f16 accumulator";
      r.triage.suspect = "precision";
      r.triage.fingerprint = "an f16 accumulator";
      r.triage.depth = "pattern";
      return r;
    case Verdict::NAN_:
      r = measured(std::move(r), verdict, std::numeric_limits<double>::quiet_NaN());
      r.worst.got = std::numeric_limits<double>::quiet_NaN();
      r.nmse = r.max_abs = std::numeric_limits<double>::infinity();
      r.bad_elements = 3;
      return r;
    case Verdict::RELATION:
      r = measured(std::move(r), verdict, 0.125);
      r.detail =
          "relation gqa: K and V repeated for every query head: seq 0, head 3, query 0, column 17: 0.25, then "
          "0.375; they may differ by 2e-06";
      r.relations_held = {"hidden", "again"};
      r.relations_broken = {"gqa"};
      r.relations_unsupported = {"row-alone: no n_q = 1 here"};
      r.relations_inapplicable = {"sink-key: there are no sinks", "contiguous: the tensors are contiguous"};
      return r;
    case Verdict::XFAIL:
      r = measured(std::move(r), verdict, 12.5);
      r.underlying = "FAIL";
      r.detail = "f16 accumulator for V=f16: the sum over the keys is rounded at every step and loses small weights";
      return r;
    case Verdict::XPASS:
      r = measured(std::move(r), verdict, 0.5);
      r.underlying = "PASS";
      r.detail = "passes although the ledger says FAIL";
      return r;
    case Verdict::UNSUPPORTED:
      return bare(std::move(r), verdict, "ggml: the mask must be f16");
    case Verdict::QUARANTINED:
      return bare(std::move(r), verdict, "takes the machine down with it");
    case Verdict::RANGE:
      r.loss = "overflow";
      r.path = "vec";
      return bare(std::move(r), verdict, "the f16 accumulator overflows in 3 of 16 rows");
    case Verdict::CRASH:
      return bare(std::move(r), verdict,
                  fmt::format("signal 6 (SIGABRT) after {} ms\nGGML_ASSERT(ne00 == ne10) failed", number));
    case Verdict::HANG:
      return bare(std::move(r), verdict, fmt::format("no answer within {}.5 s", number));
    default:
      return bare(std::move(r), verdict, fmt::format("made up for {}", info(verdict).name));
  }
}

}  // namespace

SyntheticRun synthetic_run() {
  SyntheticRun run;
  std::vector<VerdictRecord>& records = run.records;
  int number = 0;
  for (const Verdict verdict : all_verdicts()) {
    VerdictRecord own = measured(base(number, "cpu:vec"), Verdict::PASS, 0.0625 + number / 64.0);
    own.suspect = number == 2;
    own.suspect_reruns = number == 2 ? 3 : 0;
    records.push_back(own);
    records.push_back(of_kind(verdict, number++, "ggml:CPU"));
  }
  // Failures alike fall into one group, others with another term or path do not.
  for (int i = 0; i < 5; ++i, ++number) {
    records.push_back(measured(base(number, "cpu:vec"), Verdict::PASS, 0.25));
    VerdictRecord fail = measured(base(number, "ggml:CPU"), Verdict::FAIL, 2.5 + i);
    if (i == 3) fail.worst.dominant = "dot";
    if (i == 4) {
      fail.path = "tiled";
      fail.detail = "alone against both references, in 2 of 16 heads; behaves like an f16 accumulator";
      fail.line += " data='odd'";
    }
    fail.prec_not_honoured = i == 0;
    records.push_back(fail);
  }
  records.push_back(measured(base(number, "cpu:vec"), Verdict::PASS, 0.25));
  records.push_back(of_kind(Verdict::CRASH, number++, "ggml:CPU"));

  RunHeader& h = run.header;
  h.version = "0.1.0";
  h.command = "attest run --suite synthetic -b cpu:vec -b ggml:CPU";
  h.suite = "synthetic";
  h.started_utc = "2025-01-02T03:04:05Z";
  h.host = "bench";
  h.cpu = "AMD EPYC 9575F";
  h.seed = 7;
  h.backends = {"cpu:vec", "ggml:CPU"};
  h.build_ids = {"attest 0.1.0", "ggml 0.9.4 (d99724f2) icelake"};
  h.cases = number;
  h.verdicts_expected = static_cast<std::int64_t>(records.size());

  RunSummary& s = run.summary;
  for (const auto& r : records) {
    ++s.counts[r.backend][r.verdict];
    if (r.verdict == Verdict::PASS || r.verdict == Verdict::FAIL) {
      double& ratio = s.max_err_over_b[r.backend];
      ratio = std::max(ratio, r.err_over_b);
    }
    s.backend_cpu_s += r.backend_cpu_s;
  }
  s.selected = s.ruled = h.verdicts_expected;
  s.wall_s = 12.25;
  s.jobs = 2;
  return run;
}

void play(const SyntheticRun& run, RunListener& listener) {
  listener.on_start(run.header);
  for (const auto& record : run.records) {
    listener.on_case_start(record.line, record.case_id, record.backend);
    listener.on_verdict(record);
  }
  listener.on_finish(run.summary);
}

}  // namespace attest
