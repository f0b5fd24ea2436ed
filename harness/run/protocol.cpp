#include "harness/run/protocol.h"

#include <cerrno>

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

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

}  // namespace attest::protocol
