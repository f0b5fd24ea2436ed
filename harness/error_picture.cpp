#include "harness/error_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace attest {

namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kMostRows = 32, kMostProfile = 128;

double two_digits(double x) { return std::isfinite(x) ? std::strtod(fmt::format("{:.1e}", x).c_str(), nullptr) : x; }

// The smallest power of two such that `n` neighbours need at most `most` cells.
std::int64_t shared(std::int64_t n, std::size_t most) {
  std::int64_t by = 1;
  while ((n + by - 1) / by > static_cast<std::int64_t>(std::max<std::size_t>(most, 1))) by *= 2;
  return by;
}

// The larger of two errors; what was not judged gives way to anything.
void raise(double& cell, double ratio) {
  if (std::isnan(ratio)) ratio = std::numeric_limits<double>::infinity();
  if (std::isnan(cell) || ratio > cell) cell = ratio;
}

}  // namespace

std::int64_t period_of(const std::vector<bool>& marked) {
  const auto n = static_cast<std::int64_t>(marked.size());
  const auto at = [&](std::int64_t i) -> bool { return marked[static_cast<std::size_t>(i)]; };
  std::int64_t first = 0, last = n - 1;
  while (first < n && !at(first)) ++first;
  while (last > first && !at(last)) --last;
  for (std::int64_t period = 2; period <= 64 && 2 * period <= n; period *= 2) {
    std::vector<bool> residues(static_cast<std::size_t>(period), false);
    std::int64_t count = 0, places = 0;
    for (std::int64_t i = first; i <= last; ++i) {
      if (!at(i)) continue;
      ++count;
      residues[static_cast<std::size_t>(i % period)] = true;
    }
    const auto filled = std::count(residues.begin(), residues.end(), true);
    if (filled == 0 || 2 * filled > period || count < 2 * filled) continue;
    for (std::int64_t i = first; i <= last; ++i) places += residues[static_cast<std::size_t>(i % period)] ? 1 : 0;
    if (4 * count >= 3 * places) return period;
  }
  return 0;
}

std::vector<MapRecord> error_pictures(const ErrorMap& map, const AttentionProblem& p, std::size_t most_cells) {
  const std::int64_t lines = p.n_head * p.n_seq;
  MapRecord rows;
  rows.rows = p.n_seq > 1 ? "sequence and head" : "head";
  rows.columns = "query";
  rows.down = shared(lines, std::min(kMostRows, most_cells / 8));
  const std::int64_t tall = (lines + rows.down - 1) / rows.down;
  rows.across = shared(p.n_q, most_cells / static_cast<std::size_t>(tall));
  const std::int64_t wide = (p.n_q + rows.across - 1) / rows.across;
  rows.values.assign(static_cast<std::size_t>(tall), std::vector<double>(static_cast<std::size_t>(wide), kNothing));
  std::vector<bool> bad_queries(static_cast<std::size_t>(p.n_q), false);
  for (const RowError& e : map.rows) {
    const std::int64_t line = e.row.seq * p.n_head + e.row.head;
    raise(rows.values[static_cast<std::size_t>(line / rows.down)][static_cast<std::size_t>(e.row.query / rows.across)],
          e.ratio);
    if (e.bad()) bad_queries[static_cast<std::size_t>(e.row.query)] = true;
  }
  rows.period = period_of(bad_queries);

  MapRecord profile;
  profile.columns = "column";
  const auto d_v = static_cast<std::int64_t>(map.columns.size());
  profile.across = shared(d_v, std::min(kMostProfile, most_cells / 4));
  std::vector<double> cells(static_cast<std::size_t>((d_v + profile.across - 1) / profile.across), kNothing);
  std::vector<bool> bad_columns;
  for (std::int64_t c = 0; c < d_v; ++c) {
    const double ratio = map.columns[static_cast<std::size_t>(c)];
    raise(cells[static_cast<std::size_t>(c / profile.across)], ratio);
    bad_columns.push_back(!(ratio <= 1));
  }
  profile.period = period_of(bad_columns);
  profile.values.push_back(std::move(cells));

  std::vector<MapRecord> pictures{std::move(rows), std::move(profile)};
  for (MapRecord& picture : pictures) {
    for (auto& line : picture.values) std::transform(line.begin(), line.end(), line.begin(), two_digits);
  }
  return pictures;
}

}  // namespace attest
