// Files of bytes: opened with their size known and read at offsets, or written whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "cases/error.h"

namespace attest {

// A regular file open for reading. A missing file, a directory or a pipe is an input error that names it (and the
// nearest name beside it).
class InputFile {
 public:
  static Expected<InputFile> open(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  const std::string& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  // Fills `into` from the bytes at `offset` on, or an error: a file that shrank meanwhile, a disk that fails.
  Expected<void> read(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  InputFile(std::string path, int fd, std::uint64_t size) : path_(std::move(path)), fd_(fd), size_(size) {}
  std::string path_;
  int fd_;
  std::uint64_t size_;
};

// Creates or replaces `path`. On failure (full disk, no right to write) nothing of it stays, and the error, of kind
// harness, names it.
Expected<void> write_file(const std::string& path, std::initializer_list<std::span<const std::byte>> pieces);
Expected<void> write_file(const std::string& path, std::string_view text);
// The whole of a text file of at most `limit` bytes; a pipe is read to its end. A missing file or a directory is an
// input error that names it.
Expected<std::string> read_text_file(const std::string& path, std::uint64_t limit = std::uint64_t{64} << 20);

}  // namespace attest
