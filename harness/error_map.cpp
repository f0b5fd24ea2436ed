#include "harness/error_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "cases/poison.h"

namespace attest {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Numbers = std::set<std::int64_t>;

// What numbers out of 0..total-1 have in common.
std::string describe(const char* one, const char* many, const Numbers& numbers, std::int64_t total) {
  const auto size = static_cast<std::int64_t>(numbers.size());
  if (size == 0) return "";
  if (size == total) return total == 1 ? fmt::format("{} 0", one) : fmt::format("every {}", one);
  const std::vector<std::int64_t> all(numbers.begin(), numbers.end());
  if (size == 1) return fmt::format("{} {}{}", one, all[0], all[0] == total - 1 ? " (the last)" : "");
  const std::int64_t step = all[1] - all[0];
  bool even = true;
  for (std::size_t i = 1; i < all.size(); ++i) even &= all[i] - all[i - 1] == step;
  const char* last = all.back() == total - 1 ? " (the last)" : "";
  if (even && step == 1) return fmt::format("{} {} to {}{}", many, all.front(), all.back(), last);
  if (even && size > 2) return fmt::format("every {}th {} from {}", step, one, all.front());
  for (const std::int64_t period : {64, 32, 16, 8, 4, 2}) {
    Numbers residues;
    for (const std::int64_t n : all) residues.insert(n % period);
    if (static_cast<std::int64_t>(residues.size()) * 4 <= period && size > static_cast<std::int64_t>(residues.size())) {
      return fmt::format("{}, {} of every {} {}", many, describe("number", "numbers", residues, period), period, many);
    }
  }
  std::string text = fmt::format("{} {}", many, all[0]);
  for (std::size_t i = 1; i < std::min<std::size_t>(all.size(), 4); ++i) text += fmt::format(", {}", all[i]);
  if (all.size() > 4) text += fmt::format(" and {} more of {}", all.size() - 4, total);
  return text;
}

char sign_of(const RowError* e) {
  if (e == nullptr) return ' ';
  if (e->unwritten) return 'U';
  if (e->nonfinite) return 'N';
  if (!e->bad()) return '.';
  return static_cast<char>('0' + std::clamp(static_cast<int>(std::log10(e->ratio)), 0, 9));
}

}  // namespace

std::vector<RowError> ErrorMap::bad() const {
  std::vector<RowError> found;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(found), [](const RowError& e) { return e.bad(); });
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.ratio > b.ratio; });
  return found;
}

ErrorMap map_errors(Key& key, const ArithmeticContract& contract, const TensorView& out) {
  const auto d_v = static_cast<std::size_t>(out.ne[0]);
  const Key::Answer& answer = key.under(contract.q_rounding);
  const Key::Bounds& bounds = key.bounds(contract);
  const auto& budgets = key.budgets(contract, {});
  ErrorMap map;
  map.columns.assign(d_v, 0);
  for (std::int64_t s = 0; s < out.ne[3]; ++s) {
    for (std::int64_t h = 0; h < out.ne[1]; ++h) {
      for (std::int64_t i = 0; i < out.ne[2]; ++i) {
        const Row row{s, h, i};
        const auto* got = reinterpret_cast<const float*>(out.row(h, i, s));
        const auto at = std::lower_bound(key.rows().begin(), key.rows().end(), row);
        const bool judged = at != key.rows().end() && *at == row;
        const auto index = static_cast<std::size_t>(at - key.rows().begin());
        RowError e{row};
        const auto budget = judged ? budgets.find(index) : budgets.end();
        if (judged) e.dead = bounds.state[index] == Key::kDead || (budget != budgets.end() && budget->second.dead);
        for (std::size_t c = 0; c < d_v; ++c) {
          double ratio = 0;
          if (!std::isfinite(got[c])) {
            const bool unwritten = std::bit_cast<std::uint32_t>(got[c]) == kOutputPrefill;
            (unwritten ? e.unwritten : e.nonfinite) = true;
            ratio = kInfinity;
          } else if (budget != budgets.end() && !budget->second.range) {
            const double error = std::abs(static_cast<double>(got[c]) - answer.eigen[index * d_v + c]);
            const double b = budget->second.fail[c];
            ratio = error == 0 ? 0 : b > 0 ? error / b : kInfinity;
          }
          if (!(ratio <= 1)) ++map.bad_elements;
          e.ratio = std::max(e.ratio, ratio);
          map.columns[c] = std::max(map.columns[c], ratio);
        }
        if (judged || e.bad()) map.rows.push_back(e);
      }
    }
  }
  return map;
}

