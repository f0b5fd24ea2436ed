// What a test and its judge say to each other; the judge is `attest __judge`, started by judge_client.h.
#pragma once

#include <attest/attest_plugin.h>

#include <cstdint>

namespace attest::wire {

inline constexpr std::uint32_t kMagic = 0x4a545441;
inline constexpr std::uint32_t kVersion = 1;  // of these structs: both sides must have the same
inline constexpr const char* kJudgeVerb = "__judge";
inline constexpr int kJudgeFd = 3;  // the judge's end of the stream socket

enum class Kind : std::uint32_t {
  // From the test. Each is answered by `error` (text: why) or by what stands behind it.
  suite,   // text: name of a suite, .toml or .txt file      -> lines
  judge,   // text: case line, suite, kernel's name, by line -> any number of run, then verdict
  open,    // text: case line                                -> run
  rule,    // text: case line; payload: the output; contract -> verdict
  answer,  // to a run during `judge`: status, text: reason or error, contract
  // From the judge.
  lines,    // text: case id and line, a case per line
  run,      // problem, allocations, with it the descriptor of the memory; text: the case line
  verdict,  // status; text: the verdict's word, then what there is to say, a line each
  error,
};

enum class Status : std::uint32_t { good, bad, unsupported };

// One of Q, K, V, mask, sinks, output: the size of its part of the memory, and where in that part it lies.
struct Allocation {
  std::uint64_t capacity, begin, end;
};
inline constexpr int kAllocations = 6;

struct Message {
  std::uint32_t magic, version;
  Kind kind;
  Status status;
  std::uint64_t text_bytes, payload_bytes;  // what follows
  attest_contract contract;                 // run: of a kernel in f32 throughout
  attest_problem problem;                   // run: data counts from the beginning of the memory
  Allocation allocations[kAllocations];     // run
};

inline Message message(Kind kind, Status status = Status::good) {
  Message m{};
  m.magic = kMagic;
  m.version = kVersion;
  m.kind = kind;
  m.status = status;
  return m;
}

}  // namespace attest::wire
