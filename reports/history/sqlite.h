// A thin layer over SQLite: connections and statements whose errors are values that name the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cases/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace attest::sqlite {

// One prepared statement. It must not outlive its connection.
class Statement {
 public:
  // Parameters count from 1. NaN is stored as NULL. The text must live until the next step() or reset().
  void bind(int parameter, std::int64_t value);
  void bind(int parameter, double value);
  void bind(int parameter, std::string_view value);
  void bind_null(int parameter);

  // True: a row is there. An error is one of the file: full disk, locked for too long, damaged.
  Expected<bool> step();
  // Ready to run again; bound values stay.
  void reset();
  // reset(), bind in order, step() and reset(): for statements that give no rows.
  template <class... Values>
  Expected<void> run(const Values&... values) {
    int parameter = 0;
    (bind(++parameter, values), ...);
    auto done = step();
    reset();
    if (!done) return Unexpected(done.error());
    return {};
  }

  // Columns of the row count from 0. NULL is 0, NaN or "".
  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  // until the next step() or reset()

 private:
  friend class Connection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3_stmt* statement, std::string name) : statement_(statement), name_(std::move(name)) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::string name_;
};

class Connection {
 public:
  // `create`: an empty file where there is none; otherwise that is an input error, as is a file of another kind. A file
  // that we may not write can be read; nothing is left beside it.
  static Expected<Connection> open(const std::filesystem::path& path, bool create);

  Expected<void> execute(const std::string& statements);
  Expected<Statement> prepare(const std::string& statement);
  // The first column of the first row; 0 where there is none.
  Expected<std::int64_t> number(const std::string& statement);
  std::int64_t last_row_id() const;
  // An error where somebody wrote to a file that was opened as one that nobody writes to.
  Expected<void> unchanged() const;
  const std::string& name() const { return name_; }

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  Connection(sqlite3* connection, std::string name) : connection_(connection), name_(std::move(name)) {}

  std::unique_ptr<sqlite3, Close> connection_;
  std::string name_;
  std::optional<std::filesystem::file_time_type> written_;  // of a file that was opened as one that nobody writes to
};

// BEGIN IMMEDIATE: waits for other writers. Undone by the destructor unless commit() was called.
class Transaction {
 public:
  static Expected<Transaction> begin(Connection& connection);
  Transaction(Transaction&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Expected<void> commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

}  // namespace attest::sqlite
