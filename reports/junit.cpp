#include "reports/junit.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "reports/ruling_text.h"

namespace attest {

namespace {

enum class Ending { passed, skipped, failure, error };

Ending ending_of(Verdict verdict) {
  if (verdict == Verdict::PASS) return Ending::passed;
  if (!info(verdict).bad) return Ending::skipped;
  switch (verdict) {
    case Verdict::CRASH:
    case Verdict::HANG:
    case Verdict::OOM:
    case Verdict::OOB:
    case Verdict::ERROR:
    case Verdict::INPUT_WRITTEN:
    case Verdict::FLAKY:
    case Verdict::ORACLE:
      return Ending::error;
    default:
      return Ending::failure;
  }
}

// XML 1.0 has no way to say most control characters.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\n':
        out += "&#10;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string message_of(const VerdictRecord& r) {
  std::string text(info(r.verdict).name);
  if (!r.underlying.empty()) text += fmt::format(" ({})", r.underlying);
  if (!r.detail.empty()) return text + ": " + r.detail;
  const std::string worst = worst_text(r);
  return text + ": " + (worst.empty() ? std::string(info(r.verdict).meaning) : worst);
}

std::string body_of(const VerdictRecord& r, const std::string& repro_options) {
  std::string text = message_of(r) + "\n";
  for (const auto& [label, said] : triage_lines(r.triage)) text += fmt::format("{}: {}\n", label, said);
  if (!r.path.empty()) text += "path: " + r.path + "\n";
  if (const std::string worst = worst_text(r); !worst.empty()) {
    text += fmt::format("worst: {}\nbudget: {}\nNMSE: {:.3g}, max abs error {:.3g}\n", worst, budget_text(r), r.nmse,
                        r.max_abs);
  }
  return text + "repro: " + repro_text(r, repro_options) + "\n";
}

std::string test_case(const VerdictRecord& r, const std::string& classname, const std::string& repro_options) {
  std::string out = fmt::format("    <testcase name=\"{}\" classname=\"{}\" time=\"{:.6f}\"", escaped(r.line),
                                escaped(classname), r.backend_wall_s);
  const auto with = [&](std::string_view element) {
    return out + fmt::format(">\n      <{0} message=\"{1}\" type=\"{2}\">{3}</{0}>\n    </testcase>\n", element,
                             escaped(message_of(r)), info(r.verdict).name, escaped(body_of(r, repro_options)));
  };
  switch (ending_of(r.verdict)) {
    case Ending::passed:
      return out + "/>\n";
    case Ending::skipped:
      return out + fmt::format(">\n      <skipped message=\"{}\"/>\n    </testcase>\n", escaped(message_of(r)));
    case Ending::failure:
      return with("failure");
    case Ending::error:
      break;
  }
  return with("error");
}

struct SuiteOfTests {
  std::string cases;
  std::int64_t tests = 0, failures = 0, errors = 0, skipped = 0;
  double time = 0;

  void add(const VerdictRecord& r, const std::string& classname, const std::string& repro_options) {
    cases += test_case(r, classname, repro_options);
    const Ending ending = ending_of(r.verdict);
    ++tests;
    failures += ending == Ending::failure ? 1 : 0;
    errors += ending == Ending::error ? 1 : 0;
    skipped += ending == Ending::skipped ? 1 : 0;
    time += r.backend_wall_s;
  }
};

}  // namespace

std::string junit_xml(const RecordFile& file, const std::string& repro_options) {
  const RunHeader header = file.runs.empty() ? RunHeader{} : file.runs.back();
  std::map<std::pair<std::string, std::string>, SuiteOfTests> suites;
  std::map<std::string, std::int64_t> ruled;
  for (const auto& backend : header.backends) ruled[backend] = 0;
  for (const VerdictRecord& r : file.verdicts) {
    suites[{r.backend, r.suite}].add(r, fmt::format("attest.{}.{}", r.suite.empty() ? "case" : r.suite, r.backend),
                                     repro_options);
    ++ruled[r.backend];
  }
  // What was asked and never ruled must not look green.
  for (const auto& [backend, count] : ruled) {
    const std::int64_t missing = header.cases - count;
    if (header.backends.empty() || missing <= 0) continue;
    SuiteOfTests& suite = suites[{backend, header.suite}];
    suite.cases += fmt::format(
        "    <testcase name=\"every case is ruled\" classname=\"attest.{0}.{1}\" time=\"0\">\n      <error "
        "message=\"{2} of {3} cases have no verdict in this record\" type=\"UNFINISHED\"/>\n    </testcase>\n",
        escaped(header.suite.empty() ? "case" : header.suite), escaped(backend), missing, header.cases);
    ++suite.tests;
    ++suite.errors;
  }
  SuiteOfTests all;
  std::string body;
  int id = 0;
  std::string timestamp = header.started_utc;
  if (timestamp.ends_with('Z')) timestamp.pop_back();
  for (const auto& [key, suite] : suites) {
    body += fmt::format(
        "  <testsuite name=\"{}: {}\" package=\"attest\" id=\"{}\" timestamp=\"{}\" hostname=\"{}\" tests=\"{}\" "
        "failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{:.6f}\">\n    <properties>\n      <property "
        "name=\"attest\" value=\"{}\"/>\n      <property name=\"command\" value=\"{}\"/>\n    </properties>\n{}"
        "    <system-out></system-out>\n    <system-err></system-err>\n  </testsuite>\n",
        escaped(key.first), escaped(key.second.empty() ? "case" : key.second), id++,
        timestamp.empty() ? "1970-01-01T00:00:00" : escaped(timestamp),
        header.host.empty() ? "localhost" : escaped(header.host), suite.tests, suite.failures, suite.errors,
        suite.skipped, suite.time, escaped(header.version), escaped(header.command), suite.cases);
    all.tests += suite.tests;
    all.failures += suite.failures;
    all.errors += suite.errors;
    all.skipped += suite.skipped;
    all.time += suite.time;
  }
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"attest\" tests=\"{}\" failures=\"{}\" "
      "errors=\"{}\" skipped=\"{}\" time=\"{:.6f}\">\n{}</testsuites>\n",
      all.tests, all.failures, all.errors, all.skipped, all.time, body);
}

}  // namespace attest
