// What judge and subject say to each other over a stream socket: fixed headers followed by text.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "cases/contract.h"
#include "cases/error.h"
#include "harness/run/place.h"

namespace attest::protocol {

inline constexpr std::uint32_t kMagic = 0x41545354;  // "ATST"; another value on the wire is GARBAGE

// judge -> subject. `contract` is answered by `accepted` or `unsupported` alone and needs no place.
enum class Ask : std::uint32_t { contract, run };
struct Request {
  std::uint32_t magic = kMagic;
  Ask ask = Ask::run;
  std::uint64_t id = 0;
  std::uint32_t place = 0;  // index into the places inherited at start
  std::uint32_t left_aligned = 0;
  RegionCapacities capacities{};
  std::uint64_t text_bytes = 0;  // the case's descriptor
};

// subject -> judge. A run is answered by `accepted` (with the contract) and later `done`, or by `unsupported`, or by
// `failed`, or by `found` (what a simulator saw; text: the verdict's name, a line break, a sentence). At the start:
// `described`, or `misnamed` (the user's mistake: no such backend, variant or option), `misread` (the user's mistake in
// a file that the backend is made of; text: as packed() has it), or `failed` (not to be had here). Text: reason, error,
// or for `described` name \n build id \n description.
enum class Say : std::uint32_t { described, accepted, unsupported, done, failed, misnamed, found, misread };
struct Reply {
  std::uint32_t magic = kMagic;
  Say say = Say::done;
  std::uint64_t id = 0;
  ArithmeticContract contract;
  double cpu_seconds = 0, wall_seconds = 0;
  std::uint64_t text_bytes = 0;
};

// Written by the subject's signal handler into shared memory; read by the judge once the subject is dead.
struct FaultReport {
  std::atomic<std::uint32_t> valid;  // 1: the fields below hold
  std::int32_t signal;
  std::uint32_t in_place;  // 1: the address lies in or around a tensor
  Region region;
  std::int64_t before, after;
  std::uint32_t within;     // inside a read-only input
  std::uint32_t write;      // 1: write, 0: read, 2: unknown
  std::uint32_t in_memory;  // 1: the address lies in or around other memory lent to a kernel, called `memory`
  std::array<char, 64> memory;
  std::uint32_t out_of_memory;
  std::uint64_t address;
};

// Whole-buffer transfers; false: the other side is gone. send() fills in text_bytes.
bool write_all(int fd, const void* data, std::size_t bytes);
bool read_all(int fd, void* data, std::size_t bytes);
bool send(int fd, const Request& request, std::string_view text);
bool send(int fd, const Reply& reply, std::string_view text);

// An error with its place in a file, as text, and back.
std::string packed(const Error& error);
Error unpacked(const std::string& text);

}  // namespace attest::protocol