std::string describe_place(const ErrorMap& map, const AttentionProblem& p) {
  Numbers seqs, heads, queries, columns, lanes;
  std::int64_t bad = 0;
  for (const RowError& e : map.rows) {
    if (!e.bad()) continue;
    ++bad;
    seqs.insert(e.row.seq);
    heads.insert(e.row.head);
    queries.insert(e.row.query);
    if (p.threads > 1) lanes.insert(((e.row.seq * p.n_head + e.row.head) * p.n_q + e.row.query) % p.threads);
  }
  if (bad == 0) return "";
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    if (!(map.columns[c] <= 1)) columns.insert(static_cast<std::int64_t>(c));
  }
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (p.n_seq > 1) add(describe("sequence", "sequences", seqs, p.n_seq));
  if (p.n_head > 1) add(describe("head", "heads", heads, p.n_head));
  add(describe("query", "queries", queries, p.n_q));
  if (static_cast<std::int64_t>(columns.size()) < p.d_v) add(describe("column", "columns", columns, p.d_v));
  if (p.threads > 1 && lanes.size() == 1 && bad > 2) add("the rows of one thread");
  return fmt::format("{}; {} of {} rows", text, bad, map.rows.size());
}

std::string draw(const ErrorMap& map, const AttentionProblem& p, std::size_t width) {
  std::map<Row, const RowError*> at;
  for (const RowError& e : map.rows) at.emplace(e.row, &e);
  const auto columns = static_cast<std::int64_t>(width) - 16;
  const std::int64_t step = std::max<std::int64_t>(1, (p.n_q + columns - 1) / columns);
  std::string text = fmt::format("err/B by head (down) and query (across{}): . within, 0 <10, 1 <100, ..., N NaN\n",
                                 step > 1 ? fmt::format(", {} to a sign", step) : "");
  int lines = 0;
  for (std::int64_t s = 0; s < p.n_seq && lines < 36; ++s) {
    for (std::int64_t h = 0; h < p.n_head && lines < 36; ++h, ++lines) {
      std::string cells;
      for (std::int64_t q = 0; q < p.n_q; q += step) {
        const RowError* worst = nullptr;
        for (std::int64_t i = q; i < std::min(q + step, p.n_q); ++i) {
          const auto found = at.find({s, h, i});
          if (found != at.end() && (worst == nullptr || !(found->second->ratio <= worst->ratio))) worst = found->second;
        }
        cells += sign_of(worst);
      }
      text += fmt::format("  seq {:<2} head {:<3} {}\n", s, h, cells);
    }
  }
  if (lines < p.n_seq * p.n_head) text += fmt::format("  {} more\n", p.n_seq * p.n_head - lines);
  const auto d_v = static_cast<std::int64_t>(map.columns.size());
  const std::int64_t group = std::max<std::int64_t>(1, (d_v + columns - 1) / columns);
  std::string profile;
  for (std::int64_t c = 0; c < d_v; c += group) {
    double worst = 0;
    for (std::int64_t i = c; i < std::min(c + group, d_v); ++i) {
      worst = std::max(worst, map.columns[static_cast<std::size_t>(i)]);
    }
    const RowError cell{{}, worst, std::isinf(worst), false, false};
    profile += sign_of(&cell);
  }
  return text + fmt::format("  columns{}     {}\n", group > 1 ? fmt::format("/{}", group) : "  ", profile);
}

}  // namespace attest
