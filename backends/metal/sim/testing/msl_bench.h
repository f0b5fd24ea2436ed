// Runs small MSL programs in tests: compiles a text once per process and model, hands kernels plain arrays.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/metal/sim/sim_device.h"

namespace attest::metal {

// Compiled kernels of tests are kept in the build tree, unless ATTEST_CACHE_DIR says otherwise.
inline void use_test_cache() { setenv("ATTEST_CACHE_DIR", ATTEST_TEST_CACHE, 0); }

class MslBench {
 public:
  explicit MslBench(const std::string& source, SimOptions options = {}) {
    use_test_cache();
    auto device = make_sim_device(options);
    if (!device) {
      ADD_FAILURE() << device.error().text();
      return;
    }
    device_ = std::move(*device);
    const auto loaded =
        device_->load("test.metal", "#include <metal_stdlib>\nusing namespace metal;\n#line 1\n" + source);
    if (!loaded) error_ = loaded.error();
  }

  const Error& error() const { return error_; }
  Device& device() { return *device_; }

  // Runs one threadgroup of `threads`; buffer(0) is `out`, buffer(1) is `in`, threadgroup(0) has `memory` bytes.
  template <class Out, class In = float>
  std::vector<Finding> run(const std::string& kernel, std::vector<Out>& out, std::uint32_t threads = 32,
                           const std::vector<In>& in = {}, std::size_t memory = 0,
                           std::vector<FunctionConstantValue> constants = {}) {
    if (!error_.message.empty()) {
      ADD_FAILURE() << error_.text();
      return {};
    }
    Dispatch d;
    d.function = kernel;
    d.constants = std::move(constants);
    d.arguments = {Argument::output(0, out.data(), out.size() * sizeof(Out)),
                   Argument::of(1, in.data(), in.size() * sizeof(In))};
    if (memory > 0) d.threadgroup_memory = {memory};
    d.threads.x = threads;
    const auto result = device_->run({d});
    if (!result) {
      refused_ = result.error().text();
      return {};
    }
    notes_ = result->notes;
    return result->findings;
  }
  // What the last run() was refused for.
  const std::string& refused() const { return refused_; }
  const std::vector<std::string>& notes() const { return notes_; }  // of the last run()

 private:
  std::unique_ptr<Device> device_;
  Error error_;
  std::string refused_;
  std::vector<std::string> notes_;
};

}  // namespace attest::metal
