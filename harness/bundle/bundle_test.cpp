#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "cases/dense_array.h"
#include "cases/file_io.h"
#include "cases/npy.h"
#include "harness/bundle/bundle_writer.h"
#include "harness/check/captured.h"
#include "harness/mock_backend.h"
#include "harness/run/runner.h"
#include "reports/mock_run_listener.h"

namespace attest {
namespace {

using ::testing::_;
using ::testing::HasSubstr;
using ::testing::Invoke;
using ::testing::NiceMock;
using ::testing::Return;
namespace fs = std::filesystem;

class Bundles : public ::testing::Test {
 protected:
  Bundles() : dir_(fs::path(::testing::TempDir()) / ("attest_bundles_test" + std::to_string(::getpid()))) {
    fs::remove_all(dir_);
  }
  ~Bundles() override { fs::remove_all(dir_); }

  // Runs the lines on a backend whose first element is one too large.
  static void run_wrong(const std::vector<std::string>& lines, FailureSaver* saver, const std::string& name = "mock") {
    RunPlan plan;
    for (const auto& line : lines) plan.cases.push_back(*parse_case(line));
    plan.backends = {name};
    RunOptions options;
    options.jobs = 1;
    options.failures = saver;
    NiceMock<MockRunListener> listener;
    const SubjectMaker maker = [&](const std::string& backend, const std::vector<int>&) {
      return make_in_process_subject([backend]() -> Expected<std::unique_ptr<Backend>> {
        auto wrong = std::make_unique<NiceMock<MockBackend>>();
        ON_CALL(*wrong, name()).WillByDefault(Return(backend));
        ON_CALL(*wrong, build_id()).WillByDefault(Return("mock \"1\"\n"));
        ON_CALL(*wrong, supports(_)).WillByDefault(Return(Support{}));
        ON_CALL(*wrong, run(_, _)).WillByDefault(Invoke([](const AttentionInputs& in, const MutableTensorView& out) {
          const Outcome outcome = write_truth(in, out);
          reinterpret_cast<float*>(out.row(0, 0, 0))[0] += 1;
          return outcome;
        }));
        return std::unique_ptr<Backend>(std::move(wrong));
      });
    };
    ASSERT_TRUE(run(plan, options, maker, {}, listener));
  }

  std::vector<fs::path> bundles() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(dir_)) found.push_back(entry.path());
    return found;
  }

  fs::path dir_;
};

