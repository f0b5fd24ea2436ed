#include "harness/run/blob_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <fstream>

namespace attest {

namespace fs = std::filesystem;

namespace {

constexpr std::array<char, 8> kMagic{'A', 'T', 'B', 'L', 'O', 'B', '0', '1'};

struct Header {
  std::array<char, 8> magic;
  std::uint64_t key_bytes, blob_bytes, checksum;  // checksum over key and blob
};

std::uint64_t checksum_of(std::string_view key, std::span<const std::byte> blob) {
  return XXH3_64bits_withSeed(blob.data(), blob.size(), XXH3_64bits(key.data(), key.size()));
}

bool write_whole(int fd, const void* data, std::size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = write(fd, p, bytes);
    if (n <= 0) return false;
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

// Folders of blobs have two hexadecimal digits; a directory may hold other things beside them.
bool is_ours(const std::string& folder) {
  return folder.size() == 2 && folder.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

BlobStore::BlobStore(fs::path directory, std::uint64_t max_bytes)
    : directory_(std::move(directory)), max_bytes_(max_bytes) {}

fs::path BlobStore::path_of(std::string_view key) const {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  const std::string name = fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  return directory_ / name.substr(0, 2) / name;
}

std::optional<std::vector<std::byte>> BlobStore::load(std::string_view key) const {
  const fs::path path = path_of(key);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::vector<std::byte> blob;
  Header header{};
  struct stat status {};
  bool good = fstat(fd, &status) == 0 && read(fd, &header, sizeof header) == sizeof header && header.magic == kMagic &&
              header.key_bytes == key.size() && header.blob_bytes <= static_cast<std::uint64_t>(status.st_size) &&
              sizeof header + header.key_bytes + header.blob_bytes == static_cast<std::uint64_t>(status.st_size);
  if (good) {
    std::string stored(key.size(), '\0');
    blob.resize(header.blob_bytes);
    good = read(fd, stored.data(), stored.size()) == static_cast<ssize_t>(stored.size()) && stored == key &&
           read(fd, blob.data(), blob.size()) == static_cast<ssize_t>(blob.size()) &&
           checksum_of(key, blob) == header.checksum;
  }
  if (good) futimens(fd, nullptr);  // last used: now
  close(fd);
  if (good) return blob;
  std::error_code ignored;
  fs::remove(path, ignored);
  return std::nullopt;
}

void BlobStore::store(std::string_view key, std::span<const std::byte> blob) {
  if (blob.size() > max_bytes_ / 4) return;
  const fs::path path = path_of(key);
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return;
  static std::atomic<unsigned> serial{0};
  const fs::path temporary = path.string() + fmt::format(".{}.{}", getpid(), serial++);
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return;
  const Header header{kMagic, key.size(), blob.size(), checksum_of(key, blob)};
  const bool written = write_whole(fd, &header, sizeof header) && write_whole(fd, key.data(), key.size()) &&
                       write_whole(fd, blob.data(), blob.size());
  close(fd);
  if (written) fs::rename(temporary, path, error);
  if (!written || error) fs::remove(temporary, error);
  grew(blob.size());
}

void BlobStore::grew(std::uint64_t bytes) {
  unmarked_ += bytes;
  if (unmarked_ < kMark) return;
  const std::string marks(unmarked_ / kMark, '.');
  unmarked_ %= kMark;
  const int fd = open((directory_ / kGrowth).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  struct stat status {};
  const bool known = write_whole(fd, marks.data(), marks.size()) && fstat(fd, &status) == 0;
  close(fd);
  if (known && static_cast<std::uint64_t>(status.st_size) * kMark > max_bytes_ / 8) trim();
}

void BlobStore::trim() {
  static_cast<void>(truncate((directory_ / kGrowth).c_str(), 0));
  struct File {
    fs::file_time_type used;
    std::uint64_t bytes;
    fs::path path;
  };
  std::vector<File> files;
  std::uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator folder(directory_, error), end; !error && folder != end; folder.increment(error)) {
    if (!is_ours(folder->path().filename().string())) continue;
    std::error_code inner;
    for (fs::directory_iterator it(folder->path(), inner); !inner && it != end; it.increment(inner)) {
      std::error_code one;
      if (!it->is_regular_file(one)) continue;
      const File file{it->last_write_time(one), it->file_size(one), it->path()};
      if (one) continue;
      total += file.bytes;
      files.push_back(file);
    }
  }
  std::sort(files.begin(), files.end(), [](const File& a, const File& b) { return a.used < b.used; });
  for (const File& file : files) {
    if (total <= max_bytes_ - max_bytes_ / 8) break;
    std::error_code one;
    if (fs::remove(file.path, one)) total -= file.bytes;
  }
}

}  // namespace attest
