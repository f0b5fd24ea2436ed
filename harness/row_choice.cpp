#include "harness/row_choice.h"

#include <algorithm>
#include <set>

#include "cases/rng.h"

namespace attest {

namespace {

constexpr std::uint64_t kStream = 0x726f7773;  // separates this choice from the tensors' streams

std::vector<std::int64_t> edges(std::int64_t n, std::initializer_list<std::int64_t> steps) {
  std::set<std::int64_t> found{0, n - 1};
  for (const std::int64_t step : steps) {
    for (std::int64_t i = step; i < n; i += step) found.insert({i - 1, i});
  }
  return {found.begin(), found.end()};
}

}  // namespace

double row_flop(const AttentionProblem& p) { return 2.0 * static_cast<double>(p.n_kv * (p.d_k + p.d_v)); }

std::vector<Row> choose_rows(const AttentionProblem& p, std::int64_t count, std::uint64_t seed) {
  const std::int64_t total = p.n_seq * p.n_head * p.n_q;
  const auto row_at = [&](std::int64_t i) { return Row{i / (p.n_head * p.n_q), i / p.n_q % p.n_head, i % p.n_q}; };
  std::vector<Row> rows;
  if (count >= total) {
    rows.reserve(static_cast<std::size_t>(total));
    for (std::int64_t i = 0; i < total; ++i) rows.push_back(row_at(i));
    return rows;
  }
  const Rng rng(seed, kStream);
  std::uint64_t draw = 0;
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(rng.bits(draw++) % n); };
  const auto queries = edges(p.n_q, {32, 64});
  const auto heads = edges(p.n_head, {p.n_head / p.n_head_kv});
  const auto seqs = edges(p.n_seq, {});
  std::set<Row> chosen;
  for (std::int64_t tries = 0; tries < count && static_cast<std::int64_t>(chosen.size()) < (count + 2) / 3; ++tries) {
    chosen.insert({seqs[below(seqs.size())], heads[below(heads.size())], queries[below(queries.size())]});
  }
  while (static_cast<std::int64_t>(chosen.size()) < count) {
    chosen.insert(row_at(static_cast<std::int64_t>(below(static_cast<std::size_t>(total)))));
  }
  return {chosen.begin(), chosen.end()};
}

std::vector<Row> sample_rows(const std::vector<Row>& rows, std::int64_t count, std::uint64_t seed) {
  if (count >= static_cast<std::int64_t>(rows.size())) return rows;
  const Rng rng(seed, kStream + 1);
  std::set<std::size_t> chosen;
  for (std::uint64_t draw = 0; static_cast<std::int64_t>(chosen.size()) < count; ++draw) {
    chosen.insert(static_cast<std::size_t>(rng.bits(draw) % rows.size()));
  }
  std::vector<Row> sample;
  for (const std::size_t i : chosen) sample.push_back(rows[i]);
  return sample;
}

}  // namespace attest
