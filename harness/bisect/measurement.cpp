#include "harness/bisect/measurement.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "cases/inputs.h"
#include "harness/fingerprint.h"
#include "harness/key.h"
#include "harness/run/execution.h"

namespace attest {

namespace {

constexpr std::string_view kMark = "attest measurement 2";
constexpr int kFewestRuns = 5, kMostRuns = 200;
constexpr double kTimedSeconds = 1.0;  // CPU time spent on repeating, unless kFewestRuns take longer

class LastVerdict : public RunListener {
 public:
  void on_verdict(const VerdictRecord& record) override { last = record; }
  std::optional<VerdictRecord> last;
};

bool without_limit(const VerdictRecord& r) {
  return r.verdict == Verdict::NAN_ || r.verdict == Verdict::UNWRITTEN ||
         (r.verdict == Verdict::STALE && r.underlying == info(Verdict::NAN_).name);
}

std::string fingerprint_of(const std::vector<std::byte>& bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string arithmetic_like(const Case& c, const Execution& e) {
  if (c.problem.op != Op::flash_attn_ext) return "";
  TensorView out;
  static_cast<TensorShape&>(out) = plan_inputs(c.problem).out.shape;
  out.data = e.bits.data();
  const OwnedInputs inputs(c);
  Key key(c, inputs.inputs(), {});
  const Fingerprint found = fingerprint(key, e.contract, out, key.sample());
  return found.explains ? found.text() : "";
}

// Twice for the bits; more often for the time.
Expected<void> look_at_output(const Case& c, const std::string& backend, const SubjectMaker& make_subject,
                              const MeasureOptions& options, Measurement& m) {
  Bench bench(backend, make_subject, options.timeout_s);
  const auto first = bench.execute(c);
  if (!first) return Unexpected(first.error());
  const auto second = bench.execute(c);
  if (!second) return Unexpected(second.error());
  if (!first->bits.empty() && first->bits == second->bits) m.bits = fingerprint_of(first->bits);
  if (!first->bits.empty()) m.like = arithmetic_like(c, *first);
  if (!options.timed || first->bits.empty() || second->bits.empty()) return {};
  double least = std::min(first->cpu_s, second->cpu_s), spent = first->cpu_s + second->cpu_s;
  for (int run = 2; run < kMostRuns && (run < kFewestRuns || spent < kTimedSeconds); ++run) {
    if (options.interrupted != nullptr && options.interrupted->load()) return harness_error("interrupted");
    const auto again = bench.execute(c);
    if (!again) return Unexpected(again.error());
    if (again->bits.empty()) return {};  // it died: no time
    least = std::min(least, again->cpu_s);
    spent += again->cpu_s;
  }
  m.cpu_s = least;
  return {};
}

}  // namespace

bool Measurement::compared() const {
  switch (record.verdict) {
    case Verdict::PASS:
    case Verdict::BLIND:
    case Verdict::RANGE:
    case Verdict::FAIL:
    case Verdict::CONTRACT:
    case Verdict::NAN_:
    case Verdict::STALE:
    case Verdict::UNWRITTEN:
      return unknown.empty();
    default:
      return false;
  }
}

double Measurement::error() const {
  return without_limit(record) ? std::numeric_limits<double>::infinity() : record.max_abs;
}

double Measurement::nmse() const {
  return without_limit(record) ? std::numeric_limits<double>::infinity() : record.nmse;
}

std::string summary(const Measurement& m) {
  if (!m.unknown.empty()) return m.unknown;
  const std::string_view verdict = info(m.record.verdict).name;
  if (!m.compared()) return fmt::format("{}: {}", verdict, m.record.detail);
  if (without_limit(m.record)) return fmt::format("{}: the output is not finite", verdict);
  std::string text = fmt::format("{}, err {:.3g}, NMSE {:.2g}", verdict, m.error(), m.nmse());
  if (m.cpu_s > 0) text += fmt::format(", {:.4g} s", m.cpu_s);
  return text;
}

std::string to_text(const Measurement& m) {
  const auto one_line = [](std::string text) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  };
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n", kMark, one_line(m.unknown), one_line(m.release), m.bits, m.like,
                     m.cpu_s, to_json(m.record));
}

std::optional<Measurement> measurement_from_text(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (lines.size() != 7 || lines[0] != kMark) return std::nullopt;
  auto record = record_from_json(lines[6]);
  if (!record) return std::nullopt;
  Measurement m;
  m.unknown = lines[1];
  m.release = lines[2];
  m.bits = lines[3];
  m.like = lines[4];
  m.cpu_s = std::strtod(lines[5].c_str(), nullptr);
  m.record = std::move(*record);
  return m;
}

Expected<Measurement> measure(const Case& c, const std::string& backend, const SubjectMaker& make_subject,
                              const MeasureOptions& options) {
  Measurement m;
  RunPlan plan;
  plan.cases = {c};
  plan.backends = {backend};
  RunOptions run_options;
  run_options.jobs = 1;
  run_options.timeout_s = options.timeout_s;
  run_options.blindness = false;
  run_options.cache = options.cache;
  run_options.interrupted = options.interrupted;
  LastVerdict listener;
  const auto summary = run(plan, run_options, make_subject, {}, listener);
  const bool interrupted = options.interrupted != nullptr && options.interrupted->load();
  if (interrupted) return harness_error("interrupted");
  if (!summary) {
    m.unknown = summary.error().text();
    return m;
  }
  if (!listener.last) {
    m.unknown = "no verdict was made";
    return m;
  }
  m.record = std::move(*listener.last);
  if (m.record.verdict == Verdict::UNSUPPORTED) m.unknown = "UNSUPPORTED: " + m.record.detail;
  if (!m.compared()) return m;
  if (auto looked = look_at_output(c, backend, make_subject, options, m); !looked) return Unexpected(looked.error());
  return m;
}

}  // namespace attest
