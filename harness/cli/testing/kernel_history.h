// A git repository with the history of a small kernel plug-in: one commit breaks it, some do not build, one crashes.
#pragma once

#include <filesystem>
#include <set>
#include <string>

namespace attest::testing {

struct KernelHistory {
  int commits = 0;
  int bug = 0;                     // from this commit on the result is wrong; commits count from 1
  std::set<int> crashing = {};     // the process dies
  std::set<int> unbuildable = {};  // the compiler refuses
  int fixed = 1 << 30;             // from this commit on the result is right again
};

// The commits are on branch main, tagged c1, c2 ...; the one with the bug changes flash_attention.c and notes.txt.
void write_history(const std::filesystem::path& repository, const KernelHistory& history);

// For --build: makes kernel.so; what there is to know about the includes is in it.
std::string kernel_build_command();

}  // namespace attest::testing
