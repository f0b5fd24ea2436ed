#include "harness/cli/bisect_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "harness/cli/verbs.h"
#include "reports/text.h"

namespace attest::cli {

namespace {

constexpr std::size_t kWidth = 100, kLabel = 10, kMostNamed = 12;

const char* word(Answer bad) { return bad == Answer::yes ? "bad" : bad == Answer::no ? "good" : "?"; }

std::string error_text(const Measurement& m) {
  if (!m.compared()) return "-";
  return fmt::format("{:.3g}", m.error());
}

std::string in_brackets(const std::string& text) { return text.empty() ? "" : " (" + text + ")"; }

std::string named(const StepReport& report) { return report.step.name + in_brackets(report.measurement.release); }

// What does not fit at the end is left out: a reason begins with what matters.
std::string cut(const std::string& text, std::size_t width) {
  const std::string line = printable(text);
  return line.size() <= width ? line : line.substr(0, width - 3) + "...";
}

std::string labelled(std::string_view label, std::string_view text) {
  return fmt::format("{:<{}}{}", label, kLabel, wrapped(printable(text), kWidth, kLabel));
}

}  // namespace

BisectConsole::BisectConsole(const BisectQuestion& question, std::filesystem::path log)
    : question_(question), log_path_(std::move(log)) {
  if (log_path_.empty()) return;
  if (auto opened = open_file_sink(log_path_, FileMode::replace)) log_ = std::move(*opened);
}

BisectConsole::~BisectConsole() { erase_status(); }

void BisectConsole::erase_status() {
  if (drawn_) static_cast<void>(status_.write("\r\x1b[K"));
  drawn_ = false;
}

void BisectConsole::on_doing(const std::string& what) {
  note("  " + what);
  if (!status_.is_terminal()) return;
  static_cast<void>(status_.write("\r\x1b[K" + shortened(printable(what), kWidth - 4) + " ..."));
  drawn_ = true;
}

void BisectConsole::say(const std::string& line) {
  erase_status();
  // A terminal that went away is no reason to stop: what was found is kept.
  static_cast<void>(out_.write(line + "\n"));
  note(line);
}

void BisectConsole::note(const std::string& line) {
  if (log_) static_cast<void>(log_->write(line + "\n"));
}

void BisectConsole::open(const std::string& verb, const BisectHistory& history) {
  say(fmt::format("attest bisect {}: {}", verb, history.describe()));
  say(labelled("line", text(question_.c)));
  name_width_ =
      std::clamp(std::max(history.older().name.size(), history.newer().name.size()) + 2, name_width_, std::size_t{32});
}

void BisectConsole::row(const StepReport& r) {
  const Measurement& m = r.measurement;
  std::string line = fmt::format("{:<5} {:<{}} ", word(r.bad), shortened(r.step.name, name_width_), name_width_);
  if (!m.unknown.empty()) {
    say(line + cut(m.unknown, kWidth - line.size()));
  } else {
    line += fmt::format("{:<13} {:>9} {:>9}", info(m.record.verdict).name, error_text(m),
                        m.compared() ? fmt::format("{:.2g}", m.nmse()) : "-");
    if (question_.when.timed()) line += fmt::format(" {:>10}", m.cpu_s > 0 ? fmt::format("{:.3g}", m.cpu_s) : "-");
    line += fmt::format("  {:<8} {}", shortened(m.record.path, 8), r.step.title.empty() ? m.release : r.step.title);
    while (line.back() == ' ') line.pop_back();
    say(cut(line, kWidth));
  }
  for (const std::string& reason : {m.unknown, m.record.detail}) {
    if (!reason.empty()) note("      " + printable(reason));
  }
}

void BisectConsole::on_premise(const StepReport& older, const StepReport& newer, const std::string& about) {
  const std::string& backend =
      newer.measurement.record.backend.empty() ? older.measurement.record.backend : newer.measurement.record.backend;
  say(labelled("backend", backend));
  say(labelled("bad is", about));
  say("");
  std::string head = fmt::format("{:<5} {:<{}} {:<13} {:>9} {:>9}", "", "step", name_width_, "verdict", "err", "NMSE");
  if (question_.when.timed()) head += fmt::format(" {:>10}", "CPU s");
  say(head + "  path");
  row(older);
  row(newer);
}

void BisectConsole::on_left(const StepsLeft& left, double seconds) {
  const std::string time = seconds < 100 ? fmt::format("{:.0f} s", std::ceil(seconds)) : duration(seconds);
  const std::string about = seconds > 0 ? fmt::format(" (about {})", time) : "";
  say(fmt::format("{} left{}, {} in between", count_of(left.questions, "step", "steps"), about, left.steps));
}

void BisectConsole::on_step(const StepReport& step) { row(step); }

void BisectConsole::sides(const BisectOutcome& outcome) {
  const StepReport &a = outcome.before, &b = outcome.after;
  const auto line = [&](std::string_view label, const std::string& left, const std::string& right) {
    if (left.empty() && right.empty()) return;
    say(fmt::format("{:<{}}{:<44} {}", label, kLabel, shortened(printable(left), 44), shortened(printable(right), 44)));
  };
  const auto fields = [&](const StepReport& r) {
    const Measurement& m = r.measurement;
    std::vector<std::string> f{named(r)};
    f.push_back(m.unknown.empty() ? std::string(info(m.record.verdict).name) : m.unknown);
    f.push_back(error_text(m));
    f.push_back(m.compared() ? fmt::format("{:.3g}", m.nmse()) : "-");
    f.push_back(
        !m.compared() ? "-" : fmt::format("{}{:.3g}", m.record.err_over_b_is_bound ? "<= " : "", m.record.err_over_b));
    f.push_back(m.record.path);
    f.push_back(m.like);
    f.push_back(m.cpu_s > 0 ? fmt::format("{:.4g} s", m.cpu_s) : "");
    f.push_back(m.bits.substr(0, 16));
    f.push_back(m.record.build_id);
    return f;
  };
  const bool fix = question_.find_fix;
  line("", fix ? "last bad" : "last good", fix ? "first good" : "first bad");
  const auto left = fields(a), right = fields(b);
  constexpr std::string_view kLabels[] = {"step", "verdict", "err",      "NMSE", "err/B",
                                          "path", "like",    "CPU time", "bits", "build"};
  for (std::size_t i = 0; i < left.size(); ++i) line(kLabels[i], left[i], right[i]);
  const StepReport& bad = fix ? a : b;
  if (!bad.measurement.record.detail.empty()) say(labelled("detail", bad.measurement.record.detail));
}

int BisectConsole::conclude(const BisectOutcome& outcome, BisectHistory& history) {
  erase_status();
  const std::string log = log_ ? log_path_.string() : "";
  const char* what = question_.find_fix ? "good" : "bad";
  const std::string effort =
      fmt::format("{} beside the two ends{}", count_of(outcome.steps, "step", "steps"),
                  outcome.kept > 0 ? fmt::format(", {} of them kept from before", outcome.kept) : "");
  switch (outcome.kind) {
    case BisectOutcome::Kind::premise_false:
      note(outcome.premise);
      return report(input_error(outcome.premise).value());
    case BisectOutcome::Kind::interrupted:
      if (!outcome.candidates.empty()) {
        say(fmt::format("so far: the first {} step comes after {} and is {} or before it", what,
                        outcome.before.step.name, outcome.after.step.name));
      }
      fmt::print(stderr, "attest: interrupted after {}: the same command goes on from there\n", effort);
      return kInterrupted;
    case BisectOutcome::Kind::range: {
      say(fmt::format("\nThe first {} step is one of {}: those before {} could not be judged", what,
                      outcome.candidates.size(), outcome.after.step.name));
      say(fmt::format("after {}", effort));
      std::size_t shown = 0;
      for (const StepReport& r : outcome.candidates) {
        if (++shown > kMostNamed) break;
        const std::string start = fmt::format("  {:<{}} ", shortened(named(r), 40), name_width_);
        say(start + cut(r.measurement.unknown.empty() ? r.step.title : r.measurement.unknown, kWidth - start.size()));
      }
      if (outcome.candidates.size() > kMostNamed) {
        say(fmt::format("  and {} more", outcome.candidates.size() - kMostNamed));
      }
      break;
    }
    case BisectOutcome::Kind::found:
      say(fmt::format("\nFirst {}: {}{}", what, history.full_name(outcome.after.step),
                      in_brackets(outcome.after.measurement.release)));
      say(fmt::format("found in {}", effort));
      break;
  }
  say("");
  sides(outcome);
  say("");
  if (outcome.kind == BisectOutcome::Kind::found) {
    for (const std::string& line : history.about(outcome.after.step)) say(line);
  }
  say(labelled("line", text(question_.c)));
  for (const StepReport* side : {&outcome.before, &outcome.after}) {
    const Specimen& s = side->specimen;
    if (side->backend.empty() || !s.unusable.empty()) continue;
    say(fmt::format("{:<{}}attest run -b {}{} --case {}", side == &outcome.before ? "repro" : "", kLabel,
                    shell_quoted(side->backend), s.ggml.empty() ? "" : " --ggml " + shell_quoted(s.ggml.string()),
                    shell_quoted(text(question_.c))));
  }
  if (!log.empty()) say(labelled("log", log));
  return outcome.kind == BisectOutcome::Kind::found ? kOk : kHarness;
}

}  // namespace attest::cli
