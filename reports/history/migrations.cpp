#include "reports/history/migrations.h"

#include <fmt/format.h>

#include <array>

namespace attest {

namespace {

constexpr std::int64_t kApplication = 0x41545354;  // "ATST"

// Numbers are NULL where the record has NaN; texts that say nothing are NULL or "". Unsigned 64-bit numbers (seeds,
// case ids, digests) are kept as the signed ones of the same bits.
constexpr std::array kSteps = {
    R"(
CREATE TABLE runs(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started_utc TEXT NOT NULL, version TEXT NOT NULL, command TEXT NOT NULL, suite TEXT NOT NULL, seed INTEGER NOT NULL,
  host TEXT NOT NULL, cpu TEXT NOT NULL, revision TEXT NOT NULL, selection TEXT NOT NULL, options TEXT NOT NULL,
  cases INTEGER NOT NULL, verdicts_expected INTEGER NOT NULL, shard_index INTEGER NOT NULL, shard_count INTEGER NOT NULL,
  finished INTEGER NOT NULL DEFAULT 0, interrupted INTEGER NOT NULL DEFAULT 0, wall_s REAL NOT NULL DEFAULT 0);
CREATE TABLE backends(
  run INTEGER NOT NULL REFERENCES runs(id), number INTEGER NOT NULL, name TEXT NOT NULL, build_id TEXT NOT NULL,
  PRIMARY KEY(run, number)) WITHOUT ROWID;
CREATE TABLE cases(id INTEGER PRIMARY KEY, line TEXT NOT NULL);
CREATE TABLE texts(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE verdicts(
  run INTEGER NOT NULL, backend INTEGER NOT NULL, case_id INTEGER NOT NULL,
  verdict INTEGER NOT NULL, underlying INTEGER, path INTEGER, suspect INTEGER, detail TEXT,
  err_over_b REAL, is_bound INTEGER NOT NULL, nmse REAL, max_abs REAL,
  rows INTEGER NOT NULL, rows_judged INTEGER NOT NULL, cpu_s REAL, wall_s REAL, judge_s REAL,
  PRIMARY KEY(run, backend, case_id)) WITHOUT ROWID;
)",
    "ALTER TABLE verdicts ADD COLUMN digest INTEGER;",
    "ALTER TABLE runs ADD COLUMN identity TEXT NOT NULL DEFAULT '';",
};

// Whether the file may become a history of this program, or is one.
Expected<void> check(sqlite::Connection& connection, std::int64_t newest) {
  // The tables first: another process adds them and its mark at once.
  const auto tables = connection.number("SELECT count(*) FROM sqlite_master");
  const auto owner = connection.number("PRAGMA application_id");
  const auto version = connection.number("PRAGMA user_version");
  for (const auto* answer : {&tables, &owner, &version}) {
    if (!*answer) return Unexpected(answer->error());
  }
  if (*owner != kApplication && *tables > 0) {
    return input_error(fmt::format("'{}' is a database, but no history of attest", connection.name()));
  }
  if (*version > newest) {
    return input_error(fmt::format("history '{}' has schema {}; this program knows schemas up to {}", connection.name(),
                                   *version, newest),
                       "a newer attest wrote it");
  }
  return {};
}

}  // namespace

std::span<const char* const> history_steps() { return kSteps; }

Expected<void> migrate(sqlite::Connection& connection) {
  const auto newest = static_cast<std::int64_t>(kSteps.size());
  // Before anything is locked or written: it may be somebody else's.
  if (auto fine = check(connection, newest); !fine) return fine;
  const auto version = connection.number("PRAGMA user_version");
  if (!version) return Unexpected(version.error());
  const auto application = connection.number("PRAGMA application_id");
  if (!application) return Unexpected(application.error());
  if (*version == newest && *application == kApplication) return {};

  auto transaction = sqlite::Transaction::begin(connection);
  if (!transaction) return Unexpected(transaction.error());
  // Somebody else may have been here in the meantime.
  if (auto fine = check(connection, newest); !fine) return fine;
  const auto now = connection.number("PRAGMA user_version");
  if (!now) return Unexpected(now.error());
  for (std::int64_t step = *now; step < newest; ++step) {
    if (auto taken = connection.execute(kSteps[static_cast<std::size_t>(step)]); !taken) return taken;
  }
  auto marked =
      connection.execute(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplication, newest));
  return marked ? transaction->commit() : marked;
}

}  // namespace attest
