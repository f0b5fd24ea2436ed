#include "cases/file_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

namespace attest {
namespace fs = std::filesystem;
namespace {

Unexpected in_file(Unexpected error, const std::string& path) {
  error.value().file = path;
  return error;
}

std::string nearest_file(const std::string& path) {
  const fs::path asked(path);
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator entry(asked.has_parent_path() ? asked.parent_path() : fs::path("."), failed), end;
       !failed && entry != end && names.size() < 4096; entry.increment(failed))
    names.push_back(entry->path().filename().string());
  return did_you_mean(asked.filename().string(), names);
}

Unexpected unreadable(const std::string& path, int why) {
  return input_error(fmt::format("cannot be read: {}", std::strerror(why)), why == ENOENT ? nearest_file(path) : "");
}

}  // namespace

Expected<InputFile> InputFile::open(const std::string& path) {
  // Without O_NONBLOCK a pipe without a writer would keep us here.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return in_file(unreadable(path, errno), path);
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    return in_file(input_error("is not a regular file"), path);
  }
  return InputFile(path, fd, static_cast<std::uint64_t>(status.st_size));
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

Expected<void> InputFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return in_file(harness_error(fmt::format("cannot be read: {}", std::strerror(errno))), path_);
    if (got == 0)
      return in_file(input_error(fmt::format("ends at byte {} of {}", offset + done, offset + into.size())), path_);
    done += static_cast<std::size_t>(got);
  }
  return {};
}

Expected<void> write_file(const std::string& path, std::initializer_list<std::span<const std::byte>> pieces) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return in_file(harness_error(fmt::format("cannot be written: {}", std::strerror(errno))), path);
  int failed = 0;
  for (const auto piece : pieces) {
    std::size_t done = 0;
    while (done < piece.size() && failed == 0) {
      const ssize_t written = ::write(fd, piece.data() + done, piece.size() - done);
      if (written >= 0) done += static_cast<std::size_t>(written);
      if (written < 0 && errno != EINTR) failed = errno;
    }
  }
  // Some file systems find out at the end that there is no room.
  if (::close(fd) != 0 && failed == 0) failed = errno;
  if (failed == 0) return {};
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode)) ::unlink(path.c_str());
  return in_file(harness_error(fmt::format("cannot be written: {}", std::strerror(failed))), path);
}

Expected<void> write_file(const std::string& path, std::string_view text) {
  return write_file(path, {std::as_bytes(std::span(text))});
}

Expected<std::string> read_text_file(const std::string& path, std::uint64_t limit) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return in_file(unreadable(path, errno), path);
  std::string text, piece(std::size_t{1} << 16, '\0');
  ssize_t got = 0;
  do {
    got = ::read(fd, piece.data(), piece.size());
    if (got > 0) text.append(piece, 0, static_cast<std::size_t>(got));
  } while ((got > 0 && text.size() <= limit) || (got < 0 && errno == EINTR));
  const int why = errno;
  ::close(fd);
  if (got < 0) return in_file(unreadable(path, why), path);
  if (text.size() > limit)
    return in_file(input_error(fmt::format("has more than {} bytes, the most that are read", limit)), path);
  return text;
}

}  // namespace attest
