// Starts the judge, `attest __judge`, at the other end of a socket.
//
// ATTEST_EXECUTABLE names the program: a variable of the environment, or a macro that attest's CMake package defines.
#pragma once

#include <attest/wire.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

extern char** environ;  // NOLINT: POSIX leaves it to the program

namespace attest {

class JudgeProcess {
 public:
  JudgeProcess() {
    const char* program = std::getenv("ATTEST_EXECUTABLE");
#ifdef ATTEST_EXECUTABLE
    if (program == nullptr || *program == '\0') program = ATTEST_EXECUTABLE;
#endif
    program_ = program == nullptr || *program == '\0' ? "attest" : program;
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return;
    for (const int end : ends) fcntl(end, F_SETFD, FD_CLOEXEC);
    // The child's end above the number it is to have there: dup2 onto itself would leave it closed on exec.
    const int theirs = fcntl(ends[1], F_DUPFD_CLOEXEC, wire::kJudgeFd + 1);
    close(ends[1]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, wire::kJudgeFd);
    std::string verb = wire::kJudgeVerb;
    char* words[] = {program_.data(), verb.data(), nullptr};
    if (posix_spawnp(&child_, program_.c_str(), &actions, nullptr, words, environ) != 0) child_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    close(theirs);
    socket_ = ends[0];
  }
  JudgeProcess(const JudgeProcess&) = delete;
  JudgeProcess& operator=(const JudgeProcess&) = delete;
  ~JudgeProcess() {
    if (socket_ >= 0) close(socket_);
    if (child_ > 0) waitpid(child_, nullptr, 0);
  }

  bool started() const { return child_ > 0; }
  int socket() const { return socket_; }
  const std::string& program() const { return program_; }

 private:
  std::string program_;
  int socket_ = -1;
  pid_t child_ = -1;
};

}  // namespace attest
