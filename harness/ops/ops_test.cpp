// The judges of soft_max_ext, set_rows and kv_decode: planted bugs are caught, clean kernels are not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/ops-inl.h"
#include "cases/inputs.h"
#include "cases/rng.h"
#include "harness/ops/op_judge.h"
#include "oracles/soft_max_oracle.h"
#include "oracles/stored_rows.h"
#include "oracles/testing/mpfr_attention.h"

namespace attest {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Case parsed(const std::string& line) {
  auto c = parse_case(line);
  EXPECT_TRUE(c) << (c ? "" : c.error().text());
  return c ? *c : Case{};
}

std::unique_ptr<Backend> cpu(const std::string& name) { return *make_cpu_backend(*BackendSpec::parse(name), {}); }

struct Judged {
  Verdict verdict;
  VerdictRecord record;
};

// `answer(inputs, out)` in place of the backend, judged under cpu:vec's contract.
template <class Answer>
Judged judged(const std::string& line, Answer&& answer) {
  const OwnedInputs in(parsed(line));
  const auto judge = make_op_judge(in.the_case(), in.inputs(), {});
  const ArithmeticContract contract = cpu("cpu:vec")->contract(in.the_case().problem);
  judge->prepare(contract);
  answer(in.inputs(), in.output());
  Judged result;
  result.verdict = judge->rule(contract, in.output().view(), result.record).verdict;
  return result;
}

template <class Policy>
Verdict soft_max_verdict(const std::string& line) {
  return judged(line, [](const AttentionInputs& in,
                         const MutableTensorView& out) { cpu::soft_max<Policy>(in, out, cpu::primitives(), 64, 1); })
      .verdict;
}
template <class Policy>
Judged set_rows_of(const std::string& line) {
  return judged(line,
                [](const AttentionInputs& in, const MutableTensorView& out) { cpu::set_rows<Policy>(in, out, 1); });
}
template <class Policy>
Judged decode_of(const std::string& line) {
  const auto vec = cpu("cpu:vec");
  return judged(line, [&](const AttentionInputs& in, const MutableTensorView& out) {
    const Outcome done = cpu::decode<Policy>(
        in, out, [&](const AttentionInputs& step, const MutableTensorView& o) { return vec->run(step, o); });
    EXPECT_TRUE(done.ok) << done.error;
  });
}

constexpr const char* kSoftMax = "soft_max_ext n_head=4 n_q=5 n_kv=130 mask=random:2+per-head sinks=2";
constexpr const char* kScatter = "set_rows d=64 n_head=2 n_rows=9 n_ctx=40 kv=q8_0";
constexpr const char* kDecode = "kv_decode d=32 n_head=2 n_ctx=64 prompt=12 chunk=5 steps=12 restart=3 cache=doubling";
constexpr const char* kStatic = "kv_decode d=32 n_head=2 n_ctx=64 prompt=12 chunk=5 steps=6 restart=3";

TEST(PlantedBug, NoneIsNoFailure) {
  EXPECT_EQ(soft_max_verdict<cpu::OpProduction>(kSoftMax), Verdict::PASS);
  EXPECT_EQ(set_rows_of<cpu::OpProduction>(kScatter).verdict, Verdict::PASS);
  for (const char* line : {kDecode, kStatic}) EXPECT_EQ(decode_of<cpu::OpProduction>(line).verdict, Verdict::PASS);
}

TEST(PlantedBug, SoftMaxIgnoresTheMasksPlanes) {
  struct Bug : cpu::OpProduction {
    static std::int64_t mask_plane(std::int64_t, std::int64_t) { return 0; }
  };
  EXPECT_EQ(soft_max_verdict<Bug>(kSoftMax), Verdict::FAIL);
}

TEST(PlantedBug, SoftMaxDropsTheSink) {
  struct Bug : cpu::OpProduction {
    static bool uses_sink() { return false; }
  };
  EXPECT_EQ(soft_max_verdict<Bug>(kSoftMax), Verdict::FAIL);
}

TEST(PlantedBug, SoftMaxOfADeadRowIsNan) {
  const Judged found = judged("soft_max_ext n_q=6 n_kv=20 mask=dead:first", [](const auto& in, const auto& out) {
    cpu::soft_max<cpu::OpProduction>(in, out, cpu::primitives(), 64, 1);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(out.data, &nan, sizeof nan);
  });
  EXPECT_EQ(found.verdict, Verdict::NAN_);
}

TEST(PlantedBug, SoftMaxLeavesTheLastWeightUnwritten) {
  const Judged found = judged("soft_max_ext n_q=2 n_kv=20", [](const auto& in, const auto& out) {
    float kept = 0;
    std::memcpy(&kept, out.row(1, 0, 0) + 4 * 19, sizeof kept);
    cpu::soft_max<cpu::OpProduction>(in, out, cpu::primitives(), 64, 1);
    std::memcpy(out.row(1, 0, 0) + 4 * 19, &kept, sizeof kept);
  });
  EXPECT_EQ(found.verdict, Verdict::UNWRITTEN);
  EXPECT_EQ(found.record.worst.column, 19);
}

TEST(PlantedBug, SetRowsScattersOneRowOff) {
  struct Bug : cpu::OpProduction {
    static std::int64_t destination(std::int64_t row, std::int64_t rows) { return row + 1 < rows ? row + 1 : row; }
  };
  const Judged found = set_rows_of<Bug>(kScatter);
  EXPECT_EQ(found.verdict, Verdict::FAIL);
  EXPECT_THAT(found.record.detail, HasSubstr("others overwritten"));
}

TEST(PlantedBug, SetRowsTouchesOneBitOfAnotherRow) {
  const Judged found = judged(kScatter, [](const AttentionInputs& in, const MutableTensorView& out) {
    cpu::set_rows<cpu::OpProduction>(in, out, 1);
    std::vector<bool> named(40, false);
    for (std::int64_t r = 0; r < 9; ++r) named[static_cast<std::size_t>(row_index(in, r, 0))] = true;
    std::int64_t other = 0;
    while (named[static_cast<std::size_t>(other)]) ++other;
    out.row(other, 1, 0)[60] ^= std::byte{1};
  });
  EXPECT_EQ(found.verdict, Verdict::FAIL);
  EXPECT_THAT(found.record.detail, HasSubstr("of head 1, sequence 0 was not to be written"));
}

TEST(PlantedBug, SetRowsStoresNothing) {
  for (const char* type : {"f32", "f16", "q4_1"}) {
    const Judged found = judged(std::string("set_rows d=64 n_rows=3 n_ctx=9 kv=") + type, [](auto&, auto&) {});
    EXPECT_EQ(found.verdict, Verdict::FAIL) << type;
    EXPECT_THAT(found.record.detail, HasSubstr("never reached")) << type;
  }
}

TEST(PlantedBug, SetRowsTruncatesHalves) {
  for (const char* type : {"f16", "bf16"}) {
    const Judged found = judged(std::string("set_rows d=64 n_rows=3 n_ctx=9 kv=") + type, [](auto& in, auto& out) {
      for (std::int64_t r = 0; r < 3; ++r) {
        const auto* row = reinterpret_cast<const float*>(in.q.row(r, 0, 0));
        for (std::int64_t e = 0; e < 64; ++e) {
          float toward_zero = row[e];
          std::uint32_t bits = 0;
          std::memcpy(&bits, &toward_zero, 4);
          bits &= out.dtype == DType::f16 ? ~0x1fffU : ~0xffffU;
          std::memcpy(&toward_zero, &bits, 4);
          cpu::store_row(out.dtype, &toward_zero, out.row(row_index(in, r, 0), 0, 0) + 2 * e, 1);
        }
      }
    });
    EXPECT_EQ(found.verdict, Verdict::FAIL) << type;
  }
}

TEST(PlantedBug, DecodeSeesOneRowTooMany) {
  struct Bug : cpu::OpProduction {
    static std::int64_t visible(const DecodeStep& step) { return std::min(step.visible(0) + 1, step.rows); }
  };
  const Judged found = decode_of<Bug>(std::string(kStatic) + " poison=60000");
  EXPECT_EQ(found.verdict, Verdict::FAIL);
  EXPECT_THAT(found.record.detail, HasSubstr("first wrong in step 1 of"));
}

TEST(PlantedBug, DecodeSeesOneRowTooFew) {
  struct Bug : cpu::OpProduction {
    static std::int64_t visible(const DecodeStep& step) { return std::max<std::int64_t>(step.visible(0) - 1, 1); }
  };
  EXPECT_EQ(decode_of<Bug>(kStatic).verdict, Verdict::FAIL);
}

TEST(PlantedBug, DecodeReadsStaleRowsAfterTheRestart) {
  struct Bug : cpu::OpProduction {
    static std::int64_t visible(const DecodeStep& step) { return step.pass > 0 ? 18 : step.visible(0); }
  };
  const Judged found = decode_of<Bug>(kStatic);
  EXPECT_EQ(found.verdict, Verdict::FAIL);
  EXPECT_THAT(found.record.detail, HasSubstr(", after the restart: prefill of 3 tokens"));
}

TEST(PlantedBug, DecodeStoresOneRowOff) {
  struct Bug : cpu::OpProduction {
    static std::int64_t position(const DecodeStep& step) { return step.n == 1 ? step.position - 1 : step.position; }
  };
  const Judged found = decode_of<Bug>(kStatic);
  EXPECT_EQ(found.verdict, Verdict::FAIL);
  EXPECT_THAT(found.record.detail, HasSubstr("first wrong in step 4 of"));
}

TEST(PlantedBug, DecodeDoublesTheCacheWithoutCopying) {
  struct Bug : cpu::OpProduction {
    static bool keeps_rows_on_growth() { return false; }
  };
  const Judged found = decode_of<Bug>(kDecode);
  EXPECT_EQ(found.verdict, Verdict::FAIL);
  EXPECT_THAT(found.record.detail, HasSubstr("one token, cache rows 16 to 16 of 32"));
}

// ---- the three kernels

TEST(CpuOps, EveryKernelPassesAndNoInputIsOutOfReach) {
  for (const char* line :
       {kSoftMax, "soft_max_ext n_head=5 n_q=3 n_kv=200 mask=causal max_bias=8 data=rising", "soft_max_ext n_kv=0",
        "soft_max_ext n_q=3 n_kv=70 mask=used:9 poison=hidden:nan data=low", kScatter,
        "set_rows d=64 n_head=2 n_rows=9 n_ctx=9 kv=q5_1 source=large n_seq=2 index=i32", kDecode, kStatic,
        "kv_decode d=32 n_head=2 n_ctx=30 prompt=0 steps=3 restart=4 cache=grown poison=inf layout=0213 kv=q5_0"}) {
    for (const char* name : {"cpu:vec", "cpu:tiled", "cpu:split,threads=2"}) {
      const auto backend = cpu(name);
      const OwnedInputs in(parsed(line));
      ASSERT_TRUE(support_of(*backend, in.the_case().problem).yes);
      const auto judge = make_op_judge(in.the_case(), in.inputs(), {});
      const ArithmeticContract contract = backend->contract(in.the_case().problem);
      ASSERT_TRUE(backend->run(in.inputs(), in.output()).ok);
      VerdictRecord record;
      EXPECT_EQ(judge->rule(contract, in.output().view(), record).verdict, Verdict::PASS)
          << name << " " << line << ": " << record.detail;
    }
  }
}

class OnlyAttention final : public Backend {
 public:
  std::string name() const override { return "plain"; }
  std::string description() const override { return ""; }
  std::string build_id() const override { return ""; }
  Support supports(const AttentionProblem&) const override { return {}; }
  ArithmeticContract contract(const AttentionProblem&) const override { return {}; }
  Outcome run(const AttentionInputs&, const MutableTensorView&) override { return {}; }
};

TEST(Support, ABackendThatDoesNotNameAnOpIsNeverAskedForIt) {
  const OnlyAttention plain;
  EXPECT_TRUE(support_of(plain, parsed("flash_attn_ext d=64").problem).yes);
  for (const char* line : {kSoftMax, kScatter, kDecode}) {
    const Support answer = support_of(plain, parsed(line).problem);
    EXPECT_FALSE(answer.yes);
    EXPECT_THAT(answer.reason, StartsWith("plain has no op "));
  }
}

// ---- the oracles

// The weights as the answer of attention over V = identity, in MPFR.
std::vector<double> mpfr_weights(const OwnedInputs& in, const Row& row) {
  const AttentionProblem& given = in.the_case().problem;
  const auto n = static_cast<std::size_t>(given.n_kv);
  AttentionProblem p = given;
  p.op = Op::flash_attn_ext;
  p.d_k = 1;
  p.d_v = given.n_kv;
  p.n_head_kv = p.n_head_v = given.n_head;
  p.k_type = p.v_type = DType::f32;
  const float one = 1;
  std::vector<float> identity(n * n, 0);
  for (std::size_t j = 0; j < n; ++j) identity[j * n + j] = 1;
  const auto bytes = static_cast<std::int64_t>(4 * n);
  AttentionInputs a = in.inputs();
  a.problem = &p;
  const TensorView scores = a.q;
  const auto view = [](std::array<std::int64_t, 4> ne, std::array<std::int64_t, 4> nb, const void* data) {
    TensorView t;
    t.ne = ne;
    t.nb = nb;
    t.data = static_cast<const std::byte*>(data);
    return t;
  };
  a.q = view({1, p.n_q, p.n_head, p.n_seq}, {4, 0, 0, 0}, &one);
  a.k = view({1, p.n_kv, p.n_head, p.n_seq}, {4, 4, 0, 0}, scores.row(row.query, row.head, row.seq));
  a.v = view({p.n_kv, p.n_kv, p.n_head, p.n_seq}, {4, bytes, 0, 0}, identity.data());
  return testing::mpfr_attention(a, row);
}

TEST(SoftMaxOracle, BothReferencesAgreeWithMpfr) {
  for (const char* line : {"soft_max_ext n_head=3 n_q=4 n_kv=40 mask=causal+random:3 max_bias=8 sinks=normal:3",
                           "soft_max_ext n_head=2 n_q=2 n_kv=33 data=normal:30 scale=1/3",
                           "soft_max_ext n_q=3 n_kv=20 mask=dead:first sinks=1", "soft_max_ext n_kv=50 data=low"}) {
    const OwnedInputs in(parsed(line));
    const AttentionProblem& p = in.the_case().problem;
    // ln(sum exp) of scores near -5e4 is rounded to 2^-38.
    const double by_logarithm =
        in.the_case().data.terms.empty() || in.the_case().data.terms[0].name != "low" ? 1e-13 : 0x1p-36;
    std::vector<double> oracle(static_cast<std::size_t>(p.n_kv)), eigen(oracle);
    for (std::int64_t h = 0; h < p.n_head; ++h) {
      for (std::int64_t i = 0; i < p.n_q; ++i) {
        const Row row{0, h, i};
        const std::vector<double> truth = mpfr_weights(in, row);
        soft_max_oracle(in.inputs(), row, oracle);
        soft_max_eigen(in.inputs(), row, eigen);
        for (std::size_t j = 0; j < truth.size(); ++j) {
          EXPECT_LE(std::abs(oracle[j] - truth[j]), 1e-13 * truth[j]) << line << " h " << h << " i " << i << " j " << j;
          EXPECT_LE(std::abs(eigen[j] - truth[j]), by_logarithm * truth[j])
              << line << " h " << h << " i " << i << " j " << j;
        }
      }
    }
  }
}

// Weights that lie as far off as perturbed logits allow stay inside the budget; the double of that does not always.
TEST(SoftMaxBudget, HoldsForTheWorstLogitsAndIsNotMuchWider) {
  const OwnedInputs in(parsed("soft_max_ext n_kv=200 data=normal:5"));
  const Row row;
  std::vector<double> p(200);
  soft_max_oracle(in.inputs(), row, p);
  const std::vector<double> budget = soft_max_budget(in.inputs(), row, p, {});
  const auto* x = reinterpret_cast<const float*>(in.inputs().q.data);
  double top = 0;
  for (int j = 0; j < 200; ++j) top = std::max(top, static_cast<double>(x[j]));
  double ratio = 0;
  for (std::size_t one = 0; one < 200; ++one) {
    double sum = 0, own = 0;
    for (std::size_t j = 0; j < 200; ++j) {  // u |x| for the product, u |x - M| for the difference, 2^-22 for exp
      const auto z = static_cast<double>(x[j]);
      const double d = 0x1p-24 * (std::abs(z) + std::abs(z - top)) + 0x1p-22;
      const double w = std::exp(z - top + (j == one ? d : -d));
      sum += w;
      if (j == one) own = w;
    }
    ratio = std::max(ratio, std::abs(own / sum - p[one]) / budget[one]);
  }
  EXPECT_LE(ratio, 1);
  EXPECT_GE(ratio, 0.02);
}

TEST(StoredRows, NearestHalfIsWhatTheCodecStoresForEveryHalfAndItsNeighbourhood) {
  for (const DType type : {DType::f16, DType::bf16}) {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const auto half = static_cast<std::uint16_t>(bits);
      const float x = type == DType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
      if (std::isnan(x)) continue;
      std::uint32_t word = 0;
      std::memcpy(&word, &x, 4);
      // The value, its tie with the next one, and one unit of f32 on either side of that.
      const std::uint32_t tie = type == DType::f16 ? 0x1000 : 0x8000;
      for (const std::uint32_t step : {0U, tie - 1, tie, tie + 1}) {
        const std::uint32_t near = word + step;
        float y = 0;
        std::memcpy(&y, &near, 4);
        if (std::isnan(y)) continue;
        const std::uint16_t stored = type == DType::f16 ? f32_to_f16(y) : f32_to_bf16(y);
        ASSERT_EQ(nearest_half(type, y), stored) << info(type).name << " " << y;
        std::uint16_t own = 0;
        cpu::store_row(type, &y, reinterpret_cast<std::byte*>(&own), 1);
        ASSERT_EQ(own, stored) << info(type).name << " " << y;
      }
    }
  }
}

