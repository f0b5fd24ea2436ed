// Sends and receives the messages of wire.h over a stream socket, a descriptor with them where there is one.
#pragma once

#include <attest/wire.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

namespace attest::wire {

#ifdef MSG_NOSIGNAL
inline constexpr int kNoSignal = MSG_NOSIGNAL;
#else
inline constexpr int kNoSignal = 0;
#endif

// False: the other side is gone.
inline bool send_bytes(int socket, const void* data, std::size_t bytes, int descriptor = -1) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    iovec piece{const_cast<char*>(at), bytes};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (descriptor >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof control;
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(rights), &descriptor, sizeof(int));
    }
    const ssize_t sent = sendmsg(socket, &header, kNoSignal);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    descriptor = -1;
    at += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
  return true;
}

// A descriptor that comes along is the caller's to close; -1: none.
inline bool receive_bytes(int socket, void* data, std::size_t bytes, int* descriptor = nullptr) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    iovec piece{at, bytes};
    msghdr header{};
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(socket, &header, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      int received = -1;
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      std::memcpy(&received, CMSG_DATA(c), sizeof(int));
      if (descriptor != nullptr && *descriptor < 0) {
        *descriptor = received;
      } else {
        close(received);
      }
    }
    at += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

inline bool send(int socket, Message m, const std::string& text, const void* payload = nullptr, std::size_t bytes = 0,
                 int descriptor = -1) {
  m.text_bytes = text.size();
  m.payload_bytes = bytes;
  return send_bytes(socket, &m, sizeof m, descriptor) && send_bytes(socket, text.data(), text.size()) &&
         send_bytes(socket, payload, bytes);
}

// Everything but the payload, which the caller receives next.
inline bool receive(int socket, Message& m, std::string& text, int* descriptor = nullptr) {
  if (descriptor != nullptr) *descriptor = -1;
  if (!receive_bytes(socket, &m, sizeof m, descriptor)) return false;
  if (m.magic != kMagic || m.version != kVersion || m.text_bytes > (std::uint64_t{1} << 28)) return false;
  text.resize(m.text_bytes);
  return receive_bytes(socket, text.data(), text.size());
}

}  // namespace attest::wire
