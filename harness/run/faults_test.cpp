// Faults on purpose: 2,000 cases of which 150 make the backend misbehave in fifteen ways, at seeded random places. Every
// fault must get its verdict and every other case its normal one. This executable is judge and subject in one.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cases/poison.h"
#include "cases/rng.h"
#include "harness/backends.h"
#include "harness/mock_backend.h"
#include "harness/run/runner.h"

namespace attest {
namespace faults {  // named, so that a stack can be: functions of an unnamed namespace are not exported

enum class FaultKind {
  none, segfault, abort, exit, loop, deadlock, allocate, malloc_fails, write_before, write_after, write_input,
  read_past_k, read_before_k, unwritten, close_pipes, garbage
};
constexpr int kFaultKinds = 15, kTimes = 10, kCases = 2000;

// Which case misbehaves how: both sides work it out from the same seed.
std::vector<FaultKind> fault_plan() {
  std::vector<FaultKind> plan(kCases, FaultKind::none);
  const Rng rng(2026, 7);
  std::uint64_t draw = 0;
  for (int kind = 1; kind <= kFaultKinds; ++kind) {
    for (int time = 0; time < kTimes;) {
      FaultKind& place = plan[rng.bits(draw++) % kCases];
      if (place != FaultKind::none) continue;
      place = static_cast<FaultKind>(kind);
      ++time;
    }
  }
  return plan;
}

// The case's number travels in its scale.
constexpr float kFirstScale = 0.125F, kScaleStep = 0x1p-16F;
std::size_t case_number(const AttentionProblem& p) {
  return static_cast<std::size_t>((p.scale - kFirstScale) / kScaleStep + 0.5F);
}

class FaultBackend final : public Backend {
 public:
  std::string name() const override { return "fault"; }
  std::string description() const override { return "misbehaves on purpose"; }
  std::string build_id() const override { return "fault 1"; }
  Support supports(const AttentionProblem&) const override { return {}; }
  ArithmeticContract contract(const AttentionProblem&) const override { return {}; }

  Outcome run(const AttentionInputs& in, const MutableTensorView& out) override {
    write_truth(in, out);
    auto* o = reinterpret_cast<volatile float*>(out.data);
    switch (plan_.at(case_number(*in.problem))) {
      case FaultKind::none: break;
      case FaultKind::segfault: *nowhere_ = 1; break;
      case FaultKind::abort: std::fprintf(stderr, "ASSERT(type == F16) failed\n"); std::abort();
      case FaultKind::exit: _exit(0);
      case FaultKind::loop:
        for (volatile bool forever = true; forever;) {
        }
        break;
      case FaultKind::deadlock: pause(); break;
      case FaultKind::allocate:
        for (;;) static_cast<volatile char*>(new char[16 << 20])[0] = 1;
      case FaultKind::malloc_fails:
        for (;;) static_cast<volatile char*>(std::malloc(16 << 20))[0] = 1;
      case FaultKind::write_before: o[-2] = 1; break;
      case FaultKind::write_after: o[out.elements() + 64] = 1; break;
      case FaultKind::write_input: *const_cast<std::byte*>(in.q.data) = std::byte{1}; break;
      case FaultKind::read_past_k: sink_ = element(in.k, 0, in.k.ne[1] + 2, in.k.ne[2] - 1, 0); break;
      case FaultKind::read_before_k: sink_ = *(reinterpret_cast<const volatile float*>(in.k.data) - 1); break;
      case FaultKind::unwritten: std::memcpy(out.data + 12, &kOutputPrefill, 4); break;
      case FaultKind::close_pipes: for (int fd = 0; fd < 64; ++fd) close(fd); pause(); break;
      case FaultKind::garbage:
        if (write(kControlFd, "this is not a reply, and it is long enough to be read as one: "
                              "....................................................................................."
                              "....................................................................................."
                              ".....................................................................................",
                  300) < 0) {
          _exit(1);
        }
        break;
    }
    return {};
  }

