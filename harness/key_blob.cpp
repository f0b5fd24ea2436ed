#include "harness/key_blob.h"

namespace attest {

namespace {

enum Flag : std::uint8_t { kDead = 1, kRange = 2 };

}  // namespace

std::vector<std::byte> pack_budgets(const std::map<std::size_t, RowBudget>& budgets) {
  std::vector<std::uint64_t> index;
  std::vector<std::uint8_t> flags, inadmissible, dominant;
  std::vector<std::int64_t> visible;
  std::vector<double> suspect, fail;
  for (const auto& [i, b] : budgets) {
    index.push_back(i);
    flags.push_back(static_cast<std::uint8_t>((b.dead ? kDead : 0) | (b.range ? kRange : 0)));
    inadmissible.push_back(static_cast<std::uint8_t>(b.inadmissible));
    visible.push_back(b.visible);
    suspect.insert(suspect.end(), b.suspect.begin(), b.suspect.end());
    fail.insert(fail.end(), b.fail.begin(), b.fail.end());
    for (const BudgetTerm term : b.dominant) dominant.push_back(static_cast<std::uint8_t>(term));
  }
  return pack(index, flags, inadmissible, visible, suspect, fail, dominant);
}

std::map<std::size_t, RowBudget> unpack_budgets(std::span<const std::byte> blob, const std::vector<Row>& rows) {
  std::vector<std::uint64_t> index;
  std::vector<std::uint8_t> flags, inadmissible, dominant;
  std::vector<std::int64_t> visible;
  std::vector<double> suspect, fail;
  std::map<std::size_t, RowBudget> budgets;
  if (!unpack(blob, index, flags, inadmissible, visible, suspect, fail, dominant) || index.empty()) return budgets;
  const std::size_t n = index.size(), d_v = fail.size() / n;
  if (flags.size() != n || inadmissible.size() != n || visible.size() != n || suspect.size() != n * d_v ||
      fail.size() != n * d_v || dominant.size() != n * d_v) {
    return budgets;
  }
  for (std::size_t r = 0; r < n; ++r) {
    if (index[r] >= rows.size()) return {};
    RowBudget b;
    b.row = rows[index[r]];
    b.dead = (flags[r] & kDead) != 0;
    b.range = (flags[r] & kRange) != 0;
    b.inadmissible = static_cast<Inadmissible>(inadmissible[r]);
    b.visible = visible[r];
    const auto from = static_cast<std::ptrdiff_t>(r * d_v), to = from + static_cast<std::ptrdiff_t>(d_v);
    b.suspect.assign(suspect.begin() + from, suspect.begin() + to);
    b.fail.assign(fail.begin() + from, fail.begin() + to);
    for (std::size_t e = 0; e < d_v; ++e) b.dominant.push_back(static_cast<BudgetTerm>(dominant[r * d_v + e]));
    budgets.emplace(index[r], std::move(b));
  }
  return budgets;
}

}  // namespace attest
