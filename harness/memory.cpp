#include "harness/memory.h"

#include <unistd.h>

#include <fstream>
#include <string>

namespace attest {
namespace {

// The number behind `key` in a file such as /proc/meminfo, or the whole of it where key is ""; nothing where the file
// is not there or says "max".
std::optional<double> number_in(const char* file, const std::string& key) {
  std::ifstream in(file);
  std::string word;
  while (key.empty() || in >> word) {
    if (!key.empty() && word != key) continue;
    if (double value = 0; in >> value) return value;
    return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

MachineMemory machine_memory() {
  MachineMemory m;
  m.physical = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (const auto kib = number_in("/proc/meminfo", "MemAvailable:")) m.available = *kib * 1024;
  m.container = number_in("/sys/fs/cgroup/memory.max", "");
  return m;
}

}  // namespace attest