TEST(StoredRows, BoundsHoldForTwoQuantisersAndHalfOfThemDoesNot) {
  for (const DType type : {DType::q8_0, DType::q4_0, DType::q4_1, DType::q5_0, DType::q5_1}) {
    const Rng rng(7, 1);
    double worst = 0;
    for (std::uint64_t b = 0; b < 500; ++b) {
      std::array<float, 32> x{}, y{};
      for (std::size_t e = 0; e < 32; ++e) x[e] = rng.normal(b * 32 + e);
      std::array<std::byte, 64> bytes{};
      const std::vector<double> bounds = stored_bounds(type, x);
      for (const bool reference : {true, false}) {
        reference ? encode_row(type, x.data(), bytes.data(), 32) : cpu::store_row(type, x.data(), bytes.data(), 32);
        decode_row(type, bytes.data(), y.data(), 32);
        for (std::size_t e = 0; e < 32; ++e) {
          const double error = std::abs(static_cast<double>(y[e]) - static_cast<double>(x[e]));
          ASSERT_LE(error, bounds[e]) << info(type).name << (reference ? " reference" : " ours") << " block " << b;
          worst = std::max(worst, error / bounds[e]);
        }
      }
    }
    EXPECT_GT(worst, 0.8) << info(type).name;
  }
}

