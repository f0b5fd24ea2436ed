// A process that answers lines with lines, and a directory of files that goes with it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::process {

// Splits at blanks; '...' and "..." hold words together, a backslash takes the next character as it is (not in '...').
// No variables, no pipes. Errors (input): an open quote, no word.
Expected<std::vector<std::string>> split_command(std::string_view command);

// Not thread-safe. When the process that owns a Child ends, however it ends, a janitor process kills the child with its
// process group and removes the directory.
class Child {
 public:
  Child() = default;
  ~Child() { stop(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Standard error is this process's own; every other descriptor is closed. Errors (harness): it cannot be executed.
  Expected<void> start(const std::vector<std::string>& words);
  bool running() const { return pid_ > 0; }
  // Closes its standard input, gives it a moment to end, and kills it.
  void stop();

  // Sends one line and waits for one, as long as it takes. Error: what happened instead (it ended, with signal or code;
  // it closed its output; a line beyond 1 MiB), with what it last wrote to standard error; the child is stopped then.
  struct Death {
    bool crashed = false;  // it ended, rather than misbehaved
    std::string what;
  };
  tl::expected<std::string, Death> exchange(const std::string& line);
  // CPU time of the child so far, its own children not counted.
  double cpu_seconds() const;
  // "; last words: ..." from what was written to standard error since the last exchange() began (the first one: since
  // the start), or "".
  std::string last_words() const;

  // Below ATTEST_EXCHANGE_DIR, or in memory where the system has a place for that (/dev/shm), or else in the directory for
  // temporary files.
  const std::filesystem::path& directory() const { return directory_; }

 private:
  Expected<void> spawn(const std::vector<std::string>& words);
  Expected<void> spawn_janitor();
  std::string ending();
  void end(bool gently);

  pid_t pid_ = -1, janitor_ = -1;
  int to_ = -1, from_ = -1, janitor_pipe_ = -1;
  std::int64_t words_from_ = 0;
  bool spoke_ = false;
  std::string buffer_;
  std::filesystem::path directory_;
};

}  // namespace attest::process