 private:
  std::vector<FaultKind> plan_ = fault_plan();
  volatile float sink_ = 0;
  volatile int* volatile nowhere_ = nullptr;
};

Verdict expected(FaultKind kind) {
  switch (kind) {
    case FaultKind::none: return Verdict::PASS;
    case FaultKind::loop:
    case FaultKind::deadlock: return Verdict::HANG;
    case FaultKind::allocate:
    case FaultKind::malloc_fails: return Verdict::OOM;
    case FaultKind::write_before:
    case FaultKind::write_after:
    case FaultKind::read_past_k:
    case FaultKind::read_before_k: return Verdict::OOB;
    case FaultKind::write_input: return Verdict::INPUT_WRITTEN;
    case FaultKind::unwritten: return Verdict::UNWRITTEN;
    default: return Verdict::CRASH;
  }
}

struct Collector : RunListener {
  void on_verdict(const VerdictRecord& r) override { records[r.line].push_back(r); }
  std::map<std::string, std::vector<VerdictRecord>> records;
};

TEST(Faults, EveryFaultGetsItsVerdictAndNoOtherCaseIsLost) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "under a limit on memory AddressSanitizer does not start";
#endif
  const std::vector<FaultKind> faults = fault_plan();
  RunPlan plan;
  plan.backends = {"fault"};
  for (int i = 0; i < kCases; ++i) {
    Case c = *parse_case("flash_attn_ext d=16 n_head=2 n_head_kv=1 n_q=2 n_kv=24 kv=f32");
    c.problem.scale = kFirstScale + static_cast<float>(i) * kScaleStep;
    c.seed = static_cast<std::uint64_t>(i);
    // Only there does a guard page lie right before K.
    c.problem.layout.left_aligned = faults[static_cast<std::size_t>(i)] == FaultKind::read_before_k;
    plan.cases.push_back(c);
  }
  RunOptions options;
  options.timeout_s = 0.3;
  options.jobs = 8;  // mostly waiting: for deadlines, and for processes to start and end
  const SubjectMaker maker = [](const std::string& backend, const std::vector<int>& places) {
    return make_process_subject(
        {{own_executable().string(), kSubjectVerb}, backend, {}, places, std::uint64_t{128} << 20, nullptr});
  };
  Collector collector;
  const auto summary = run(plan, options, maker, {}, collector);
  ASSERT_TRUE(summary) << summary.error().text();
  EXPECT_EQ(summary->ruled, kCases);
  ASSERT_EQ(collector.records.size(), static_cast<std::size_t>(kCases));
  for (int i = 0; i < kCases; ++i) {
    const auto& records = collector.records.at(text(plan.cases[static_cast<std::size_t>(i)]));
    ASSERT_EQ(records.size(), 1U);
    const FaultKind kind = faults[static_cast<std::size_t>(i)];
    EXPECT_EQ(info(records[0].verdict).name, info(expected(kind)).name)
        << "fault " << static_cast<int>(kind) << ": " << records[0].detail;
    const std::string& detail = records[0].detail;
    const auto says = [&](std::string_view text) {
      EXPECT_NE(detail.find(text), std::string::npos) << "fault " << static_cast<int>(kind) << ": " << detail;
    };
    if (kind == FaultKind::segfault) says("signal 11");
    if (kind == FaultKind::abort) says("last words: ASSERT(type == F16) failed");
    if (kind == FaultKind::segfault || kind == FaultKind::abort) says("FaultBackend::run");
    if (kind == FaultKind::exit) says("exited with code 0");
    if (kind == FaultKind::write_after) says("write 256 bytes past the end of output");
    if (kind == FaultKind::read_past_k) says("past the end of K");
    if (kind == FaultKind::read_before_k) says("read 4 bytes before K");
    if (kind == FaultKind::write_input) says("write to Q");
    if (kind == FaultKind::close_pipes) says("closed its control channel");
    if (kind == FaultKind::garbage) says("garbage");
  }
}

}  // namespace faults
}  // namespace attest

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == attest::kSubjectVerb) {
    return attest::subject_main({argv + 2, argv + argc},
                                [](const attest::BackendSpec&, const attest::BackendEnvironment&) {
                                  return attest::Expected<std::unique_ptr<attest::Backend>>(
                                      std::make_unique<attest::faults::FaultBackend>());
                                });
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
