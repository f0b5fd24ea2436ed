#include "reports/sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <utility>

namespace attest {

namespace {

Unexpected system_failure(std::string_view verb, std::string_view name, int error) {
  return harness_error(fmt::format("cannot {} {}: {}", verb, name, std::generic_category().message(error)));
}

bool last_line_is_cut(const std::filesystem::path& path) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none)) return false;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file || file.tellg() <= 0) return false;
  file.seekg(-1, std::ios::end);
  return file.get() != '\n';
}

}  // namespace

FdSink FdSink::standard_output() { return borrowing(STDOUT_FILENO, "standard output"); }
FdSink FdSink::standard_error() { return borrowing(STDERR_FILENO, "standard error"); }

FdSink::FdSink(FdSink&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), name_(std::move(other.name_)), owned_(std::exchange(other.owned_, false)) {}

FdSink::~FdSink() {
  if (owned_) close(fd_);
}

Expected<void> FdSink::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd_, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_failure("write", name_, errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

bool FdSink::is_terminal() const { return isatty(fd_) == 1; }

Expected<std::unique_ptr<Sink>> open_file_sink(const std::filesystem::path& path, FileMode mode) {
  const bool cut = mode == FileMode::append && last_line_is_cut(path);
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return system_failure("open", path.string(), errno);
  auto sink = std::make_unique<FdSink>(FdSink::owning(fd, path.string()));
  // Before the file is emptied: what another process is recording must not be lost. Where there are no locks (some
  // network file systems) there is no such protection.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return harness_error(fmt::format("cannot write {}: another process is writing it", path.string()));
  }
  std::error_code none;
  if (mode == FileMode::replace && std::filesystem::is_regular_file(path, none) && ftruncate(fd, 0) != 0) {
    return system_failure("empty", path.string(), errno);
  }
  if (cut) {
    if (auto written = sink->write("\n"); !written) return Unexpected(written.error());
  }
  return sink;
}

bool wants_color(const Sink& sink) {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return sink.is_terminal() && (no_color == nullptr || *no_color == 0) &&
         (term == nullptr || std::string_view(term) != "dumb");
}

}  // namespace attest
