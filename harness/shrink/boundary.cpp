#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "harness/shrink/shrinker.h"

namespace attest {
namespace {

using Tried = std::map<std::int64_t, bool>;

// Whether `holds` is true of exactly those that failed.
template <class Holds>
bool explains(const Tried& tried, const Holds& holds) {
  return std::all_of(tried.begin(), tried.end(), [&](const auto& t) { return holds(t.first) == t.second; });
}

// The words of a remainder that alone tells them apart, "" where none does.
std::string remainder(const std::string& name, const Tried& tried) {
  for (std::int64_t m = 2; m <= 256; m *= 2) {
    if (explains(tried, [&](std::int64_t n) { return n % m != 0; })) return fmt::format("{} % {} != 0", name, m);
    if (explains(tried, [&](std::int64_t n) { return n % m == 0; })) return fmt::format("{} % {} == 0", name, m);
    for (std::int64_t r = 1; r < m && m <= 64; ++r) {
      // One number that failed says nothing of its remainder.
      const auto like = std::count_if(tried.begin(), tried.end(), [&](const auto& t) { return t.first % m == r; });
      if (like > 1 && explains(tried, [&](std::int64_t n) { return n % m == r; }))
        return fmt::format("{} % {} == {}", name, m, r);
    }
  }
  return "";
}

}  // namespace

std::string boundary_text(const std::string& name, const Tried& tried) {
  const auto failed = [](const auto& t) { return t.second; };
  const auto passed = [](const auto& t) { return !t.second; };
  const auto failures = std::count_if(tried.begin(), tried.end(), failed);
  if (failures == 0 || failures == static_cast<std::ptrdiff_t>(tried.size())) return "";
  const auto first = std::find_if(tried.begin(), tried.end(), failed),
             last = std::prev(std::find_if(tried.rbegin(), tried.rend(), failed).base());
  const auto below = first == tried.begin() ? tried.end() : std::prev(first);
  const auto above = std::next(last);
  const auto from = below == tried.end() ? std::string()
                    : below->first + 1 == first->first
                        ? fmt::format("{} > {}", name, below->first)
                        : fmt::format("{} >= {} (not {})", name, first->first, below->first);
  const auto to = above == tried.end()              ? std::string()
                  : last->first + 1 == above->first ? fmt::format("{} < {}", name, above->first)
                                                    : fmt::format("{} <= {} (not {})", name, last->first, above->first);
  const bool together = std::none_of(first, std::next(last), passed);
  if (together && failures == 1 && below != tried.end() && above != tried.end())
    return fmt::format("{} = {}", name, first->first);
  if (together && below == tried.end()) return to;
  if (together && above == tried.end()) return from;
  if (const std::string whole = remainder(name, tried); !whole.empty()) return whole;
  if (together) return from + " and " + to;
  const std::string inside = remainder(name, Tried(first, tried.end()));
  if (!inside.empty() && !from.empty()) return from + " and " + inside;
  return "";
}

}  // namespace attest
