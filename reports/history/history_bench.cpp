// What a history of large runs costs: attest_history_bench [VERDICTS [FILE]] adds a run whole, then
// one in batches, and compares the two.
#include <fmt/format.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "reports/history/comparison_text.h"
#include "reports/history/history.h"
#include "reports/progress.h"

namespace attest {
namespace {

constexpr std::size_t kBatch = 20'000;  // about what a second of a fast run brings

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// `run` moves errors and bits of some cases, so that there is something to find.
std::vector<VerdictRecord> verdicts(std::size_t count, std::uint64_t run) {
  std::vector<VerdictRecord> made(count);
  for (std::size_t i = 0; i < count; ++i) {
    VerdictRecord& r = made[i];
    const std::uint64_t id = (i + 1) * std::uint64_t{0x9e3779b97f4a7c15};
    r.case_id = fmt::format("{:016x}", id);
    r.line = fmt::format("flash_attn_ext d=128 n_head=16 n_head_kv=8 n_q=1 n_kv={} kv=f16 mask=used:300 seed=7", i);
    r.backend = "ggml:CPU";
    r.path = i % 3 == 0 ? "vec" : "tiled";
    r.verdict = i % 1000 == run ? Verdict::FAIL : Verdict::PASS;
    r.err_over_b = static_cast<double>(id >> 40) * 0x1p-24 * (i % 500 == run ? 4 : 1);
    r.nmse = r.err_over_b * 1e-10;
    r.max_abs = r.err_over_b * 1e-5;
    r.rows = r.rows_judged = 16;
    r.backend_cpu_s = 1e-3 + 1e-9 * static_cast<double>(id >> 44);
    r.digest = fmt::format("{:016x}", id ^ (i % 100 == run ? run : 0));
  }
  return made;
}

RunHeader header(std::size_t count, const std::string& commit) {
  RunHeader h;
  h.version = "bench";
  h.suite = "bench";
  h.started_utc = "2026-01-01T00:00:0" + commit + "Z";
  h.commit = commit;
  h.backends = {"ggml:CPU"};
  h.build_ids = {"bench"};
  h.cases = h.verdicts_expected = static_cast<std::int64_t>(count);
  return h;
}

template <class Work>
Expected<void> timed(const char* what, std::size_t count, Work work) {
  const double wall = steady_seconds(), cpu = cpu_seconds();
  if (auto done = work(); !done) return done;
  const double wall_s = steady_seconds() - wall, cpu_s = cpu_seconds() - cpu;
  fmt::print("{:<28} {:>9} verdicts  {:>6.2f} s wall  {:>6.2f} s CPU  {:>9.0f} per CPU second\n", what, count, wall_s,
             cpu_s, static_cast<double>(count) / cpu_s);
  return {};
}

Expected<void> bench(std::size_t count, const std::filesystem::path& path) {
  auto history = History::open(path, true);
  if (!history) return Unexpected(history.error());
  {
    const RecordFile file{"bench", {header(count, "0")}, verdicts(count, 0)};
    auto done = timed("insert, one transaction", count, [&] { return history->import(file).map([](auto) {}); });
    if (!done) return done;
  }
  {
    const auto records = verdicts(count, 1);
    auto done = timed("insert, in batches", count, [&]() -> Expected<void> {
      const auto run = history->start(header(count, "1"));
      if (!run) return Unexpected(run.error());
      for (std::size_t i = 0; i < count; i += kBatch) {
        auto added = history->append(*run, std::span(records).subspan(i, std::min(kBatch, count - i)));
        if (!added) return added;
      }
      return history->finish(*run, false, 0);
    });
    if (!done) return done;
  }
  const auto runs = history->runs();
  if (!runs) return Unexpected(runs.error());
  auto done = timed("read", count, [&] { return history->read(runs->front()).map([](const BriefRun&) {}); });
  if (!done) return done;
  return timed("compare two runs, whole", 2 * count, [&]() -> Expected<void> {
    const auto a = history->read(runs->front());
    if (!a) return Unexpected(a.error());
    const auto b = history->read(runs->back());
    if (!b) return Unexpected(b.error());
    const auto comparison = compare_runs(*a, *b, {});
    if (!comparison) return Unexpected(comparison.error());
    const std::string text = comparison_text(*comparison, *a, *b);
    if (text.empty()) return harness_error("no text");
    return {};
  });
}

}  // namespace
}  // namespace attest

int main(int argc, char** argv) {
  const std::size_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  const bool keep = argc > 2;
  const std::filesystem::path path =
      keep ? std::filesystem::path(argv[2]) : std::filesystem::temp_directory_path() / "attest_history_bench.db";
  if (!keep) std::filesystem::remove(path);
  const auto done = attest::bench(count, path);
  if (!done) fmt::print(stderr, "attest_history_bench: {}\n", done.error().text());
  if (!keep) std::filesystem::remove(path);
  return done ? 0 : 1;
}
