// What attest says to a process and what it takes for an answer: one JSON object per line. README.md is the definition.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/plugin/attest_plugin.h"
#include "backends/process/exchange.h"
#include "cases/error.h"
#include "cases/problem.h"

namespace attest::process {

inline constexpr int kProtocolVersion = 1;

// What the process says of itself at the start.
struct Capabilities {
  std::string name, build;
  std::vector<DType> k, v, mask;
  std::vector<std::string> features;
  Transfer transfer = Transfer::npy;
  bool asks = false;  // supports() and contract() are asked per problem
  attest_contract contract;
};

std::string capabilities_request();
// Errors (harness): no JSON, another protocol version, a field missing, misspelt or of the wrong kind, with what was
// said.
Expected<Capabilities> read_capabilities(const std::string& line);
// What the capabilities leave out of a problem: "" or the reason.
std::string lacking(const Capabilities& capabilities, const AttentionProblem& problem);

std::string supports_request(std::uint64_t id, const AttentionProblem& problem, int threads);
struct Opinion {
  bool yes = true;
  std::string reason;
  attest_contract contract;
};
Expected<Opinion> read_opinion(const std::string& line, std::uint64_t id, const attest_contract& standard);

// `tensors`: the inputs, then the output.
std::string run_request(std::uint64_t id, const AttentionProblem& problem, int threads, Transfer transfer,
                        const std::vector<FileTensor>& tensors);
struct RunReply {
  std::string output;  // file; "": the one that was suggested
  std::string error;   // not "": the process could not do it
  std::optional<double> cpu_seconds;
};
Expected<RunReply> read_run_reply(const std::string& line, std::uint64_t id);

}  // namespace attest::process
