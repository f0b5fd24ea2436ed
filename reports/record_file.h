// Reads a JSONL record back: what a run was, and every verdict in it, also after a kill.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "reports/record.h"

namespace attest {

struct RecordFile {
  std::string name;                     // for messages
  std::vector<RunHeader> runs;          // one, and one more each time the run was resumed
  std::vector<VerdictRecord> verdicts;  // in file order
};

// Lines that a kill cut short are left out: the last one, and one that is followed by the `run` of a resumed run. Every
// other line that is no object of schema.md is an input error with file and line, as are verdicts before the first
// `run` and a newer schema. Objects of unknown kinds are left alone. An empty file is a record without runs.
Expected<RecordFile> parse_record_file(std::string_view text, std::string name);
// An input error, too, where the file cannot be read.
Expected<RecordFile> read_record_file(const std::filesystem::path& path);

}  // namespace attest
