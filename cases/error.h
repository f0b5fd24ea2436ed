// What went wrong, where, and the nearest valid word: the one error value every room returns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace attest {

// input: the user's line, flag or file is wrong (exit code 2).
// harness: the work could not be done: backend, library, directory, disk (exit code 3).
enum class ErrorKind { input, harness };

struct Error {
  ErrorKind kind = ErrorKind::input;
  std::string message;      // one sentence, no trailing newline
  std::string file;         // empty: not from a file
  int line = 0;             // 1-based, 0: unknown
  int column = 0;           // 1-based, 0: unknown
  std::string source_line;  // the offending text, for the caret
  std::string hint;         // e.g. "did you mean 'n_kv'?"

  // "file:line:column: message (hint)" followed by the source line and a caret where known.
  std::string text() const;
};

template <class T>
using Expected = tl::expected<T, Error>;
using Unexpected = tl::unexpected<Error>;

inline Unexpected input_error(std::string message, std::string hint = {}) {
  return Unexpected(Error{ErrorKind::input, std::move(message), {}, 0, 0, {}, std::move(hint)});
}
inline Unexpected harness_error(std::string message, std::string hint = {}) {
  return Unexpected(Error{ErrorKind::harness, std::move(message), {}, 0, 0, {}, std::move(hint)});
}

// The candidate with the smallest edit distance to `word`, or "" when none is near (distance > 1/3 of the word + 1).
std::string nearest_word(std::string_view word, const std::vector<std::string>& candidates);
// "did you mean 'x'?" or "".
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace attest
