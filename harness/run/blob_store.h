// A size-capped store of byte blobs under the user's cache directory: keys and budgets of cases seen before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest {

// One file per blob, named by the hash of its key. Safe under parallel processes: a blob is written to a temporary file
// and renamed; a reader sees all of it or nothing. A file that is truncated, damaged or of another key (the key is
// stored with the bytes, both under a checksum) counts as absent and is removed. A cache never fails a run: whatever
// goes wrong, load() answers nothing and store() does nothing.
class BlobStore {
 public:
  BlobStore(std::filesystem::path directory, std::uint64_t max_bytes);

  std::optional<std::vector<std::byte>> load(std::string_view key) const;
  void store(std::string_view key, std::span<const std::byte> bytes);

  // Removes the blobs longest unused until an eighth of max_bytes is free; whatever else lies in the directory is left
  // alone. store() calls it when all processes together have stored that much since.
  void trim();

  const std::filesystem::path& directory() const { return directory_; }

 private:
  std::filesystem::path path_of(std::string_view key) const;
  void grew(std::uint64_t bytes);

  std::filesystem::path directory_;
  std::uint64_t max_bytes_;

  // A file that grows by a byte for every kMark bytes stored, whoever stores them; a process that stores anything
  // counts for one at least.
  static constexpr const char* kGrowth = "growth";
  static constexpr std::uint64_t kMark = 64 << 10;
  std::uint64_t unmarked_ = kMark - 1;
};

}  // namespace attest
