#include "reports/approval.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

namespace attest {

namespace {

std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A line from a little before the place where it differs.
std::string around(const std::string& line, std::size_t place) {
  constexpr std::size_t kBefore = 30, kShown = 100;
  const std::size_t from = place > kBefore ? place - kBefore : 0;
  return (from > 0 ? "..." : "") + line.substr(from, kShown) + (line.size() > from + kShown ? "..." : "");
}

// Line by line: enough to see what moved, without a diff algorithm.
std::string difference(const std::string& approved, const std::string& text) {
  constexpr int kShown = 10;
  std::istringstream left(approved), right(text);
  std::string out, a, b;
  int different = 0;
  for (int line = 1;; ++line) {
    const bool more_a = static_cast<bool>(std::getline(left, a)), more_b = static_cast<bool>(std::getline(right, b));
    if (!more_a && !more_b) break;
    if ((more_a && more_b && a == b) || ++different > kShown) continue;
    const auto place =
        static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
    out += fmt::format("{}:\n", line);
    if (more_a) out += fmt::format("  - {}\n", around(a, place));
    if (more_b) out += fmt::format("  + {}\n", around(b, place));
  }
  if (different > kShown) out += fmt::format("and {} more lines\n", different - kShown);
  return out.empty() ? "only the end of the last line differs\n" : out;
}

}  // namespace

std::string unapproved(std::string_view name, std::string_view text) {
  const std::filesystem::path path = std::filesystem::path(ATTEST_SOURCE_DIR) / "reports" / "baselines" / name;
  if (const char* approve = std::getenv("ATTEST_APPROVE"); approve != nullptr && std::string_view(approve) == "1") {
    std::ofstream(path, std::ios::binary) << text;
  }
  const std::string approved = slurp(path);
  if (approved == text) return "";
  return fmt::format(
      "reports/baselines/{} differs (- approved, + now):\n{}If the new text is right, run this test once "
      "with ATTEST_APPROVE=1 in the environment and commit the file.",
      name, difference(approved, std::string(text)));
}

}  // namespace attest
