#include "harness/mutants/kill_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "reports/text.h"

namespace attest {

namespace {

// A mutant is to be killed, a legal variant is not.
bool as_expected(const Suspect& s) { return s.kill.has_value() != s.legal; }

// Mutants of a class, and how many of them were killed.
struct ClassRow {
  std::string name;
  std::int64_t mutants = 0, killed = 0;
  std::map<std::string_view, std::int64_t> verdicts;  // first kills
  std::array<std::int64_t, kClassicalRules> by_rule{};
};

std::vector<ClassRow> by_class(const std::vector<Suspect>& suspects) {
  std::vector<ClassRow> rows;
  for (const Suspect& s : suspects) {
    if (s.legal) continue;
    auto at =
        std::find_if(rows.begin(), rows.end(), [&](const ClassRow& r) { return r.name == s.row.suspected_class; });
    if (at == rows.end()) at = rows.insert(rows.end(), ClassRow{s.row.suspected_class, 0, 0, {}, {}});
    ++at->mutants;
    for (std::size_t r = 0; r < kClassicalRules; ++r) at->by_rule[r] += s.rejected[r] > 0 ? 1 : 0;
    if (!s.kill) continue;
    ++at->killed;
    ++at->verdicts[info(s.kill->verdict).name];
  }
  return rows;
}

std::string verdict_list(const ClassRow& row) {
  std::string out;
  for (const auto& [verdict, count] : row.verdicts)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, verdict);
  return out;
}

std::string percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "-" : fmt::format("{:.4g} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// What one way of judging made of one set of inputs.
struct Judgement {
  std::string rule;
  std::int64_t killed = 0, flagged = 0, flagged_narrow = 0;  // legal variants: f32 throughout, and narrower by contract
};

std::vector<Judgement> judgements(const KillPart& part) {
  std::vector<Judgement> rows(kClassicalRules + 1);
  rows[0].rule = "attest";
  for (std::size_t r = 0; r < kClassicalRules; ++r) rows[r + 1].rule = kRules[r].name;
  for (const Suspect& s : part.suspects) {
    for (std::size_t r = 0; r <= kClassicalRules; ++r) {
      const bool seen = r == 0 ? s.kill.has_value() : s.rejected[r - 1] > 0;
      if (!seen) continue;
      ++(!s.legal ? rows[r].killed : s.row.narrow ? rows[r].flagged_narrow : rows[r].flagged);
    }
  }
  return rows;
}

std::int64_t variants(const KillPart& part, bool narrow) {
  return std::count_if(part.suspects.begin(), part.suspects.end(),
                       [&](const Suspect& s) { return s.legal && s.row.narrow == narrow; });
}

std::vector<const KillPart*> parts(const KillReport& report) {
  std::vector<const KillPart*> all;
  for (const KillPart& part : report.others) all.push_back(&part);
  all.push_back(&report.main);
  return all;
}

std::string rules_console(const KillReport& report) {
  std::string out;
  for (const KillPart* part : parts(report)) {
    const KillScore s = score(part->suspects);
    out += fmt::format("\n{}, {}:\n", part->about.empty() ? "suite " + part->suite : part->about,
                       count_of(part->cases, "case", "cases"));
    out += fmt::format("{:<16} {:>16} {:>26} {:>28}\n", "rule", fmt::format("of {} mutants", s.mutants),
                       fmt::format("false alarms, {} f32", variants(*part, false)),
                       fmt::format("{} narrower, stated", variants(*part, true)));
    for (const Judgement& j : judgements(*part)) {
      out += fmt::format("{:<16} {:>7} {:>8} {:>26} {:>28}\n", j.rule, j.killed, percent(j.killed, s.mutants),
                         j.flagged, j.flagged_narrow);
    }
  }
  return out;
}

}  // namespace

std::string kill_console(const KillReport& report, bool all) {
  std::string out;
  std::size_t name = 36;
  for (const Suspect& s : report.main.suspects) name = std::max(name, s.row.backend.size());
  const auto line = [&](const Suspect& s) {
    const std::string how = s.kill ? std::string(info(s.kill->verdict).name) : s.legal ? "-" : "SURVIVED";
    const std::string when = s.kill ? fmt::format("{:>6} {:>9}", s.kill->cases, duration(s.kill->seconds))
                                    : fmt::format("{:>6} {:>9}", s.cases, "-");
    out += fmt::format("{:<{}} {:<6} {:<14} {:<14} {}\n", s.row.backend, name, s.row.path, s.row.suspected_class, how,
                       when);
  };
  out += fmt::format("{:<{}} {:<6} {:<14} {:<14} {:>6} {:>9}\n", "backend", name, "path", "class", "first kill", "case",
                     "after");
  for (const Suspect& s : report.main.suspects) {
    if (all || !as_expected(s)) line(s);
  }
  for (const Suspect& s : report.main.suspects) {
    if (as_expected(s)) continue;
    out += fmt::format("\n{}: {}\n  {}\n", s.legal ? "FALSE ALARM" : "SURVIVED", s.row.backend, s.row.description);
    if (s.kill) out += fmt::format("  {}: {}\n  {}\n", info(s.kill->verdict).name, s.kill->line, s.kill->detail);
  }
  if (report.rules) out += rules_console(report);
  const KillScore s = score(report.main.suspects);
  out += "\n";
  if (s.mutants > 0) {
    out += fmt::format("mutation score {}: {} of {} mutants killed by suite {} ({} cases)\n",
                       percent(s.killed, s.mutants), s.killed, s.mutants, report.main.suite, report.main.cases);
  }
  if (s.killed > 0) {
    out += fmt::format("first kill after {} (median) to {} ({})\n", duration(s.median_seconds),
                       duration(s.slowest_seconds), s.slowest);
  }
  if (s.variants > 0) {
    out +=
        fmt::format("{} on {} legal variants\n", count_of(s.false_alarms, "false alarm", "false alarms"), s.variants);
  }
  out += fmt::format("{} in all\n", duration(report.wall_s));
  return out;
}

std::string kill_markdown(const KillReport& report) {
  std::string out;
  const KillScore s = score(report.main.suspects);
  out += fmt::format("<!-- {} -->\n", report.command);
  out +=
      fmt::format("{} of {} mutants killed by suite `{}` ({} cases), mutation score {}; {} on {} legal variants.\n\n",
                  s.killed, s.mutants, report.main.suite, report.main.cases, percent(s.killed, s.mutants),
                  count_of(s.false_alarms, "false alarm", "false alarms"), s.variants);
  out += "| class | mutants | killed | first verdict |";
  if (report.rules) out += " NMSE 5e-4 kills |";
  out += "\n|---|---|---|---|";
  out += report.rules ? "---|\n" : "\n";
  for (const ClassRow& row : by_class(report.main.suspects)) {
    out += fmt::format("| {} | {} | {} | {} |", row.name, row.mutants, row.killed, verdict_list(row));
    out += report.rules ? fmt::format(" {} |\n", row.by_rule[0]) : "\n";
  }
  if (!report.rules) return out;
  out += "\n| rule |";
  for (const KillPart* part : parts(report)) out += fmt::format(" kills on {}'s inputs | false alarms |", part->suite);
  out += "\n|---|";
  for (std::size_t i = 0; i < parts(report).size(); ++i) out += "---|---|";
  out += "\n";
  for (std::size_t r = 0; r <= kClassicalRules; ++r) {
    out += fmt::format("| {} |", r == 0 ? "attest" : std::string(kRules[r - 1].name));
    for (const KillPart* part : parts(report)) {
      const Judgement j = judgements(*part)[r];
      const std::int64_t mutants = score(part->suspects).mutants;
      out += fmt::format(" {} of {} ({}) | {} + {} |", j.killed, mutants, percent(j.killed, mutants), j.flagged,
                         j.flagged_narrow);
    }
    out += "\n";
  }
  out += fmt::format(
      "\nFalse alarms: legal variants flagged, of {} in f32 throughout + of {} that state narrower arithmetic.",
      variants(report.main, false), variants(report.main, true));
  for (const KillPart& part : report.others)
    out += fmt::format(" {}'s inputs: {}, {} cases.", part.suite, part.about, part.cases);
  return out + "\n";
}

namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

constexpr const char* kStyle = R"css(
:root{--fg:#1d2026;--bg:#fff;--dim:#667;--line:#dfe2e8;--good:#1a7f4b;--bad:#c2342d;--tint:#f5f7fa}
@media(prefers-color-scheme:dark){:root{--fg:#e6e8ec;--bg:#16181d;--dim:#99a;--line:#333842;--good:#57c98b;--bad:#ff8078;--tint:#1e2128}}
body{margin:2rem auto;max-width:1180px;padding:0 1rem;font:15px/1.45 system-ui,sans-serif;color:var(--fg);background:var(--bg)}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.dim{color:var(--dim)}code{font:12.5px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
.figures{display:flex;gap:2.5rem;margin:1.2rem 0}.figures b{display:block;font-size:1.9rem;font-weight:600}
table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600;color:var(--dim);font-size:.85rem}
th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}td.n{white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
tr:hover td{background:var(--tint)}.bad{color:var(--bad);font-weight:600}.good{color:var(--good)}
td small{display:block;color:var(--dim)}
)css";

std::string html_rules(const KillReport& report) {
  std::string out = "<h2>The rules others judge by</h2><table><tr><th>rule</th>";
  for (const KillPart* part : parts(report)) {
    out += fmt::format("<th class=n>kills, {}'s inputs</th><th class=n>false alarms</th>", escaped(part->suite));
  }
  out += "</tr>";
  for (std::size_t r = 0; r <= kClassicalRules; ++r) {
    out += fmt::format("<tr><td>{}<small>{}</small></td>", r == 0 ? "attest" : std::string(kRules[r - 1].name),
                       escaped(r == 0 ? "error budget per element, poison, guard pages" : kRules[r - 1].says));
    for (const KillPart* part : parts(report)) {
      const Judgement j = judgements(*part)[r];
      const std::int64_t mutants = score(part->suspects).mutants;
      out += fmt::format(
          "<td class=n>{} of {}<small>{}</small></td><td class=n>{}<small>{} f32, {} narrower</small></td>", j.killed,
          mutants, percent(j.killed, mutants), j.flagged + j.flagged_narrow, j.flagged, j.flagged_narrow);
    }
    out += "</tr>";
  }
  out += "</table>";
  for (const KillPart& part : report.others) {
    out += fmt::format("<p class=dim>{}'s inputs: {}, {} cases.</p>", escaped(part.suite), escaped(part.about),
                       part.cases);
  }
  return out;
}

std::string html_rows(const KillReport& report, bool legal) {
  std::string out = fmt::format(
      "<h2>{}</h2><table><tr><th>{}</th><th>path</th><th>class</th><th>verdict</th>"
      "<th class=n>case</th><th class=n>after</th><th>first killing line</th></tr>",
      legal ? "Legal variants" : "Mutants", legal ? "variant" : "bug");
  for (const Suspect& s : report.main.suspects) {
    if (s.legal != legal) continue;
    const bool good = as_expected(s);
    const std::string how = s.kill ? std::string(info(s.kill->verdict).name) : legal ? "no alarm" : "SURVIVED";
    out += fmt::format("<tr><td><code>{}</code><small>{}{}</small></td><td>{}</td><td>{}</td><td class={}>{}</td>",
                       escaped(s.row.backend), escaped(s.row.description),
                       s.row.models.empty() ? "" : "; as in: " + escaped(s.row.models), escaped(s.row.path),
                       escaped(legal ? s.row.contract : s.row.suspected_class), good ? "good" : "bad", how);
    out += fmt::format("<td class=n>{}</td><td class=n>{}</td><td><code>{}</code></td></tr>",
                       s.kill ? s.kill->cases : s.cases, s.kill ? duration(s.kill->seconds) : "-",
                       s.kill ? escaped(s.kill->line) : "");
  }
  return out + "</table>";
}

}  // namespace

std::string kill_html(const KillReport& report) {
  const KillScore s = score(report.main.suspects);
  std::string out = fmt::format(
      "<!doctype html><html lang=en><meta charset=utf-8>"
      "<meta name=viewport content=\"width=device-width,initial-scale=1\">"
      "<title>attest: kill matrix</title><style>{}</style><body>",
      kStyle);
  out += fmt::format("<h1>Does the judge see bugs?</h1><p class=dim><code>{}</code></p><div class=figures>",
                     escaped(report.command));
  const auto figure = [&](const std::string& value, const std::string& what) {
    out += fmt::format("<p><b>{}</b>{}</p>", value, what);
  };
  if (s.mutants > 0) {
    figure(percent(s.killed, s.mutants), fmt::format("mutation score, {} of {}", s.killed, s.mutants));
    figure(duration(s.median_seconds), "median time to the first kill");
  }
  if (s.variants > 0)
    figure(std::to_string(s.false_alarms), fmt::format("false alarms on {} legal variants", s.variants));
  figure(std::to_string(report.main.cases), fmt::format("cases of suite {}", escaped(report.main.suite)));
  out += "</div>";
  if (report.rules) out += html_rules(report);
  if (s.mutants > 0) out += html_rows(report, false);
  if (s.variants > 0) out += html_rows(report, true);
  return out + "</body></html>\n";
}

}  // namespace attest
