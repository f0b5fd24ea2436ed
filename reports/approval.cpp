#include "reports/approval.h"

#include <fmt/format.h>

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

// Line by line: enough to see what moved, without a diff algorithm.
std::string difference(const std::string& approved, const std::string& text) {
  std::istringstream left(approved), right(text);
  std::string out, a, b;
  for (int line = 1;; ++line) {
    const bool more_a = static_cast<bool>(std::getline(left, a)), more_b = static_cast<bool>(std::getline(right, b));
    if (!more_a && !more_b) break;
    if (more_a && more_b && a == b) continue;
    out += fmt::format("{}:\n", line);
    if (more_a) out += fmt::format("  - {}\n", a);
    if (more_b) out += fmt::format("  + {}\n", b);
  }
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
