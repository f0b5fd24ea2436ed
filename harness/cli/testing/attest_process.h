// Runs the built attest executable and keeps what it printed: for the end-to-end tests.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace attest::testing {

struct Ended {
  int code = -1;  // exit code; 128 + signal where a signal ended it
  std::string out, err;
};

using Variables = std::vector<std::pair<std::string, std::string>>;  // added to the environment; value "": taken out

// Standard output and standard error go to files, standard input is /dev/null.
Ended attest(const std::vector<std::string>& words, const Variables& variables = {});
// The same through `sh -c`.
Ended shell(const std::string& command, const Variables& variables = {});
// Standard output is a terminal; `err` stays empty.
Ended attest_on_terminal(const std::vector<std::string>& words, const Variables& variables = {});

std::filesystem::path attest_executable();

// A directory that goes when the object goes.
class ScratchDir {
 public:
  ScratchDir();
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  const std::filesystem::path& path() const { return path_; }
  // Writes a file below it and returns its path.
  std::string file(const std::string& name, const std::string& text) const;

 private:
  std::filesystem::path path_;
};

}  // namespace attest::testing
