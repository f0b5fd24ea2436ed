#include "backends/library_file.h"

#include <dlfcn.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>

namespace attest {
namespace {

namespace fs = std::filesystem;

std::uint32_t le32(const unsigned char* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
         static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
}

std::string elf_machine(std::uint32_t machine, bool is64) {
  switch (machine) {
    case 0x03:
      return "x86 (32 bit)";
    case 0x15:
      return "PowerPC 64";
    case 0x16:
      return "s390x";
    case 0x28:
      return "ARM (32 bit)";
    case 0x3e:
      return is64 ? "x86-64" : "x32";
    case 0xb7:
      return "AArch64";
    case 0xf3:
      return "RISC-V";
    case 0x102:
      return "LoongArch";
    default:
      return "ELF machine " + std::to_string(machine);
  }
}

std::string mach_machine(std::uint32_t type) {
  if (type == 0x01000007) return "x86-64 (macOS)";
  if (type == 0x0100000c) return "AArch64 (macOS)";
  return "Mach-O machine " + std::to_string(type);
}

std::string this_machine() {
#if defined(__x86_64__)
  std::string machine = "x86-64";
#elif defined(__aarch64__)
  std::string machine = "AArch64";
#elif defined(__riscv)
  std::string machine = "RISC-V";
#elif defined(__powerpc64__)
  std::string machine = "PowerPC 64";
#elif defined(__s390x__)
  std::string machine = "s390x";
#else
  std::string machine = "another machine";
#endif
#ifdef __APPLE__
  machine += " (macOS)";
#endif
  return machine;
}

}  // namespace

Expected<void> check_loadable(const fs::path& library) {
  std::ifstream in(library, std::ios::binary);
  std::array<unsigned char, 64> head{};
  in.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  const auto got = in.gcount();
  std::string built_for;
  if (got >= 20 && std::memcmp(head.data(),
                               "\x7f"
                               "ELF",
                               4) == 0) {
    const bool little = head[5] == 1;
    const std::uint32_t machine = little ? head[18] | static_cast<std::uint32_t>(head[19]) << 8
                                         : head[19] | static_cast<std::uint32_t>(head[18]) << 8;
    built_for = elf_machine(machine, head[4] == 2);
  } else if (got >= 8 && le32(head.data()) == 0xfeedfacf) {
    built_for = mach_machine(le32(head.data() + 4));
  } else if (got >= 8 && le32(head.data()) == 0xbebafeca) {
    return {};  // a universal binary: the loader picks
  } else if (got == 0) {
    return harness_error(library.string() + " is empty or cannot be read");
  } else {
    return harness_error(library.string() + " is not a shared library");
  }
  if (built_for != this_machine()) {
    return harness_error(library.string() + " is built for " + built_for + ", this machine is " + this_machine());
  }
  return {};
}

Expected<void*> open_library(const fs::path& library) {
  if (auto loadable = check_loadable(library); !loadable) return Unexpected(loadable.error());
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle != nullptr) return handle;
  const char* why = dlerror();
  return harness_error("cannot load " + library.string() + ": " + (why == nullptr ? "no reason given" : why));
}

}  // namespace attest
