#include "reports/history/history_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "reports/text.h"

namespace attest {

namespace {

constexpr std::size_t kMostGroups = 20;

// "2026-11-21T06:14:57Z" -> "2026-11-21 06:14".
std::string day_and_minute(const std::string& utc) {
  std::string text = utc.substr(0, std::min<std::size_t>(utc.size(), 16));
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string short_commit(const std::string& commit) {
  const bool hash = commit.size() > 9 && commit.find_first_not_of("0123456789abcdef") == std::string::npos;
  return commit.empty() ? "-" : hash ? commit.substr(0, 9) : shortened(printable(commit), 9);
}

std::string ratio_text(double ratio) { return std::isnan(ratio) ? "-" : fmt::format("{:.3g}", ratio); }

std::string ratio_in_words(double ratio) { return std::isnan(ratio) ? "no ratio" : fmt::format("{:.3g}", ratio); }

std::string name_of(const RunPoint& run) {
  std::string text = fmt::format("run {}, {}", run.run, day_and_minute(run.started));
  if (!run.commit.empty()) text += ", commit " + short_commit(run.commit);
  return text;
}

std::string labelled(std::string_view label, std::string_view body) {
  constexpr std::size_t kLabel = 12;
  return fmt::format("{:<{}}{}\n", label, kLabel, wrapped(printable(body), kHistoryWidth, kLabel));
}

std::string build_line(const RunPoint& run) {
  return fmt::format("      build {}\n", shortened(printable(run.build), kHistoryWidth - 12));
}

std::string skipped_line(std::size_t skipped) {
  return skipped == 0
             ? ""
             : fmt::format("      ({} before these)\n", count_of(static_cast<std::int64_t>(skipped), "run", "runs"));
}

// Cases that are bad now, alike: since the same run, in the same way.
struct BadGroup {
  std::int64_t count = 0;
  std::uint64_t worst = 0;
  const CaseTrack* track = nullptr;
};

std::string bad_now(const Timeline& timeline, const std::function<std::string(std::uint64_t)>& line) {
  const auto& runs = timeline.runs();
  std::map<std::tuple<std::int32_t, std::int32_t, Verdict, std::uint32_t>, BadGroup> groups;
  std::int64_t bad = 0;
  const auto severity = [](const CaseTrack& t) { return std::isnan(t.last_ratio) ? INFINITY : t.last_ratio; };
  for (const auto& [id, track] : timeline.cases()) {
    if (!info(track.latest.verdict).bad) continue;
    ++bad;
    BadGroup& group = groups[{-track.first_bad, -track.last_good, track.latest.verdict, track.latest.suspect}];
    const bool worse = group.track == nullptr || severity(track) > severity(*group.track) ||
                       (severity(track) == severity(*group.track) && id < group.worst);
    if (worse) {
      group.track = &track;
      group.worst = id;
    }
    ++group.count;
  }
  if (bad == 0) return "\nno case is bad in its last verdict\n";
  std::string text = fmt::format("\n{} bad in the last verdict\n", count_of(bad, "case is", "cases are"));
  std::size_t shown = 0;
  for (const auto& [key, group] : groups) {
    if (++shown > kMostGroups) {
      text += fmt::format("{} more groups\n", groups.size() - kMostGroups);
      break;
    }
    const CaseTrack& track = *group.track;
    const std::string& suspect = timeline.suspects()[track.latest.suspect];
    text += fmt::format("\n{}: {}{}\n", info(track.latest.verdict).name, count_of(group.count, "case", "cases"),
                        suspect.empty() ? "" : ", suspected: " + suspect);
    text += labelled("  first bad", name_of(runs[static_cast<std::size_t>(track.first_bad)]));
    text += labelled("  last good", track.last_good == CaseTrack::kNone
                                        ? "none: bad since its first verdict"
                                        : name_of(runs[static_cast<std::size_t>(track.last_good)]));
    text += fmt::format("  {:<10}{}\n", "case", line(group.worst));
  }
  return text;
}

}  // namespace

std::string runs_text(const std::vector<StoredRun>& runs, const std::string& file) {
  if (runs.empty()) return fmt::format("{} holds no run\n", file);
  std::string text = fmt::format("{} in {}\n\n", count_of(static_cast<std::int64_t>(runs.size()), "run", "runs"), file);
  text += fmt::format("{:>5}  {:<16}  {:<9}  {:<12}  {:>6}  {:>9}  backends\n", "run", "started", "commit", "suite",
                      "seed", "verdicts");
  for (const StoredRun& run : runs) {
    const RunHeader& h = run.header;
    std::string backends = h.shard_count > 1 ? fmt::format("shard {}/{}: ", h.shard_index, h.shard_count) : "";
    for (const auto& b : h.backends) backends += (&b == &h.backends.front() ? "" : ", ") + b;
    const std::string row = fmt::format(
        "{:>5}  {:<16}  {:<9}  {:<12}  {:>6}  {:>9}{} ", run.id, day_and_minute(h.started_utc), short_commit(h.commit),
        shortened(h.suite.empty() ? "-" : h.suite, 12), h.seed, h.verdicts_expected, run.finished ? ' ' : '*');
    text += row + shortened(backends, kHistoryWidth - std::min(row.size(), kHistoryWidth - 10)) + "\n";
  }
  if (std::any_of(runs.begin(), runs.end(), [](const StoredRun& r) { return !r.finished; })) {
    text += "\n*: not finished; the verdicts it came to are there\n";
  }
  return text;
}

std::string timeline_text(const Timeline& timeline, const std::string& file, std::size_t most,
                          const std::function<std::string(std::uint64_t)>& line) {
  const auto& runs = timeline.runs();
  std::string text = fmt::format("{} in {}: {}, {}\n\n", timeline.backend(), file,
                                 count_of(static_cast<std::int64_t>(runs.size()), "run", "runs"),
                                 count_of(static_cast<std::int64_t>(timeline.cases().size()), "case", "cases"));
  text += fmt::format("{:>5}  {:<16}  {:<9}  {:<9}  {:>6}  {:>8}  {:>6}  {:>6}  {:>9}  {:>8}\n", "run", "started",
                      "commit", "suite", "seed", "verdicts", "bad", "n/a", "max err/B", "CPU s");
  const std::size_t from = runs.size() > most ? runs.size() - most : 0;
  text += skipped_line(from);
  bool unfinished = false;
  for (std::size_t i = from; i < runs.size(); ++i) {
    const RunPoint& run = runs[i];
    if (i == from || run.build != runs[i - 1].build) text += build_line(run);
    unfinished |= !run.complete;
    text += fmt::format("{:>5}{} {:<16}  {:<9}  {:<9}  {:>6}  {:>8}  {:>6}  {:>6}  {:>9}  {:>8.2f}\n", run.run,
                        run.complete ? ' ' : '*', day_and_minute(run.started), short_commit(run.commit),
                        shortened(run.suite.empty() ? "-" : run.suite, 9), run.seed, run.verdicts, run.bad,
                        run.unjudged, ratio_text(run.worst_ratio), run.cpu_s);
  }
  text += "\nn/a: UNSUPPORTED, BLIND, RANGE or QUARANTINED: not held against the truth\n";
  if (unfinished) text += "*: not finished; the verdicts it came to are there\n";
  text += bad_now(timeline, line);

  std::int64_t repeats = 0, flips = 0, bits = 0;
  std::map<std::int64_t, std::vector<std::uint64_t>> flaky;
  for (const auto& [id, track] : timeline.cases()) {
    repeats += track.repeats;
    flips += track.flips;
    bits += track.other_bits;
    if (track.flips > 0) flaky[-track.flips].push_back(id);
  }
  text += '\n';
  if (repeats == 0) return text + labelled("flake rate", "not known: no case ran twice on one build");
  text += labelled("flake rate", fmt::format("{:.3g} %: {} of {} repeats on an unchanged build changed the verdict; {} "
                                             "changed the bits",
                                             100.0 * static_cast<double>(flips) / static_cast<double>(repeats), flips,
                                             repeats, bits));
  std::size_t shown = 0;
  for (auto& [count, ids] : flaky) {
    std::sort(ids.begin(), ids.end());
    for (const std::uint64_t id : ids) {
      if (++shown > kMostGroups) return text + "  and more\n";
      const CaseTrack& track = timeline.cases().at(id);
      text += fmt::format("  {:<10}{} of {}: {}\n", "flips", track.flips, track.repeats, line(id));
    }
  }
  return text;
}

std::string case_text(const Timeline& timeline, std::uint64_t case_id, const std::string& line,
                      const std::vector<std::optional<StoredVerdict>>& points, std::size_t most) {
  const auto& runs = timeline.runs();
  const auto there = std::count_if(points.begin(), points.end(), [](const auto& p) { return p.has_value(); });
  std::string text = fmt::format("{}\ncase {:016x} on {}: in {} of {}\n\n", line, case_id, timeline.backend(), there,
                                 count_of(static_cast<std::int64_t>(runs.size()), "run", "runs"));
  text += fmt::format("{:>5}  {:<16}  {:<9}  {:<16}  {:>10}  {:>9}  {:<5}  {:>9}  path\n", "run", "started", "commit",
                      "verdict", "err/B", "NMSE", "bits", "CPU s");
  const std::size_t from = runs.size() > most ? runs.size() - most : 0;
  text += skipped_line(from);
  std::uint64_t digest = 0;
  CaseTrack track;
  std::map<std::string, std::int32_t> builds;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunPoint& run = runs[i];
    if (!points[i]) continue;
    const BriefVerdict& v = points[i]->brief;
    const auto build =
        builds.try_emplace(run.build + '\n' + run.commit, static_cast<std::int32_t>(builds.size())).first->second;
    track.add(static_cast<std::int32_t>(i), build, v);
    const char* bits = v.digest == 0 ? "-" : digest == 0 ? "first" : v.digest == digest ? "same" : "other";
    if (v.digest != 0) digest = v.digest;
    if (i < from) continue;
    if (i == from || run.build != runs[i - 1].build) text += build_line(run);
    const bool measured = was_judged(v.verdict);
    const std::string ratio =
        measured ? (v.err_over_b_is_bound ? "<=" : "") + ratio_text(v.err_over_b) : std::string("-");
    const std::string row =
        fmt::format("{:>5}  {:<16}  {:<9}  {:<16}  {:>10}  {:>9}  {:<5}  {:>9}  ", run.run, day_and_minute(run.started),
                    short_commit(run.commit), info(v.verdict).name, ratio,
                    measured ? fmt::format("{:.2g}", v.nmse) : "-", bits, fmt::format("{:.3g}", v.cpu_s));
    std::string path = points[i]->path;
    if (!points[i]->suspect.empty()) path += (path.empty() ? "" : ", ") + points[i]->suspect;
    text += row + shortened(path, 12) + "\n";
  }
  text += '\n';
  const auto run_named = [&](std::int32_t i) { return name_of(runs[static_cast<std::size_t>(i)]); };
  if (track.first == CaseTrack::kNone) return text + "never held against the truth on this backend\n";
  if (track.failing) {
    text += labelled("first bad", run_named(track.first_bad));
    if (track.last_good == CaseTrack::kNone) {
      text += labelled("last good", "none: bad since its first verdict");
    } else {
      text += labelled("last good", run_named(track.last_good));
      const std::string &before = runs[static_cast<std::size_t>(track.last_good)].build,
                        &after = runs[static_cast<std::size_t>(track.first_bad)].build;
      text += labelled("build", before == after ? "the same in both" : before + " -> " + after);
    }
  } else {
    text += labelled("first bad", "none: its last verdict is good");
    text += labelled("last good", run_named(track.last_good));
  }
  std::string trend = fmt::format("err/B {} in run {}, {} in run {}", ratio_in_words(track.first_ratio),
                                  runs[static_cast<std::size_t>(track.first)].run, ratio_in_words(track.last_ratio),
                                  runs[static_cast<std::size_t>(track.last)].run);
  if (track.first_ratio > 0 && track.last != track.first && std::isfinite(track.last_ratio)) {
    trend += fmt::format(": x {:.3g}", track.last_ratio / track.first_ratio);
  }
  text += labelled("error", trend);
  text += labelled("flake rate",
                   track.repeats == 0
                       ? "not known: never ran twice on one build"
                       : fmt::format("{} of {} on an unchanged build changed the verdict; {} changed "
                                     "the bits",
                                     track.flips, count_of(track.repeats, "repeat", "repeats"), track.other_bits));
  return text;
}

}  // namespace attest
