#include "backends/metal/sim/division.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <ucontext.h>
#endif

namespace attest::metal {
namespace {

constexpr std::size_t kMaxPlaces = 16;
std::array<const void*, kMaxPlaces> g_places;
std::size_t g_count = 0;

#if defined(__x86_64__)

struct Division {
  std::size_t length = 0;  // 0: no division
  bool narrow = false;     // 8 bits: quotient and remainder share AX
  std::int64_t divisor = 0;
};

std::int64_t little_endian(const std::uint8_t* at, std::size_t bytes) {
  std::uint64_t value = 0;
  std::memcpy(&value, at, bytes);
  const unsigned unused = 64 - 8 * static_cast<unsigned>(bytes);
  return static_cast<std::int64_t>(value << unused) >> unused;
}

// DIV and IDIV: prefixes, F6 or F7, ModRM with /6 or /7, SIB, displacement (Intel SDM volume 2, chapter 2).
Division decode(const greg_t* registers) {
  constexpr std::array<int, 16> kRegisters{REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                           REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  const auto value = [&](int number) { return registers[kRegisters[static_cast<std::size_t>(number)]]; };
  const auto* at = reinterpret_cast<const std::uint8_t*>(registers[REG_RIP]);
  const std::uint8_t* p = at;
  bool short_operand = false;
  for (; *p == 0x66 || *p == 0x67 || *p == 0xf2 || *p == 0xf3; ++p) short_operand = short_operand || *p == 0x66;
  const int rex = (*p & 0xf0) == 0x40 ? *p++ : 0;
  if (*p != 0xf6 && *p != 0xf7) return {};
  Division d;
  d.narrow = *p++ == 0xf6;
  const std::size_t bytes = d.narrow ? 1 : (rex & 8) != 0 ? 8 : short_operand ? 2 : 4;
  const int mod = *p >> 6, operation = *p >> 3 & 7, rm = *p & 7;
  ++p;
  if (operation < 6) return {};
  if (mod == 3) {
    const greg_t whole = value(rm | (rex & 1) << 3);
    d.divisor = little_endian(reinterpret_cast<const std::uint8_t*>(&whole), bytes);
    d.length = static_cast<std::size_t>(p - at);
    return d;
  }
  std::int64_t address = 0;
  bool wide_displacement = mod == 2;
  bool relative = false;
  if (rm == 4) {
    const int scale = *p >> 6, index = (*p >> 3 & 7) | (rex & 2) << 2, base = *p & 7;
    ++p;
    if (index != 4) address = value(index) * (std::int64_t{1} << scale);
    if (mod == 0 && base == 5) {
      wide_displacement = true;
    } else {
      address += value(base | (rex & 1) << 3);
    }
  } else if (mod == 0 && rm == 5) {
    wide_displacement = relative = true;
  } else {
    address = value(rm | (rex & 1) << 3);
  }
  const std::size_t displacement = wide_displacement ? 4 : mod == 1 ? 1 : 0;
  if (displacement > 0) address += little_endian(p, displacement);
  p += displacement;
  d.length = static_cast<std::size_t>(p - at);
  if (relative) address += registers[REG_RIP] + static_cast<greg_t>(d.length);
  d.divisor = little_endian(reinterpret_cast<const std::uint8_t*>(address), bytes);
  return d;
}

void resume_after_division(int signal, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const Division d = decode(registers);
  if (d.length == 0) {  // another exception: what would have happened without us
    std::signal(signal, SIG_DFL);
    return;
  }
  registers[REG_RIP] += static_cast<greg_t>(d.length);
  // The other cause of the trap is the least integer divided by -1: the quotient wraps, it stays in place.
  if (d.divisor != 0) {
    if (!d.narrow) registers[REG_RDX] = 0;
    return;
  }
  if (d.narrow) {
    registers[REG_RAX] &= ~greg_t{0xffff};
  } else {
    registers[REG_RAX] = registers[REG_RDX] = 0;
  }
  const auto* place = reinterpret_cast<const void*>(registers[REG_RIP]);
  const auto end = g_places.begin() + static_cast<std::ptrdiff_t>(g_count);
  if (g_count < kMaxPlaces && std::find(g_places.begin(), end, place) == end) g_places[g_count++] = place;
}

#endif

}  // namespace

DivisionTrap::DivisionTrap() {
  g_count = 0;
#if defined(__x86_64__)
  struct sigaction action {};
  action.sa_sigaction = resume_after_division;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGFPE, &action, &before_);
#endif
}

DivisionTrap::~DivisionTrap() {
#if defined(__x86_64__)
  sigaction(SIGFPE, &before_, nullptr);
#endif
}

std::vector<const void*> DivisionTrap::places() const {
  return std::vector<const void*>(g_places.begin(), g_places.begin() + static_cast<std::ptrdiff_t>(g_count));
}

}  // namespace attest::metal
