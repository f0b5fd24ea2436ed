#include "harness/bisect/bisect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "harness/mock_backend.h"

namespace attest {
namespace {

using ::testing::_;
using ::testing::Invoke;
using ::testing::NiceMock;
using ::testing::Return;
namespace fs = std::filesystem;

// Two ggml builds that are never loaded: a backend that is right answers for them.
class TwoBuilds : public LinearHistory {
 public:
  TwoBuilds() : LinearHistory({{"old", "old", ""}, {"new", "new", ""}}) {}
  std::string describe() const override { return "two builds"; }
  Expected<std::string> identity(const Step& step) override { return "bytes of " + step.id; }
  Expected<Specimen> obtain(const Step& step, const Obtain&) override {
    Specimen specimen;
    specimen.ggml = "/nowhere/" + step.id;
    return specimen;
  }
};

class KeptVerdicts : public ::testing::Test {
 protected:
  KeptVerdicts() : cache_(fs::path(::testing::TempDir()) / ("attest_bisect_test" + std::to_string(::getpid()))) {
    fs::remove_all(cache_);
    options_.cache = cache_;
    options_.version = "1";
    options_.machine = "this one";
    options_.variants = [this](const GgmlBuild&) -> Expected<std::vector<std::string>> {
      ++listed_;
      return std::vector<std::string>{"haswell"};
    };
    options_.subjects = [](const BackendEnvironment&) -> SubjectMaker {
      return [](const std::string& backend, const std::vector<int>&) {
        return make_in_process_subject([backend]() -> Expected<std::unique_ptr<Backend>> {
          auto right = std::make_unique<NiceMock<MockBackend>>();
          ON_CALL(*right, name()).WillByDefault(Return(backend));
          ON_CALL(*right, supports(_)).WillByDefault(Return(Support{}));
          ON_CALL(*right, run(_, _)).WillByDefault(Invoke(write_truth));
          return std::unique_ptr<Backend>(std::move(right));
        });
      };
    };
  }
  ~KeptVerdicts() override { fs::remove_all(cache_); }

  // How many builds were asked for their variants, and how many ends were judged.
  std::pair<int, int> looked() {
    listed_ = 0;
    TwoBuilds builds;
    BisectListener listener;
    BisectQuestion question{*parse_case("flash_attn_ext d=16 n_q=2 n_kv=5 kv=f32"), "", false,
                            *Predicate::parse("bitwise-change"), false};
    const auto outcome = bisect(question, builds, options_, listener);
    EXPECT_TRUE(outcome) << outcome.error().text();
    EXPECT_EQ(outcome->kind, BisectOutcome::Kind::premise_false);
    EXPECT_EQ(outcome->older.measurement.record.verdict, Verdict::PASS);
    return {listed_, (outcome->older.kept ? 0 : 1) + (outcome->newer.kept ? 0 : 1)};
  }

  fs::path cache_;
  BisectOptions options_;
  int listed_ = 0;
};

const std::pair<int, int> kEverything{2, 2}, kNothing{0, 0};

TEST_F(KeptVerdicts, AreTakenForTheSameQuestion) {
  EXPECT_EQ(looked(), kEverything);
  EXPECT_EQ(looked(), kNothing);
}

TEST_F(KeptVerdicts, AreOfOneMachineAndOneLimitOfMemory) {
  EXPECT_EQ(looked(), kEverything);
  options_.max_memory = std::uint64_t{8} << 30;
  EXPECT_EQ(looked(), kEverything);
  options_.machine = "another one";
  EXPECT_EQ(looked(), kEverything);
  EXPECT_EQ(looked(), kNothing);
}

TEST_F(KeptVerdicts, AreNotTakenWhereAllIsToBeLookedAtAgain) {
  EXPECT_EQ(looked(), kEverything);
  options_.fresh = true;
  EXPECT_EQ(looked(), kEverything);
}

}  // namespace
}  // namespace attest
