#include "reports/html_page.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "reports/html_template.h"

namespace attest {

namespace {

// Whole records are kept for this many verdicts that are not PASS; a run with more has one cause for thousands.
constexpr std::size_t kWholeRecords = 5000;

// Every text once.
class Texts {
 public:
  std::size_t index(const std::string& text) {
    const auto [at, fresh] = known_.try_emplace(text, known_.size());
    if (fresh) list_ += fmt::format("{}{}", list_.empty() ? "" : ",", json_text(text));
    return at->second;
  }
  const std::string& list() const { return list_; }

 private:
  std::unordered_map<std::string, std::size_t> known_;
  std::string list_;
};

class Column {
 public:
  explicit Column(std::string_view name) : out_(fmt::format("{}:[", json_text(name))) {}
  void add(std::size_t value) {
    separate();
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }
  void add_number(double value) {
    separate();
    put_json_number(out_, value);
  }
  std::string text() const { return out_ + "]"; }

 private:
  void separate() {
    if (!first_) out_ += ',';
    first_ = false;
  }
  std::string out_;
  bool first_ = true;
};

std::string columns(const std::vector<VerdictRecord>& verdicts, Texts& texts) {
  Column verdict("verdict"), backend("backend"), line("line"), suite("suite"), path("path"), detail("detail"),
      tags("tags"), bound("bound"), judged("judged"), ratio("ratio"), nmse("nmse"), max_abs("max_abs"), cpu("cpu"),
      judge("judge");
  for (const VerdictRecord& r : verdicts) {
    verdict.add(static_cast<std::size_t>(r.verdict));
    backend.add(texts.index(r.backend));
    line.add(texts.index(r.line));
    suite.add(texts.index(r.suite));
    path.add(texts.index(r.path));
    detail.add(texts.index(r.detail));
    tags.add(texts.index(fmt::format("{}", fmt::join(r.tags, ","))));
    bound.add(r.err_over_b_is_bound ? 1 : 0);
    judged.add(r.rows_judged > 0 ? 1 : 0);
    ratio.add_number(r.err_over_b);
    nmse.add_number(r.nmse);
    max_abs.add_number(r.max_abs);
    cpu.add_number(r.backend_cpu_s);
    judge.add_number(r.judge_s);
  }
  std::string out;
  for (const Column* c : {&verdict, &backend, &line, &suite, &path, &detail, &tags, &bound, &judged, &ratio, &nmse,
                          &max_abs, &cpu, &judge}) {
    out += fmt::format("{}{}", out.empty() ? "" : ",", c->text());
  }
  return out;
}

std::string data(const RecordFile& file, const HtmlOptions& options) {
  Texts texts;
  const std::string table = columns(file.verdicts, texts);
  std::string infos, runs, records;
  for (const Verdict v : all_verdicts()) {
    infos += fmt::format("{}{{\"name\":{},\"bad\":{},\"meaning\":{}}}", infos.empty() ? "" : ",",
                         json_text(info(v).name), info(v).bad, json_text(info(v).meaning));
  }
  std::int64_t expected = 0;
  for (const RunHeader& run : file.runs) {
    // to_json() gives {"run":{...}}.
    const std::string whole = to_json(run);
    runs += fmt::format("{}{}", runs.empty() ? "" : ",", whole.substr(7, whole.size() - 8));
    expected = std::max(expected, run.verdicts_expected);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < file.verdicts.size() && kept < kWholeRecords; ++i) {
    const VerdictRecord& r = file.verdicts[i];
    if (r.verdict == Verdict::PASS || r.verdict == Verdict::UNSUPPORTED) continue;
    records += fmt::format("{}\"{}\":{}", records.empty() ? "" : ",", i, to_json(r));
    ++kept;
  }
  return fmt::format(
      "{{\"verdicts\":[{}],\"runs\":[{}],\"expected\":{},\"repro_options\":{},\"strings\":[{}],\"columns\":{{{}}},"
      "\"records\":{{{}}}}}",
      infos, runs, expected, json_text(options.repro_options), texts.list(), table, records);
}

}  // namespace

std::string html_page(const RecordFile& file, const HtmlOptions& options) {
  const std::string suite = file.runs.empty() ? "" : file.runs.front().suite;
  const std::string title = suite.empty() ? "attest" : fmt::format("attest: {}", suite);
  return filled_page("page.html", title, {"data.js", "plots.js", "app.js"}, data(file, options));
}

}  // namespace attest
