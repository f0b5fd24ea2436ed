#include "harness/run/protocol.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <sstream>

namespace attest::protocol {

namespace {

#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;
#endif

// One write: a message is never cut by another.
template <class Header>
bool send_message(int fd, Header header, std::string_view text) {
  header.text_bytes = text.size();
  std::string whole(reinterpret_cast<const char*>(&header), sizeof header);
  whole.append(text);
  return write_all(fd, whole.data(), whole.size());
}

}  // namespace

bool write_all(int fd, const void* data, std::size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::send(fd, p, bytes, kSendFlags);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

bool read_all(int fd, void* data, std::size_t bytes) {
  char* p = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::read(fd, p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

bool send(int fd, const Request& request, std::string_view text) { return send_message(fd, request, text); }

bool send(int fd, const Reply& reply, std::string_view text) { return send_message(fd, reply, text); }

std::string packed(const Error& error) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", error.line, error.column, error.file, error.source_line, error.hint,
                     error.message);
}

Error unpacked(const std::string& text) {
  std::istringstream in(text);
  std::array<std::string, 5> lines;
  for (std::string& line : lines) std::getline(in, line);
  const std::string message{std::istreambuf_iterator<char>(in), {}};
  return {ErrorKind::input, message, lines[2], std::atoi(lines[0].c_str()), std::atoi(lines[1].c_str()),
          lines[3],         lines[4]};
}

}  // namespace attest::protocol
