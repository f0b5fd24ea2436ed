// Runs git in one directory, and what of a commit is about attention kernels.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"
#include "harness/child_output.h"

namespace attest {

class Git {
 public:
  explicit Git(std::filesystem::path directory, const std::atomic<bool>* interrupted = nullptr)
      : directory_(std::move(directory)), interrupted_(interrupted) {}

  // However it ends. No hooks of the repository run, no repository but the directory's is meant, and git speaks
  // English.
  Expected<ChildEnd> run(const std::vector<std::string>& words) const;
  // Standard output without its last newline. The error (harness) has git's own words.
  Expected<std::string> ask(const std::vector<std::string>& words) const;
  Expected<std::vector<std::string>> lines(const std::vector<std::string>& words) const;

  const std::filesystem::path& directory() const { return directory_; }
  // What git and what is run beside it must not take from this process's environment.
  static std::vector<std::pair<std::string, std::string>> environment();

 private:
  std::filesystem::path directory_;
  const std::atomic<bool>* interrupted_;
};

// Source code whose path or changed lines speak of attention or softmax.
bool looks_like_attention(std::string_view path, std::string_view patch);

// The commit's hash, author, date and message, and the diff stat of those of its files that look like attention
// kernels, as lines for people.
std::vector<std::string> about_commit(const Git& git, const std::string& commit);

}  // namespace attest
