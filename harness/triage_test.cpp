#include "harness/triage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cases/inputs.h"
#include "harness/compare.h"
#include "harness/error_picture.h"
#include "harness/testing/variants.h"

namespace attest {
namespace {

using namespace attest::testing;
using cpu::KernelCall;
using cpu::KeyPlace;
using cpu::KeyRange;
using cpu::Production;
using cpu::RowPlace;
using ::testing::Contains;
using ::testing::HasSubstr;

// One faulty kernel on one case, and what triage makes of it.
struct Failure {
  template <class Policy>
  static Failure of(const char* line, TriageDepth depth = TriageDepth::pattern, const Rerun& rerun = {}) {
    Failure f;
    const Case c = *parse_case(line);
    const OwnedInputs owned(c);
    cpu::Scratches scratch(2);
    cpu::vec_kernel<Policy>(KernelCall(owned.inputs(), owned.output(), cpu::primitives(), 1, scratch));
    Key key(c, owned.inputs(), {});
    ArithmeticContract contract;
    f.record.verdict = compare(key, contract, owned.output().view(), f.record).verdict;
    f.first = f.record.verdict;
    if (info(f.first).bad) triage(key, contract, owned.output().view(), depth, rerun, f.record);
    return f;
  }
  Verdict first = Verdict::PASS;
  VerdictRecord record;
};

constexpr const char* kPlain = "flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=9 n_kv=200 kv=f16 data=normal:2";
constexpr const char* kRich =
    "flash_attn_ext d=64 n_head=6 n_head_kv=3 n_q=9 n_kv=200 kv=f16 mask=causal+random:2 softcap=8 max_bias=4 "
    "sinks=uniform:2 data=normal:4";

struct LastKey : Production {
  static KeyRange keys(const AttentionProblem& p, const RowPlace&) { return {0, p.n_kv - 1}; }
};
struct NoRescale : Production {
  static float rescale_acc(float, const KeyPlace&) { return 1; }
};
struct Modulo : Production {
  static std::int64_t k_head(const AttentionProblem& p, std::int64_t head) { return head % p.n_head_kv; }
  static std::int64_t v_head(const AttentionProblem& p, std::int64_t head) { return head % p.n_head_v; }
};
struct Cutoff : Production {
  static constexpr bool kEditsWeights = true;
  static float weight_of_value(float weight, const KeyPlace&) { return weight < 1e-3F ? 0 : weight; }
};
struct NoSoftcap : Production {
  static constexpr bool kEditsLogits = true;
  static float logit(const cpu::Primitives&, float score, float, float slope, float mask) {
    return score + slope * mask;
  }
};
struct NoSink : Production {
  static float sink(const TensorView&, const RowPlace&) { return -cpu::kInfinity; }
};
struct SlopeOne : Production {
  static float slope(const AttentionProblem&, std::int64_t) { return 1; }
};
struct MaskOfNextRow : Production {
  static const std::byte* mask_row(const TensorView& mask, const RowPlace& at) {
    return mask.row(std::min(at.query + 1, mask.ne[1] - 1), at.head % mask.ne[2], at.seq % mask.ne[3]);
  }
};
struct ScaleOff : Production {
  static float scale(const AttentionProblem& p) { return p.scale * 1.005F; }
};
struct MaxFromZero : Production {
  static float initial_max() { return 0; }
};
struct DeadRowNan : Production {
  static float dead_value() { return std::nanf(""); }
};

TEST(Triage, NamesTheClassOfBugsItHasNoCaseFor) {
  EXPECT_EQ(Failure::of<LastKey>(kPlain).record.triage.suspect, "tail");
  EXPECT_EQ(Failure::of<NoRescale>(kPlain).record.triage.suspect, "rescale");
  EXPECT_EQ(Failure::of<Modulo>(kPlain).record.triage.suspect, "gqa");
  EXPECT_EQ(Failure::of<Cutoff>(kPlain).record.triage.suspect, "cutoff");
  EXPECT_EQ(Failure::of<NoSoftcap>(kRich).record.triage.suspect, "softcap");
  EXPECT_EQ(Failure::of<NoSink>(kRich).record.triage.suspect, "sink");
  EXPECT_EQ(Failure::of<SlopeOne>(kRich).record.triage.suspect, "alibi");
  EXPECT_EQ(Failure::of<MaskOfNextRow>(kRich).record.triage.suspect, "mask");
  EXPECT_EQ(Failure::of<ScaleOff>(kPlain).record.triage.suspect, "scale");
  EXPECT_EQ(Failure::of<MaxFromZero>("flash_attn_ext d=64 n_q=4 n_kv=90 data=low:200").record.triage.suspect, "max");
  EXPECT_EQ(Failure::of<DeadRowNan>("flash_attn_ext d=64 n_q=9 n_kv=90 mask=dead:every-third").record.triage.suspect,
            "dead-row");
}

TEST(Triage, ArithmeticThatIsNotTheStatedOneIsContractAndABugIsNot) {
  const Failure narrow = Failure::of<F16Accumulator>(kPlain);
  EXPECT_EQ(narrow.first, Verdict::FAIL);
  EXPECT_EQ(narrow.record.verdict, Verdict::CONTRACT);
  EXPECT_EQ(narrow.record.triage.suspect, "precision");
  EXPECT_EQ(narrow.record.triage.fingerprint, "an f16 accumulator");
  EXPECT_EQ(narrow.record.detail, "the backend states f32 throughout; behaves like an f16 accumulator");
  EXPECT_EQ(Failure::of<LastKey>(kPlain).record.verdict, Verdict::FAIL);
  EXPECT_EQ(Failure::of<ScaleOff>(kPlain).record.verdict, Verdict::FAIL);
}

TEST(Triage, SaysWhereTheErrorSits) {
  struct OneHead : Production {
    static float sink(const TensorView& sinks, const RowPlace& at) {
      return at.head == 2 && at.query % 4 == 1 ? -cpu::kInfinity : element(sinks, at.head, 0, 0, 0);
    }
  };
  const Failure f = Failure::of<OneHead>("flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=32 n_kv=90 sinks=1");
  EXPECT_EQ(f.record.triage.place, "head 2, every 4th query from 1; 8 of 128 rows");
  ASSERT_EQ(f.record.maps.size(), 2U);
  const MapRecord& rows = f.record.maps[0];
  EXPECT_EQ(rows.rows + " " + rows.columns, "head query");
  EXPECT_EQ(rows.period, 4);
  for (std::size_t h = 0; h < rows.values.size(); ++h) {
    for (std::size_t q = 0; q < rows.values[h].size(); ++q) {
      EXPECT_EQ(rows.values[h][q] > 1, h == 2 && q % 4 == 1) << h << " " << q;
    }
  }
  EXPECT_EQ(f.record.triage.depth, "pattern");
}

TEST(Triage, AsksTheBackendWhatTakesTheFailureAway) {
  const Rerun rerun = [](const Case& altered, bool) {
    return altered.problem.softcap > 0 ? Verdict::FAIL : Verdict::PASS;
  };
  const Failure f = Failure::of<NoSoftcap>(kRich, TriageDepth::full, rerun);
  EXPECT_EQ(f.record.triage.depth, "full");
  EXPECT_THAT(f.record.triage.hints, Contains("goes away without softcap"));
  EXPECT_THAT(f.record.triage.hints, Contains("stays without sinks"));
}

TEST(Triage, RightInAFreshProcessMeansState) {
  const Rerun rerun = [](const Case&, bool fresh) { return fresh ? Verdict::PASS : Verdict::FAIL; };
  EXPECT_EQ(Failure::of<ScaleOff>(kPlain, TriageDepth::full, rerun).record.triage.suspect, "state");
}

TEST(Pictures, StayWithinTheirCellsAndKeepTheWorstOfNeighbours) {
  AttentionProblem p;
  p.n_head = 100;
  p.n_q = 5000;
  p.n_seq = 2;
  ErrorMap map;
  map.columns.assign(300, 0.5);
  map.columns[299] = std::numeric_limits<double>::infinity();
  RowError worst{{1, 99, 4999}, 1234.5};
  map.rows = {{{0, 0, 0}, 0.25}, {{0, 0, 1}, 0.125}, worst};
  for (const std::size_t most : {kFullPicture, kSmallPicture}) {
    const auto pictures = error_pictures(map, p, most);
    ASSERT_EQ(pictures.size(), 2U);
    for (const MapRecord& picture : pictures) {
      EXPECT_LE(picture.values.size() * picture.values[0].size(), most);
      EXPECT_EQ(picture.across & (picture.across - 1), 0) << "tiles keep their edges";
    }
    EXPECT_EQ(pictures[0].values[0][0], 0.25);
    EXPECT_EQ(pictures[0].values.back().back(), 1200) << "two digits";
    EXPECT_TRUE(std::isnan(pictures[0].values[1][0])) << "nothing was judged there";
    EXPECT_EQ(pictures[1].values[0].back(), std::numeric_limits<double>::infinity());
    VerdictRecord record;
    record.maps = pictures;
    EXPECT_LT(to_json(record).size(), 8 * most + 1500);
  }
}

TEST(Pictures, APeriodIsOneOnlyWhereItIsFilledAndComesTwice) {
  const auto every = [](std::size_t n, std::size_t step, std::size_t from) {
    std::vector<bool> marked(n, false);
    for (std::size_t i = from; i < n; i += step) marked[i] = true;
    return marked;
  };
  EXPECT_EQ(period_of(every(64, 8, 3)), 8);
  EXPECT_EQ(period_of(every(130, 64, 64)), 64) << "the first tile has none";
  EXPECT_EQ(period_of(every(64, 1, 0)), 0) << "all of them";
  EXPECT_EQ(period_of(every(64, 64, 9)), 0) << "one alone";
  EXPECT_EQ(period_of(every(15, 8, 3)), 0) << "not two whole periods";
  EXPECT_EQ(period_of(every(64, 3, 0)), 0) << "no power of two";
  std::vector<bool> tiles(256, false);
  for (std::size_t i = 0; i < 256; ++i) tiles[i] = i % 64 >= 48;
  EXPECT_EQ(period_of(tiles), 64);
  EXPECT_EQ(period_of({}), 0);
}

}  // namespace
}  // namespace attest
