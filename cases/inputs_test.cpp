#include "cases/inputs.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <xxhash.h>

#include <cmath>
#include <cstring>

#include "cases/families.h"
#include "cases/random_problem.h"

namespace attest {
namespace {

Case parsed(const std::string& line) {
  const auto c = parse_case("flash_attn_ext " + line);
  EXPECT_TRUE(c.has_value()) << line << ": " << (c ? "" : c.error().text());
  return c.value_or(Case{});
}

// Fills memory that held `before` and returns every byte of every allocation.
std::vector<std::byte> bytes_of(const Case& c, int threads, std::byte before = std::byte{0}) {
  const InputPlan plan = plan_inputs(c.problem);
  std::int64_t total = 0;
  const auto place = [&](const TensorPlan& tensor) {
    const std::int64_t at = total;
    total += (tensor.bytes + 63) / 64 * 64;
    return at;
  };
  const std::int64_t q = place(plan.q), k = place(plan.k), v = place(plan.v), mask = place(plan.mask);
  const std::int64_t sinks = place(plan.sinks), out = place(plan.out);
  std::vector<std::byte> memory(static_cast<std::size_t>(total), before);
  std::byte* base = memory.data();
  fill_inputs(c, plan, {base + q, base + k, base + v, base + mask, base + sinks, base + out}, threads);
  std::vector<std::byte> bytes;
  const auto append = [&](std::int64_t at, const TensorPlan& t) {
    bytes.insert(bytes.end(), base + at, base + at + t.bytes);
  };
  append(q, plan.q);
  append(k, plan.k);
  append(v, plan.v);
  append(mask, plan.mask);
  append(sinks, plan.sinks);
  append(out, plan.out);
  return bytes;
}

TEST(FillInputs, EightThreadsWriteTheBytesOfOne) {
  for (const FamilyInfo& family : families()) {
    const Case c = parsed(
        "d=128 n_head=4 n_head_kv=2 n_q=40 n_kv=700 k=q4_0 v=f16 mask=ggml+blocks+per-head sinks=normal "
        "layout=0213+cache:800 poison=random data=" +
        std::string(family.name));
    EXPECT_EQ(bytes_of(c, 1), bytes_of(c, 8)) << family.name;
  }
  for (int t = 0; t < kDTypeCount; ++t) {
    const std::string type(info(static_cast<DType>(t)).name);
    const Case c = parsed("d=128 n_head=3 n_q=5 n_kv=900 n_seq=2 mask=random poison=nan kv=" + type);
    EXPECT_EQ(bytes_of(c, 1), bytes_of(c, 8)) << type;
  }
}

RC_GTEST_PROP(FillInputs, WritesEveryByteOfEveryAllocation, ()) {
  Case c = testing::random_case();
  c.poison.what = static_cast<PoisonWhat>(*rc::gen::inRange(0, 8));
  c.poison.where = static_cast<PoisonWhere>(*rc::gen::inRange(0, 10));
  c.data.terms = {{std::string((*rc::gen::elementOf(families())).name), 0, false}};
  RC_ASSERT(bytes_of(c, 1, std::byte{0x00}) == bytes_of(c, 3, std::byte{0xa5}));
}

RC_GTEST_PROP(FillInputs, LayoutMovesValuesButChangesNone, ()) {
  const Case c = testing::random_case();
  Case plain = c;
  plain.problem.layout = LayoutSpec{};
  plain.problem.layout.v_view_of_k = c.problem.layout.v_view_of_k;
  const OwnedInputs a(c), b(plain);
  const auto same = [](const TensorView& x, const TensorView& y) {
    const auto bytes = static_cast<std::size_t>(row_bytes(x.dtype, x.ne[0]));
    for (std::int64_t s = 0; s < x.ne[3]; ++s)
      for (std::int64_t h = 0; h < x.ne[2]; ++h)
        for (std::int64_t i = 0; i < x.ne[1]; ++i)
          if (std::memcmp(x.row(i, h, s), y.row(i, h, s), bytes) != 0) return false;
    return true;
  };
  RC_ASSERT(same(a.inputs().q, b.inputs().q));
  RC_ASSERT(same(a.inputs().k, b.inputs().k));
  RC_ASSERT(same(a.inputs().v, b.inputs().v));
  if (a.inputs().mask.present()) RC_ASSERT(same(a.inputs().mask, b.inputs().mask));
}

TEST(FillInputs, TransposedKeysHoldTheSameValues) {
  for (const char* type : {"f16", "f32", "q8_0"}) {
    const std::string problem =
        std::string("d=64 n_head=4 n_head_kv=2 n_seq=2 n_kv=9 poison=rows:nan mask=used:5 kv=") + type + " layout=";
    const OwnedInputs plain(parsed(problem + "0123")), turned(parsed(problem + "0213+kt+cache:12+heads:3+pad:32"));
    const TensorView &a = plain.inputs().k, &b = turned.inputs().k;
    EXPECT_EQ(b.nb[1], info(b.dtype).block_bytes);
    EXPECT_EQ(b.nb[0], 12 * b.nb[1]);
    for (std::int64_t s = 0; s < 2; ++s)
      for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t j = 0; j < 9; ++j)
          for (std::int64_t e = 0; e < 64; ++e) ASSERT_EQ(element(a, e, j, h, s), element(b, e, j, h, s)) << type;
    TensorView beyond = b;  // the pad, which is poisoned
    beyond.ne[0] = 96;
    EXPECT_TRUE(std::isnan(element(beyond, 64, 0, 0, 0))) << type;
    EXPECT_EQ(turned.plan().k.bytes, 12 * 3 * 2 * row_bytes(b.dtype, 96));
  }
}

TEST(FillInputs, SparseLayoutsSpanMoreThanTheyHold) {
  const OwnedInputs in(
      parsed("d=64 n_head=2 n_seq=2 n_q=3 n_kv=5 mask=random+per-seq "
             "layout=cache:40000000+mask-rows:500000000+sparse poison=gaps:nan"));
  const TensorView &k = in.inputs().k, &mask = in.inputs().mask;
  EXPECT_GT(k.offset(0, 1, 0), std::int64_t{1} << 32);
  EXPECT_GT(mask.offset(0, 0, 1), std::int64_t{1} << 32);
  const OwnedInputs plain(parsed("d=64 n_head=2 n_seq=2 n_q=3 n_kv=5 mask=random+per-seq"));
  for (std::int64_t s = 0; s < 2; ++s) {
    for (std::int64_t h = 0; h < 2; ++h) EXPECT_EQ(std::memcmp(k.row(4, h, s), plain.inputs().k.row(4, h, s), 128), 0);
    EXPECT_EQ(std::memcmp(mask.row(2, 0, s), plain.inputs().mask.row(2, 0, s), 10), 0);
  }
  EXPECT_EQ(*k.row(5, 0, 0), std::byte{0});  // the gap
}

TEST(FillInputs, AShrunkProblemKeepsTheRowsItKeeps) {
  const OwnedInputs large(parsed("d=64 n_head=8 n_head_kv=4 n_q=9 n_kv=50 n_seq=2 kv=q5_1"));
  const OwnedInputs small(parsed("d=64 n_head=4 n_head_kv=2 n_q=3 n_kv=20 kv=q5_1"));
  for (std::int64_t h = 0; h < 2; ++h)
    for (std::int64_t j = 0; j < 20; ++j) {
      EXPECT_EQ(std::memcmp(large.inputs().k.row(j, h, 0), small.inputs().k.row(j, h, 0), 48), 0);
      EXPECT_EQ(std::memcmp(large.inputs().v.row(j, h, 0), small.inputs().v.row(j, h, 0), 48), 0);
    }
  EXPECT_EQ(std::memcmp(large.inputs().q.row(2, 3, 0), small.inputs().q.row(2, 3, 0), 256), 0);
}

TEST(FillInputs, SeedsAndTensorsDiffer) {
  const OwnedInputs one(parsed("d=64 kv=f16 seed=1")), two(parsed("d=64 kv=f16 seed=2"));
  EXPECT_NE(std::memcmp(one.inputs().k.data, two.inputs().k.data, 128), 0);
  EXPECT_NE(std::memcmp(one.inputs().k.data, one.inputs().v.data, 128), 0);
}

TEST(FillInputs, AbsentTensorsHaveNoPointerAndEmptyOnesHave) {
  const OwnedInputs bare(parsed("d=64"));
  EXPECT_FALSE(bare.inputs().mask.present());
  EXPECT_FALSE(bare.inputs().sinks.present());
  const OwnedInputs empty(parsed("d=64 n_kv=0 mask=causal sinks=-inf"));
  EXPECT_TRUE(empty.inputs().k.present() && empty.inputs().v.present() && empty.inputs().mask.present());
  EXPECT_EQ(element(empty.inputs().sinks, 0, 0, 0, 0), -std::numeric_limits<float>::infinity());
  const OwnedInputs view(parsed("d_k=96 d_v=64 n_kv=5 layout=v-in-k"));
  EXPECT_EQ(view.inputs().v.data, view.inputs().k.data);
}

TEST(FillInputs, SinksFollowTheirKind) {
  double square = 0, largest = 0;
  const OwnedInputs uniform(parsed("d=64 n_head=512 sinks=uniform:10")),
      normal(parsed("d=64 n_head=512 sinks=normal:2"));
  for (std::int64_t h = 0; h < 512; ++h) {
    largest = std::max(largest, std::abs(double(element(uniform.inputs().sinks, h, 0, 0, 0))));
    square += std::pow(double(element(normal.inputs().sinks, h, 0, 0, 0)), 2);
  }
  EXPECT_NEAR(largest, 10, 0.3);
  EXPECT_NEAR(square / 512, 4, 0.6);
  EXPECT_EQ(element(OwnedInputs(parsed("d=64 sinks=1.5")).inputs().sinks, 0, 0, 0, 0), 1.5F);
}

struct Pinned {
  const char* line;
  std::uint64_t hash;
};

// The bytes of a descriptor are the same on every machine, in every build, for ever: a changed hash means that every
// saved descriptor now asks another question.
constexpr Pinned kPinned[] = {
    {"d=64 n_q=3 n_kv=70 kv=f32 data=uniform", 0xd4c903e7d2c5fe14},
    {"d=64 n_head=4 n_head_kv=2 n_q=3 n_kv=70 kv=f16 data=normal:4 seed=7", 0x07afc48c2e85068c},
    {"d=64 n_q=3 n_kv=70 kv=bf16 data=outlier mask=causal", 0x33ef78a09d4b792f},
    {"d=96 n_q=5 n_kv=70 kv=q8_0 data=rising mask=window:20", 0x2336fc5e3ffb3595},
    {"d=96 n_q=5 n_kv=70 kv=q4_0 data=falling:30 mask=used:50+per-head n_head=2", 0x2b9eb091d7122d4c},
    {"d=96 n_q=5 n_kv=70 kv=q4_1 data=needle_first mask=left:9", 0xdb65c9ca65c4fa27},
    {"d=96 n_q=5 n_kv=70 kv=q5_0 data=needle_last mask=blocks:4", 0x099a271bb69147e7},
    {"d=96 n_q=5 n_kv=300 kv=q5_1 data=needle_edge mask=random:2", 0x99938720fb7f874d},
    {"d=96 n_q=5 n_kv=70 kv=iq4_nl data=spike mask=document:16", 0xf28599d7458e9f3f},
    {"d=128 n_q=5 n_kv=70 kv=q1_0 data=normal mask=dead:every-third", 0x55f0b7f2b1cb551e},
    {"d=128 n_q=5 n_kv=70 kv=q2_0 data=normal mask=finite:-65504", 0x18b5281b5b4a02b2},
    {"d=64 n_q=200 n_kv=300 kv=f16 data=uniform mask=ggml", 0xfda8ebcde44ef86e},
    {"d=64 n_q=4 n_kv=70 kv=f16 data=onehot+v_index mask=causal:top-left", 0x1b9529cf56554119},
    {"d=64 n_q=4 n_kv=70 kv=f16 data=flat+v_onehot sinks=uniform n_head=5", 0xd63bd09604b32fb6},
    {"d=64 n_q=4 n_kv=70 kv=f16 data=near_softcap+v_shift softcap=20 sinks=normal", 0xdd04b87c8e72b29d},
    {"d=64 n_q=4 n_kv=70 kv=f16 data=anti_aligned+v_scale softcap=30", 0x1b3d487af57e7634},
    {"d=64 n_q=4 n_kv=70 kv=f16 data=huge+v_const:3", 0x5b8fe570cf839acc},
    {"d=64 n_q=4 n_kv=70 kv=f16 data=integer scale=1", 0x32088d8d00281e53},
    {"d=64 n_head=4 n_head_kv=2 n_seq=2 n_q=3 n_kv=40 kv=q8_0 mask=used:30 "
     "layout=0213+cache:64+heads:3+pad:32+offset:6 poison=nan",
     0x3a23d5048bdefb75},
    {"d_k=96 d_v=64 n_kv=40 kv=f16 mask=used:30 layout=v-in-k+cache:50 poison=random", 0x9bbe8a633086e6bb},
    {"d=64 n_kv=40 kv=q4_0 mask=used:30 layout=cache:50 poison=previous:9 seed=3", 0xeb0ccd873abb87b0},
};

TEST(FillInputs, BytesOfPinnedDescriptorsNeverChange) {
  for (const Pinned& pinned : kPinned) {
    const auto bytes = bytes_of(parsed(pinned.line), 2);
    EXPECT_EQ(XXH3_64bits(bytes.data(), bytes.size()), pinned.hash) << pinned.line;
  }
}

}  // namespace
}  // namespace attest