// What a file holds, put back where the generator puts it, is what the generator put there.
TEST_F(Bundles, HoldEveryTensorBitForBit) {
  for (const std::string line :
       {"flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=3 n_kv=37 n_seq=2 k=q8_0 v=q5_1 mask=causal+random sinks=normal",
        "flash_attn_ext d_k=48 d_v=32 n_head=2 n_q=2 n_kv=19 kv=bf16 layout=0213+cache:25+pad:3+offset:6 poison=nan",
        "flash_attn_ext d=64 n_head=2 n_q=2 n_kv=33 kv=q4_0 layout=kt",
        "flash_attn_ext d_k=64 d_v=32 n_kv=9 layout=v-in-k"}) {
    fs::remove_all(dir_);
    auto writer = BundleWriter::open(dir_, {});
    ASSERT_TRUE(writer) << writer.error().text();
    run_wrong({line}, writer->get());
    EXPECT_EQ((*writer)->tally().saved, 1) << line;
    ASSERT_EQ(bundles().size(), 1U);
    const OwnedInputs made(*parse_case(line));
    struct Named {
      const char* file;
      const TensorView& view;
    };
    const AttentionInputs& in = made.inputs();
    for (const auto& [file, view] :
         {Named{"q.npy", in.q}, {"k.npy", in.k}, {"v.npy", in.v}, {"mask.npy", in.mask}, {"sinks.npy", in.sinks}}) {
      const bool shared = *file == 'v' && in.problem->layout.v_view_of_k;
      ASSERT_EQ(fs::exists(bundles()[0] / file), view.present() && !shared) << line << ' ' << file;
      if (!view.present() || shared) continue;
      auto array = read_npy((bundles()[0] / file).string());
      ASSERT_TRUE(array) << array.error().text();
      if (&view == &in.sinks) array->shape = {1, 1, 1, view.ne[0]};
      TensorPlan plan = *file == 'q'   ? made.plan().q
                        : *file == 'k' ? made.plan().k
                        : *file == 'v' ? made.plan().v
                        : *file == 'm' ? made.plan().mask
                                       : made.plan().sinks;
      // Everything but the view's own elements as it was made: gaps and poison come from the line.
      const std::byte* memory = view.data - plan.offset;
      std::vector<std::byte> again(memory, memory + plan.bytes);
      MutableTensorView place;
      static_cast<TensorShape&>(place) = view;
      place.data = again.data() + plan.offset;
      StoredArray zeros = gather(view);
      std::fill(zeros.bytes.begin(), zeros.bytes.end(), std::byte{0});
      ASSERT_TRUE(scatter(zeros, place));
      const auto back = scatter(*array, place);
      ASSERT_TRUE(back) << back.error().text();
      EXPECT_EQ(std::memcmp(again.data(), memory, again.size()), 0) << line << ' ' << file;
    }
    // And so it is for whoever reads the bundle.
    const auto read = CapturedCases::open({dir_.string()}, {});
    ASSERT_TRUE(read) << read.error().text();
    ASSERT_EQ((*read)->cases().size(), 1U);
    EXPECT_EQ(text((*read)->cases()[0]), text(made.the_case()));
    OwnedInputs other(*parse_case(line));
    const auto regions = [](const OwnedInputs& of) {
      const InputPlan& p = of.plan();
      const InputBuffers& b = of.buffers();
      return std::vector<std::span<std::byte>>{{b.q, static_cast<std::size_t>(p.q.bytes)},
                                               {b.k, static_cast<std::size_t>(p.k.bytes)},
                                               {b.v, static_cast<std::size_t>(p.v.bytes)},
                                               {b.mask, static_cast<std::size_t>(p.mask.bytes)},
                                               {b.sinks, static_cast<std::size_t>(p.sinks.bytes)}};
    };
    for (const auto region : regions(other)) std::fill(region.begin(), region.end(), std::byte{0x5a});
    const auto filled = (*read)->fill((*read)->cases()[0], other.plan(), other.buffers());
    ASSERT_TRUE(filled) << filled.error().text();
    for (std::size_t r = 0; r < regions(made).size(); ++r)
      EXPECT_TRUE(std::ranges::equal(regions(made)[r], regions(other)[r])) << line << ", region " << r;
  }
}

TEST_F(Bundles, HaveTheAnswerTheBudgetAndWhatWasFound) {
  auto writer = BundleWriter::open(dir_, {});
  const std::string line = "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=9";
  run_wrong({line}, writer->get(), "mock:a b,c");
  ASSERT_EQ(bundles().size(), 1U);
  EXPECT_EQ(bundles()[0].filename().string(), case_id(*parse_case(line)) + "-mock-a-b-c");
  const auto manifest = read_text_file((bundles()[0] / "manifest.toml").string());
  ASSERT_TRUE(manifest);
  for (const char* part :
       {"line = \"flash_attn_ext d=64 n_head=2 n_q=3 n_kv=9", "q = \"q.npy\"", "verdict = \"FAIL\"",
        R"(build = "mock \"1\"\u000a")", "expected = { file = \"expected.npy\" }", "suspect = \"output\""})
    EXPECT_THAT(*manifest, HasSubstr(part));
  const auto expected = read_npy((bundles()[0] / "expected.npy").string()),
             output = read_npy((bundles()[0] / "output.npy").string());
  const auto budget = read_npy((bundles()[0] / "budget.npy").string());
  ASSERT_TRUE(expected && output && budget);
  EXPECT_EQ(expected->shape, (std::vector<std::int64_t>{1, 3, 2, 64}));
  EXPECT_EQ(output->shape, expected->shape);
  EXPECT_EQ(budget->shape, expected->shape);
  EXPECT_NEAR(array_value(*output, 0) - array_value(*expected, 0), 1, 1e-5);
  for (std::int64_t i = 1; i < expected->elements(); ++i) {
    ASSERT_LE(std::abs(array_value(*output, i) - array_value(*expected, i)), array_value(*budget, i)) << i;
  }
}

