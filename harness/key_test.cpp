#include "harness/key.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <filesystem>

#include "cases/inputs.h"
#include "harness/compare.h"
#include "harness/key_blob.h"
#include "harness/mock_backend.h"

namespace attest {
namespace {

namespace fs = std::filesystem;

class KeyCache : public ::testing::Test {
 protected:
  KeyCache() : directory_(fs::path(::testing::TempDir()) / ("keys." + std::to_string(getpid()))) {
    fs::remove_all(directory_);
  }
  ~KeyCache() override { fs::remove_all(directory_); }

  std::size_t files() const {
    std::size_t n = 0;
    if (!fs::exists(directory_)) return 0;
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) n += entry.is_regular_file() ? 1U : 0U;
    return n;
  }
  // What compare() says of a slightly wrong output of `line` under `contract`.
  VerdictRecord judge(const std::string& line, const ArithmeticContract& contract, BlobStore* store) const {
    const Case c = *parse_case(line);
    OwnedInputs owned(c);
    write_truth(owned.inputs(), owned.output());
    auto* o = reinterpret_cast<float*>(owned.output().data);
    o[5] *= 1.001F;
    Key key(c, owned.inputs(), {}, store);
    VerdictRecord record;
    record.verdict = compare(key, contract, owned.output().view(), record).verdict;
    return record;
  }
  fs::path directory_;
};

constexpr const char* kLine = "flash_attn_ext d=32 n_head=4 n_head_kv=2 n_q=20 n_kv=70 k=q4_1 v=f16 mask=causal seed=3";

TEST_F(KeyCache, ASecondRunSaysTheSameAsTheFirstAndAsOneWithoutCache) {
  ArithmeticContract half;
  half.q_rounding = QRounding::q8_1;
  half.u_acc = kUnitF16;
  half.omega_acc = 0x1p-25;
  for (const ArithmeticContract& contract : {ArithmeticContract{}, half}) {
    BlobStore store(directory_, 1 << 24);
    const VerdictRecord plain = judge(kLine, contract, nullptr);
    const VerdictRecord first = judge(kLine, contract, &store);
    const std::size_t stored = files();
    const VerdictRecord second = judge(kLine, contract, &store);
    EXPECT_GT(stored, 1U);
    EXPECT_EQ(files(), stored);
    EXPECT_EQ(to_json(first), to_json(plain));
    EXPECT_EQ(to_json(second), to_json(plain));
  }
}

TEST_F(KeyCache, AnotherCaseContractOrChoiceOfRowsIsAnotherKey) {
  BlobStore store(directory_, 1 << 24);
  ArithmeticContract contract;
  judge(kLine, contract, &store);
  const std::size_t one = files();
  contract.u_p = kUnitBf16;
  const VerdictRecord other = judge(kLine, contract, &store);
  EXPECT_GT(files(), one);
  EXPECT_EQ(to_json(other), to_json(judge(kLine, contract, nullptr)));
  const std::string moved = std::string(kLine) + "1";
  EXPECT_EQ(to_json(judge(moved, contract, &store)), to_json(judge(moved, contract, nullptr)));
}

TEST_F(KeyCache, DamagedFilesAreWorkedOutAnew) {
  BlobStore store(directory_, 1 << 24);
  const VerdictRecord first = judge(kLine, {}, &store);
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    if (entry.is_regular_file()) fs::resize_file(entry.path(), entry.file_size() / 2);
  }
  EXPECT_EQ(to_json(judge(kLine, {}, &store)), to_json(first));
}

// Copies of a contract need not copy what lies between its fields.
// The middle query is dead, and four rows are judged: none of them could have told a dead row from another.
TEST(Key, IsBlindToWhatNoneOfItsRowsShows) {
  const Case c = *parse_case("flash_attn_ext d=64 n_q=65 n_kv=64 mask=dead:middle");
  const OwnedInputs owned(c);
  KeyOptions few;
  few.rows = 4;
  Key sampled(c, owned.inputs(), few), whole(c, owned.inputs(), {});
  EXPECT_EQ(sampled.blind_to({}), (std::vector<Feature>{Feature::mask, Feature::dead_row}));
  EXPECT_TRUE(whole.blind_to({}).empty());
}

TEST(Key, BytesBetweenTheFieldsOfAContractDoNotMakeItAnother) {
  const Case c = *parse_case(kLine);
  OwnedInputs owned(c);
  Key key(c, owned.inputs(), {});
  const ArithmeticContract contract;
  constexpr std::size_t kBetween = offsetof(ArithmeticContract, q_rounding) + sizeof contract.q_rounding;
  static_assert(kBetween < offsetof(ArithmeticContract, u_q));
  std::array<std::byte, sizeof contract> bytes;
  std::memcpy(bytes.data(), &contract, sizeof contract);
  bytes[kBetween] = ~bytes[kBetween];
  ArithmeticContract twin;
  std::memcpy(&twin, bytes.data(), sizeof twin);
  const auto* budgets = &key.budgets(contract, {0});
  EXPECT_EQ(budgets->size(), 1U);
  EXPECT_EQ(&key.budgets(twin, {}), budgets);
}

TEST(KeyBlob, UnpackRefusesBytesThatPackDidNotMake) {
  const std::vector<double> values{1, 2, 3};
  const std::vector<std::uint8_t> flags{7};
  const auto blob = pack(values, flags);
  std::vector<double> v;
  std::vector<std::uint8_t> f;
  EXPECT_TRUE(unpack(blob, v, f));
  EXPECT_EQ(v, values);
  EXPECT_EQ(f, flags);
  for (std::size_t n = 0; n < blob.size(); ++n) EXPECT_FALSE(unpack(std::span(blob).first(n), v, f)) << n;
  auto longer = blob;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(unpack(longer, v, f));
}

}  // namespace
}  // namespace attest
