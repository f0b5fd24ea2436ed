#include "reports/history/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <chrono>
#include <limits>
#include <utility>

namespace attest::sqlite {

namespace {

constexpr int kBusyMilliseconds = 60'000, kPauseMilliseconds = 5;

Unexpected failure(sqlite3* connection, std::string_view name, int code) {
  const char* why = connection != nullptr ? sqlite3_errmsg(connection) : sqlite3_errstr(code);
  const int kind = code & 0xff;
  if (kind == SQLITE_NOTADB) return input_error(fmt::format("'{}' is no history: {}", name, why));
  const char* hint = kind == SQLITE_BUSY       ? "another process held it for a minute"
                     : kind == SQLITE_CORRUPT  ? "the file is damaged"
                     : kind == SQLITE_READONLY ? "it must be written to: to add a run, or to update an older schema"
                                               : "";
  return harness_error(fmt::format("history '{}': {}", name, why), hint);
}

// SQLite waits by itself, but not where several connections meet over a new file or over the remains of a killed one.
template <class Attempt>
int patiently(Attempt attempt) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(kBusyMilliseconds);
  int code = attempt();
  while ((code & 0xff) == SQLITE_BUSY && std::chrono::steady_clock::now() < deadline) {
    sqlite3_sleep(kPauseMilliseconds);
    code = attempt();
  }
  return code;
}

// Whether SQLite keeps committed verdicts, or what it needs to undo half a transaction, beside the file.
bool has_journal(const std::string& path) {
  for (const char* suffix : {"-wal", "-journal"}) {
    std::error_code none;
    const auto size = std::filesystem::file_size(path + suffix, none);
    if (!none && size > 0) return true;
  }
  return false;
}

// As a URI that says that the file does not change: SQLite then needs no files of its own beside it.
std::string immutable_uri(const std::filesystem::path& path) {
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '%' || c == '?' || c == '#') {
      uri += fmt::format("%{:02x}", c);
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

void Statement::bind(int parameter, std::int64_t value) { sqlite3_bind_int64(statement_.get(), parameter, value); }
void Statement::bind(int parameter, double value) { sqlite3_bind_double(statement_.get(), parameter, value); }
void Statement::bind(int parameter, std::string_view value) {
  sqlite3_bind_text(statement_.get(), parameter, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
}
void Statement::bind_null(int parameter) { sqlite3_bind_null(statement_.get(), parameter); }

Expected<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failure(sqlite3_db_handle(statement_.get()), name_, code);
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }
std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const {
  return is_null(column) ? std::numeric_limits<double>::quiet_NaN() : sqlite3_column_double(statement_.get(), column);
}
std::string_view Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
  return text == nullptr
             ? std::string_view()
             : std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column)));
}

void Connection::Close::operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }

Expected<Connection> Connection::open(const std::filesystem::path& path, bool create) {
  std::error_code none;
  if (!create && !std::filesystem::exists(path, none)) {
    return input_error(fmt::format("no history '{}': no such file", path.string()), "attest run --db FILE makes one");
  }
  const auto written = std::filesystem::last_write_time(path, none);
  sqlite3* raw = nullptr;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE | (create ? SQLITE_OPEN_CREATE : 0);
  int code = sqlite3_open_v2(path.c_str(), &raw, flags, nullptr);
  Connection opened(raw, path.string());
  // SQLite falls back to reading where it may not write. To share a file that has a write-ahead log it makes files of
  // its own, which a reader may not be allowed to, and which would be in the writers' way.
  if (code == SQLITE_OK && !create && sqlite3_db_readonly(raw, "main") == 1 && !has_journal(path.string())) {
    flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_URI;
    code = sqlite3_open_v2(immutable_uri(path).c_str(), &raw, flags, nullptr);
    opened.connection_.reset(raw);
    opened.written_ = written;
  }
  if (code != SQLITE_OK) return failure(raw, opened.name_, code);
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  return opened;
}

Expected<void> Connection::execute(const std::string& statements) {
  const int code =
      patiently([&] { return sqlite3_exec(connection_.get(), statements.c_str(), nullptr, nullptr, nullptr); });
  if (code != SQLITE_OK) return failure(connection_.get(), name_, code);
  return {};
}

Expected<Statement> Connection::prepare(const std::string& statement) {
  sqlite3_stmt* raw = nullptr;
  const int code = patiently([&] {
    return sqlite3_prepare_v3(connection_.get(), statement.c_str(), static_cast<int>(statement.size()),
                              SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  });
  if (code != SQLITE_OK) return failure(connection_.get(), name_, code);
  return Statement(raw, name_);
}

Expected<std::int64_t> Connection::number(const std::string& statement) {
  auto prepared = prepare(statement);
  if (!prepared) return Unexpected(prepared.error());
  const int code = patiently([&] {
    prepared->reset();
    return sqlite3_step(prepared->statement_.get());
  });
  if (code != SQLITE_ROW && code != SQLITE_DONE) return failure(connection_.get(), name_, code);
  return code == SQLITE_ROW ? prepared->integer(0) : 0;
}

Expected<void> Connection::unchanged() const {
  if (!written_) return {};
  std::error_code none;
  if (std::filesystem::last_write_time(name_, none) == *written_) return {};
  return harness_error(fmt::format("history '{}' was written to while it was read", name_), "try again");
}

std::int64_t Connection::last_row_id() const { return sqlite3_last_insert_rowid(connection_.get()); }

Expected<Transaction> Transaction::begin(Connection& connection) {
  if (auto begun = connection.execute("BEGIN IMMEDIATE"); !begun) return Unexpected(begun.error());
  return Transaction(connection);
}

Transaction::~Transaction() {
  if (connection_ != nullptr) static_cast<void>(connection_->execute("ROLLBACK"));
}

Expected<void> Transaction::commit() {
  auto committed = connection_->execute("COMMIT");
  if (committed) connection_ = nullptr;
  return committed;
}

}  // namespace attest::sqlite
