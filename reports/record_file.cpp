#include "reports/record_file.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "cases/file_io.h"

namespace attest {

namespace {

// The first key of an object says what it is (schema.md).
bool is(std::string_view line, std::string_view key) {
  return line.size() > key.size() + 3 && line[0] == '{' && line[1] == '"' && line.substr(2, key.size()) == key &&
         line[key.size() + 2] == '"';
}

}  // namespace

Expected<RecordFile> parse_record_file(std::string_view text, std::string name) {
  RecordFile file;
  file.name = std::move(name);
  std::optional<Error> cut;  // of the line before: forgiven at the end and before a resumed run
  for (int number = 1; !text.empty(); ++number) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (cut && !is(line, "run")) return Unexpected(*cut);
    cut.reset();
    std::optional<Error> error;
    if (is(line, "run")) {
      if (auto header = header_from_json(line)) {
        file.runs.push_back(std::move(*header));
      } else {
        error = header.error();
      }
    } else if (is(line, "verdict")) {
      if (auto record = record_from_json(line); !record) {
        error = record.error();
      } else if (file.runs.empty()) {
        error = input_error("record: a verdict before the first 'run'").value();
      } else {
        file.verdicts.push_back(std::move(*record));
      }
    } else if (line.empty() || line.front() != '{' || line.back() != '}') {
      error = input_error("record: not a JSON object").value();
    }
    if (!error) continue;
    error->file = file.name;
    error->line = number;
    // A whole line may be wrong too, and then no kill explains it.
    if (nlohmann::json::accept(line)) return Unexpected(*error);
    cut = std::move(error);
  }
  return file;
}

Expected<RecordFile> read_record_file(const std::filesystem::path& path) {
  const auto text = read_text_file(path.string(), std::numeric_limits<std::uint64_t>::max());
  if (!text) return Unexpected(text.error());
  return parse_record_file(*text, path.string());
}

}  // namespace attest
