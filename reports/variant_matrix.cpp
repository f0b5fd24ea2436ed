#include "reports/variant_matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "reports/text.h"

namespace attest {

std::string without_variant(const std::string& backend, std::string& variant) {
  constexpr std::string_view kOption = ",variant=";
  const auto at = backend.find(kOption);
  variant.clear();
  if (at == std::string::npos) return backend;
  const auto end = std::min(backend.find(',', at + 1), backend.size());
  variant = backend.substr(at + kOption.size(), end - at - kOption.size());
  return backend.substr(0, at) + backend.substr(end);
}

void VariantMatrix::announce(const std::vector<std::string>& backends) {
  for (const std::string& backend : backends) {
    std::string variant;
    const std::string base = without_variant(backend, variant);
    if (variant.empty()) continue;
    Group& group = groups_[base];
    if (group.variants.empty()) order_.push_back(base);
    if (std::find(group.variants.begin(), group.variants.end(), variant) == group.variants.end()) {
      group.variants.push_back(variant);
    }
  }
}

void VariantMatrix::add(const VerdictRecord& record) {
  std::string variant;
  const std::string base = without_variant(record.backend, variant);
  const auto found = groups_.find(base);
  if (found == groups_.end() || found->second.variants.size() < 2) return;
  Group& group = found->second;
  const auto name = std::find(group.variants.begin(), group.variants.end(), variant);
  if (name == group.variants.end()) return;
  Row& row = group.rows[record.case_id];
  row.line = record.line;
  if (!record.path.empty()) row.path = record.path;
  row.answers.resize(group.variants.size());
  Answer& answer = row.answers[static_cast<std::size_t>(name - group.variants.begin())];
  const char* end = record.digest.data() + record.digest.size();
  answer.given = std::from_chars(record.digest.data(), end, answer.digest, 16).ptr == end && !record.digest.empty();
  answer.err_over_b = record.err_over_b;
  answer.beyond = info(record.verdict).bad || record.verdict == Verdict::XFAIL || record.err_over_b > 1;
}

VariantMatrix::Pair VariantMatrix::compare(const Group& group, std::size_t a, std::size_t b) const {
  Pair pair;
  pair.a = group.variants[a];
  pair.b = group.variants[b];
  double worst = -1;
  for (const auto& [id, row] : group.rows) {
    const Answer &one = row.answers[a], &other = row.answers[b];
    pair.one_answers += one.given != other.given ? 1 : 0;
    if (!one.given || !other.given) continue;
    ++pair.cases;
    if (one.digest == other.digest) continue;
    ++pair.different;
    pair.beyond += one.beyond || other.beyond ? 1 : 0;
    if (one.err_over_b > pair.worst_a) pair.worst_a = one.err_over_b;
    if (other.err_over_b > pair.worst_b) pair.worst_b = other.err_over_b;
    const double larger = std::fmax(one.err_over_b, other.err_over_b);
    if (larger > worst || pair.line.empty()) {
      worst = std::fmax(worst, larger);
      pair.line = row.line;
    }
  }
  return pair;
}

std::vector<VariantMatrix::Family> VariantMatrix::families() const {
  std::vector<Family> families;
  for (const std::string& base : order_) {
    const Group& group = groups_.at(base);
    if (group.variants.size() < 2) continue;
    Family family;
    family.backend = base;
    family.variants = group.variants;
    for (const auto& [id, row] : group.rows) {
      std::vector<std::uint64_t> digests;
      for (const Answer& answer : row.answers) {
        if (answer.given) digests.push_back(answer.digest);
      }
      if (digests.size() < 2) continue;
      const bool same = std::all_of(digests.begin(), digests.end(), [&](auto d) { return d == digests[0]; });
      ++family.cases;
      auto& [cases, differing] = family.paths[row.path.empty() ? "-" : row.path];
      ++cases;
      differing += same ? 0 : 1;
    }
    std::vector<std::size_t> firsts;  // index of the variant that stands for each group
    for (std::size_t v = 0; v < group.variants.size(); ++v) {
      const auto like = std::find_if(firsts.begin(), firsts.end(), [&](std::size_t first) {
        const Pair pair = compare(group, first, v);
        return pair.cases > 0 && pair.different == 0 && pair.one_answers == 0;
      });
      if (like == firsts.end()) {
        firsts.push_back(v);
        family.alike.push_back({group.variants[v]});
      } else {
        family.alike[static_cast<std::size_t>(like - firsts.begin())].push_back(group.variants[v]);
      }
    }
    for (std::size_t a = 0; a < firsts.size(); ++a) {
      for (std::size_t b = a + 1; b < firsts.size(); ++b) family.pairs.push_back(compare(group, firsts[a], firsts[b]));
    }
    families.push_back(std::move(family));
  }
  return families;
}

std::string variant_text(const std::vector<VariantMatrix::Family>& families, std::size_t width,
                         const std::string& repro_options) {
  std::string text;
  for (const auto& family : families) {
    text +=
        fmt::format("\nCPU variants of {}: {}, {} that two or more answered\n", shortened(family.backend, width / 3),
                    family.variants.size(), count_of(family.cases, "case", "cases"));
    for (const auto& names : family.alike) {
      if (names.size() < 2) continue;
      const std::string head = "  same bits  ";
      text += head + wrapped(fmt::format("{}", fmt::join(names, " = ")), width, head.size()) + "\n";
    }
    if (family.pairs.empty()) continue;
    std::size_t name = 7;
    for (const auto& pair : family.pairs) name = std::max({name, pair.a.size(), pair.b.size()});
    name = std::min<std::size_t>(name, 16);
    text += fmt::format("  {:<{}}  {:<{}}  {:>6}  {:>10}  {:>13}  {:>11}  worst err/B of each\n", "variant", name,
                        "variant", name, "cases", "other bits", "beyond budget", "one answers");
    const VariantMatrix::Pair* worst = nullptr;
    const auto larger = [](const VariantMatrix::Pair& pair) { return std::max(pair.worst_a, pair.worst_b); };
    for (const auto& pair : family.pairs) {
      text += fmt::format("  {:<{}}  {:<{}}  {:>6}  {:>10}  {:>13}  {:>11}  {:>8.3g}  {:>8.3g}\n",
                          shortened(pair.a, name), name, shortened(pair.b, name), name, pair.cases, pair.different,
                          pair.beyond, pair.one_answers, pair.worst_a, pair.worst_b);
      if (!pair.line.empty() && (worst == nullptr || larger(pair) > larger(*worst))) worst = &pair;
    }
    std::string where;
    for (const auto& [path, counts] : family.paths) {
      where += fmt::format("{}path {}: {} of {}", where.empty() ? "" : ", ", path, counts.second, counts.first);
    }
    const std::string head = "  where      ";
    text += head + wrapped(printable(where) + " cases", width, head.size()) + "\n";
    if (worst != nullptr) {
      text += fmt::format("  repro      attest run {4}{5}-b '{0},variant={1}' -b '{0},variant={2}' --case {3}\n",
                          family.backend, worst->a, worst->b, shell_quoted(worst->line), repro_options,
                          repro_options.empty() ? "" : " ");
    }
  }
  return text;
}

}  // namespace attest
