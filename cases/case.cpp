#include "cases/case.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "cases/grammar/descriptor.h"
#include "cases/grammar/ggml_line.h"

namespace attest {

std::string text(const Case& c) { return grammar::print_descriptor(c); }

std::string case_id(const Case& c) {
  const std::string line = text(c);
  return fmt::format("{:016x}", XXH3_64bits(line.data(), line.size()));
}

Expected<Case> parse_case(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  auto parsed = grammar::looks_like_ggml_line(line) ? grammar::parse_ggml_line(line) : grammar::parse_descriptor(line);
  if (!parsed) parsed.error().source_line = std::string(line);
  return parsed;
}

}  // namespace attest
