// Runs our kernels, as they stand or with a change in their text, on the simulator: for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backends/metal/attention.h"
#include "backends/metal/rows.h"
#include "backends/metal/sim/sim_device.h"
#include "cases/case.h"
#include "cases/inputs.h"

namespace attest::metal {

class AttentionBench {
 public:
  explicit AttentionBench(SimOptions sim, const std::string& library = attention_library()) {
    setenv("ATTEST_CACHE_DIR", ATTEST_TEST_CACHE, 0);  // compiled kernels stay in the build tree
    auto device = make_sim_device(sim);
    if (!device) {
      ADD_FAILURE() << device.error().text();
      return;
    }
    // The other ops' library beside it, unless it is the one that is changed.
    const bool changes_rows = library.find("\"rows.metal\"") != std::string::npos;
    auto loaded = (*device)->load(changes_rows ? kRowsLibrary : kAttentionLibrary, library);
    if (loaded && !changes_rows) loaded = (*device)->load(kRowsLibrary, rows_library());
    if (!loaded) {
      ADD_FAILURE() << loaded.error().text();
      return;
    }
    device_ = std::move(*device);
  }

  struct Answer {
    std::vector<Finding> findings;
    std::vector<std::byte> bits;  // of the output
    bool operator==(const Answer& o) const { return findings.empty() && o.findings.empty() && bits == o.bits; }
  };
  Answer run(const OwnedInputs& in, const AttentionOptions& options = {}) {
    Answer answer;
    if (!device_) return answer;
    fill_output(in.the_case(), in.plan(), in.buffers());
    AttentionWork work;
    switch (in.the_case().problem.op) {
      case Op::set_rows:
        plan_set_rows(in.inputs(), in.output(), work);
        break;
      case Op::soft_max_ext:
        plan_soft_max(in.inputs(), in.output(), work);
        break;
      default:
        plan_attention(in.inputs(), in.output(), options, work);
    }
    const auto result = device_->run(work.dispatches);
    if (!result) {
      ADD_FAILURE() << result.error().text();
      return answer;
    }
    answer.findings = result->findings;
    const std::byte* out = in.output().data;
    answer.bits.assign(out, out + in.plan().out.bytes);
    return answer;
  }

 private:
  std::unique_ptr<Device> device_;
};

inline Case metal_case(const std::string& line) {
  const auto parsed = parse_case(line);
  EXPECT_TRUE(parsed) << line;
  return parsed ? *parsed : Case{};
}

}  // namespace attest::metal
