#include "harness/cli/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <ctime>
#include <fstream>
#include <random>
#include <string>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace attest::cli {

namespace {

std::string cpu_name() {
#ifdef __APPLE__
  char name[256];
  std::size_t size = sizeof name;
  if (sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0) return name;
  return {};
#else
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return {};
#endif
}

}  // namespace

RunHeader machine_header() {
  RunHeader header;
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  header.started_utc = text;
  utsname system{};
  if (uname(&system) == 0) header.host = system.nodename;
  header.cpu = cpu_name();
  std::random_device random;
  header.id = fmt::format("{:08x}{:08x}", random(), random());
  return header;
}

std::string cpu_identity() {
#ifdef __APPLE__
  return cpu_name();
#else
  // Of the first processor; the other lines tell processors and moments apart.
  std::ifstream info("/proc/cpuinfo");
  std::string text;
  for (std::string line; std::getline(info, line) && !line.empty();) {
    for (const char* key : {"vendor_id", "cpu family", "model", "stepping", "flags", "CPU ", "Features"}) {
      if (line.rfind(key, 0) == 0) text += line + "\n";
    }
  }
  return text;
#endif
}

}  // namespace attest::cli
