#include "cases/suites/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "cases/embedded_files.h"
#include "cases/file_io.h"
#include "cases/suites/suite_parser.h"

namespace attest {
namespace {

constexpr std::string_view kExtension = ".toml";

Expected<std::string> read_file(const std::string& path) {
  return read_text_file(path, std::numeric_limits<std::uint64_t>::max());
}

Expected<std::string> read_embedded(const std::string& name) {
  for (const auto& file : embedded_suite_files()) {
    if (file.name == name) return file.text();
  }
  return input_error(fmt::format("the binary carries no file '{}'", name));
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

std::string_view without_comment(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) return line.substr(0, i);
  }
  return line;
}

}  // namespace

void SuiteBuilder::open(SuiteGroup group) {
  group.first = suite_.cases.size();
  group.count = 0;
  suite_.groups.push_back(std::move(group));
}

void SuiteBuilder::add(Case c) {
  if (!seen_.insert(text(c)).second) {
    ++suite_.duplicates;
    return;
  }
  c.tags = suite_.groups.back().tags;
  c.claims = suite_.groups.back().claims;
  suite_.cases.push_back(std::move(c));
  ++suite_.groups.back().count;
}

Expected<void> SuiteBuilder::add_covering(AxisSpace space, const CoveringOptions& options) {
  for (std::size_t axis = 0; axis < space.axes().size(); ++axis) {
    for (int value = 0; value < space.sizes()[axis]; ++value) {
      if (auto fine = space.check_value(axis, value); !fine) {
        return input_error(fmt::format("{}: {}", space.text({{axis, value}}), fine.error().message), fine.error().hint);
      }
    }
  }
  CoveringArray array = cover(space.to_cover(), options);
  if (!array.bad_seeds.empty()) {
    return input_error(
        fmt::format("seeds: row {} breaks a rule with any values of the other axes", array.bad_seeds.front() + 1));
  }
  if (array.rows.empty()) return input_error("no combination of the axes is valid");
  for (const auto& row : array.rows) {
    auto c = space.case_of(row);
    if (!c) return tl::unexpected(c.error());
    add(std::move(*c));
  }
  suite_.coverings.push_back({std::move(space), options.strength, std::move(array.rows)});
  return {};
}

Expected<void> SuiteBuilder::add_lines(std::string_view lines, const std::string& path) {
  int number = 0;
  for (std::size_t begin = 0; begin < lines.size();) {
    const auto end = std::min(lines.find('\n', begin), lines.size());
    const auto line = lines.substr(begin, end - begin);
    ++number;
    begin = end + 1;
    const auto words = without_comment(line);
    if (trimmed(words).empty()) continue;
    auto parsed = parse_case(words);
    if (!parsed) {
      Error error = parsed.error();
      error.file = path;
      error.line = number;
      return Unexpected(std::move(error));
    }
    add(std::move(*parsed));
  }
  return {};
}

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const auto& file : embedded_suite_files()) {
    if (file.name.ends_with(kExtension)) names.emplace_back(file.name.substr(0, file.name.size() - kExtension.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

Expected<Suite> load_suite(std::string_view name_or_path) {
  const std::string name(name_or_path);
  if (name.ends_with(kExtension)) {
    const auto toml = read_file(name);
    if (!toml) return tl::unexpected(toml.error());
    const auto folder = std::filesystem::path(name).parent_path();
    return parse_toml_suite(*toml, name, [&](const std::string& file) { return read_file((folder / file).string()); });
  }
  const auto names = suite_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string hint = did_you_mean(name, names);
    if (hint.empty()) hint = fmt::format("one of: {}, or a path that ends in .toml", fmt::join(names, ", "));
    return input_error(fmt::format("unknown suite '{}'", name), hint);
  }
  const std::string file = fmt::format("{}{}", name, kExtension);
  const auto toml = read_embedded(file);
  if (!toml) return tl::unexpected(toml.error());
  return parse_toml_suite(*toml, file, read_embedded);
}

Expected<Suite> load_case_file(const std::string& path) {
  const auto lines = read_file(path);
  if (!lines) return tl::unexpected(lines.error());
  SuiteBuilder builder;
  builder.suite().name = path;
  builder.open({});
  if (auto added = builder.add_lines(*lines, path); !added) return tl::unexpected(added.error());
  return std::move(builder.suite());
}

}  // namespace attest
