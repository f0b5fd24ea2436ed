// Runs kept in one SQLite file, over months and from many writers: what was run, on what, and every verdict in brief.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "reports/history/brief_run.h"
#include "reports/history/sqlite.h"
#include "reports/record_file.h"

namespace attest {

// A run as `attest history` lists it.
struct StoredRun {
  std::int64_t id = 0;
  RunHeader header;
  bool finished = false, interrupted = false;
};

// One case in one run.
struct StoredVerdict {
  BriefVerdict brief;  // its texts are these
  std::string path, suspect, detail;
};

// Several processes may write at once: a writer waits for the others, a minute at most. What append() has returned from
// is there whatever becomes of the process (a power cut may cost the last second).
class History {
 public:
  // Makes the file where `create` says so; without, it is there to be read, and need not be writable. Brings one of an
  // older schema up to date. Input errors: no such file, no history (which is left as it was), a newer schema.
  static Expected<History> open(const std::filesystem::path& path, bool create);

  // A new run without verdicts.
  Expected<std::int64_t> start(const RunHeader& header);
  // Adds verdicts, all or none; one that is there already is replaced.
  Expected<void> append(std::int64_t run, std::span<const VerdictRecord> verdicts);
  Expected<void> finish(std::int64_t run, bool interrupted, double wall_s);
  // The run that the header is of: the same id; for records without one the same start, machine, command, selection,
  // seed, options, shard and builds.
  Expected<std::optional<StoredRun>> find(const RunHeader& header);
  // Gives a run that has no commit this one: true. An input error where it has another one.
  Expected<bool> settle_commit(const StoredRun& run, const std::string& commit);

  // A whole record, all or nothing.
  struct Imported {
    std::int64_t run = 0;
    bool was_there = false;     // and no verdict was added
    bool commit_given = false;  // to a run that had none
  };
  Expected<Imported> import(const RecordFile& file);

  // Oldest first.
  Expected<std::vector<StoredRun>> runs();
  Expected<BriefRun> read(const StoredRun& run);
  // One case in one run; nothing where it is not in it.
  Expected<std::optional<StoredVerdict>> verdict(const StoredRun& run, std::size_t backend, std::uint64_t case_id);
  // "" where no run had the case.
  Expected<std::string> line(std::uint64_t case_id);

 private:
  explicit History(sqlite::Connection connection) : connection_(std::move(connection)) {}

  Expected<std::int64_t> insert_run(const RunHeader& header);
  Expected<void> insert_backend(std::int64_t run, std::size_t number, const std::string& name,
                                const std::string& build);
  Expected<void> insert_verdicts(std::int64_t run, std::span<const VerdictRecord> verdicts);
  Expected<std::int64_t> text_id(const std::string& text);
  Expected<std::vector<std::string>> texts();
  Expected<void> mark_finished(std::int64_t run, bool interrupted, double wall_s);

  sqlite::Connection connection_;
  std::unordered_map<std::string, std::int64_t> text_ids_;  // of committed rows
};

// Case ids and digests are 64-bit numbers in hexadecimal; nothing for any other text.
std::optional<std::uint64_t> hex_number(std::string_view text);

}  // namespace attest