TEST_F(Bundles, AreBoundedInNumberAndBytesAndReplaceTheirLike) {
  const std::vector<std::string> lines{"flash_attn_ext n_kv=9", "flash_attn_ext n_kv=10", "flash_attn_ext n_kv=11"};
  for (int again = 0; again < 2; ++again) {  // those of the first run count, and are replaced
    auto writer = BundleWriter::open(dir_, {2, 1 << 20});
    run_wrong(lines, writer->get());
    EXPECT_EQ((*writer)->tally().saved, 2);
    EXPECT_EQ((*writer)->tally().beyond_limit, 1);
    EXPECT_EQ(bundles().size(), 2U);
  }
  fs::remove_all(dir_);
  auto writer = BundleWriter::open(dir_, {10, 12000});
  run_wrong(lines, writer->get());
  EXPECT_EQ((*writer)->tally().saved, 1);
  EXPECT_EQ((*writer)->tally().beyond_limit, 2);
}

TEST_F(Bundles, ADiskThatIsFullLeavesNothingHalfWrittenAndIsTold) {
  auto writer = BundleWriter::open(dir_, {});
  // A file may not grow beyond 2000 bytes: write() fails after some of it, as on a full disk.
  struct NoRoom : FailureSaver {
    explicit NoRoom(FailureSaver* behind) : behind_(behind) {}
    void save(const FailedCase& failed) override {
      rlimit before{};
      getrlimit(RLIMIT_FSIZE, &before);
      const rlimit small{2000, before.rlim_max};
      setrlimit(RLIMIT_FSIZE, &small);
      behind_->save(failed);
      setrlimit(RLIMIT_FSIZE, &before);
    }
    FailureSaver* behind_;
  } saver(writer->get());
  std::signal(SIGXFSZ, SIG_IGN);
  run_wrong({"flash_attn_ext n_kv=30"}, &saver);
  EXPECT_EQ((*writer)->tally().saved, 0);
  EXPECT_EQ((*writer)->tally().unwritten, 1);
  EXPECT_EQ((*writer)->tally().error.kind, ErrorKind::harness);
  EXPECT_THAT((*writer)->tally().error.text(), HasSubstr("k.npy: cannot be written"));
  EXPECT_TRUE(bundles().empty());
}

TEST_F(Bundles, WhatAKilledWriterLeftIsRemovedAndDirectoriesThatCannotBeAreErrors) {
  fs::create_directories(dir_ / ".partial-999999999-x");
  ASSERT_TRUE(BundleWriter::open(dir_, {}));
  EXPECT_TRUE(bundles().empty());
  std::ofstream(dir_ / "file") << "x";
  const auto writer = BundleWriter::open(dir_ / "file" / "below", {});
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().kind, ErrorKind::harness);
}

TEST(Dense, ScatterRefusesWhatDoesNotFit) {
  const OwnedInputs made(*parse_case("flash_attn_ext d=64 n_kv=9 kv=q8_0"));
  StoredArray k = gather(made.inputs().k);
  EXPECT_EQ(k.shape, (std::vector<std::int64_t>{1, 1, 9, 68}));
  MutableTensorView place;
  static_cast<TensorShape&>(place) = made.inputs().k;
  k.shape = {1, 9, 1, 68};
  EXPECT_THAT(scatter(k, place).error().text(), HasSubstr("u8 [1, 9, 1, 68] where q8_0 needs u8 [1, 1, 9, 68]"));
}

}  // namespace
}  // namespace attest