TEST(DecodeInputs, BlockTypesStoreTheNewRowsTheSameWayAgain) {
  for (const char* type : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1"}) {
    const OwnedInputs in(
        parsed(std::string("kv_decode d=64 n_head=2 n_ctx=60 prompt=50 steps=9 data=outlier kv=") + type));
    const DType stored = in.the_case().problem.k_type;
    std::vector<std::byte> ours(static_cast<std::size_t>(row_bytes(stored, 64))), reference(ours);
    std::vector<float> back(64);
    for (std::int64_t t = 0; t < in.inputs().k.ne[1]; ++t) {
      for (const TensorView* rows : {&in.inputs().k, &in.inputs().v}) {
        const auto* row = reinterpret_cast<const float*>(rows->row(t, 1, 0));
        for (auto* bytes : {&ours, &reference}) {
          bytes == &ours ? cpu::store_row(stored, row, ours.data(), 64) : encode_row(stored, row, reference.data(), 64);
          decode_row(stored, bytes->data(), back.data(), 64);
          for (std::size_t e = 0; e < 64; ++e) ASSERT_EQ(back[e], row[e]) << type << " token " << t << " element " << e;
        }
      }
    }
  }
}

TEST(DecodeSteps, CoverEveryTokenOnceInOrder) {
  const Case c = parsed("kv_decode n_ctx=64 prompt=12 chunk=5 steps=10 restart=3 cache=doubling");
  std::int64_t token = 0;
  for (const DecodeStep& step : decode_steps(c.problem)) {
    EXPECT_EQ(step.first, token);
    EXPECT_EQ(step.position, token < 22 ? token : token - 22);
    EXPECT_EQ(step.rows, token + step.n <= 16 ? 16 : 32);
    EXPECT_EQ(step.restarts, token == 22);
    token += step.n;
  }
  EXPECT_EQ(token, 35);
  EXPECT_EQ(c.problem.n_q, 35);
}

}  // namespace
}  // namespace attest
