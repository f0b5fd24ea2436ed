#include "cases/generate/random.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "cases/poison.h"
#include "cases/rules.h"

namespace attest {
namespace {

TEST(RandomCase, IsValidCheapAndReadsBackAsItself) {
  const RandomOptions options;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const Case c = random_case(7, i, options);
    EXPECT_FALSE(find_violation(c.problem).has_value());
    EXPECT_LE(flop(c.problem), options.max_flop) << text(c);
    const auto again = parse_case(text(c));
    ASSERT_TRUE(again.has_value()) << text(c);
    EXPECT_EQ(*again, c) << text(c);
  }
}

TEST(RandomCase, IsAFunctionOfSeedAndIndex) {
  std::set<std::string> ids;
  for (std::uint64_t i = 0; i < 500; ++i) {
    EXPECT_EQ(text(random_case(1, i)), text(random_case(1, i)));
    ids.insert(case_id(random_case(1, i)));
    ids.insert(case_id(random_case(2, i)));
  }
  EXPECT_EQ(ids.size(), 1000U);
}

TEST(RandomCase, PoisonLiesSomewhere) {
  int poisoned = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const Case c = random_case(5, i);
    if (c.poison.what == PoisonWhat::none) continue;
    ++poisoned;
    EXPECT_TRUE(changes_bytes(c)) << text(c);
  }
  EXPECT_GT(poisoned, 1200);
}

// A weight that is mistyped would leave a feature out without anyone noticing.
TEST(RandomCase, ReachesEveryFeatureOften) {
  constexpr std::uint64_t kCases = 4000;
  std::map<std::string, int> seen;
  for (std::uint64_t i = 0; i < kCases; ++i) {
    const Case c = random_case(3, i);
    const AttentionProblem& p = c.problem;
    const auto mark = [&](bool yes, const std::string& what) { seen[what] += yes ? 1 : 0; };
    for (int t = 0; t < kDTypeCount; ++t) {
      mark(p.k_type == static_cast<DType>(t), "k " + std::to_string(t));
      mark(p.v_type == static_cast<DType>(t), "v " + std::to_string(t));
    }
    for (int m = 0; m <= static_cast<int>(MaskKind::ggml); ++m) {
      for (const auto& term : p.mask.terms) mark(static_cast<int>(term.kind) == m, "mask " + std::to_string(m));
    }
    for (int w = 1; w <= static_cast<int>(PoisonWhat::previous); ++w) {
      mark(static_cast<int>(c.poison.what) == w, "poison " + std::to_string(w));
    }
    for (int w = 0; w <= static_cast<int>(PoisonWhere::mask_cols); ++w) {
      mark(c.poison.what != PoisonWhat::none && static_cast<int>(c.poison.where) == w, "poisoned " + std::to_string(w));
    }
    mark(p.n_q == 1, "decode");
    mark(p.n_q >= 64, "prefill");
    mark(p.n_kv > 1024, "long");
    mark(p.n_kv % 64 == 1 && p.n_kv > 1, "tile edge");
    mark(p.n_head % 2 == 1 && p.n_head > p.n_head_kv, "odd heads");
    mark(p.n_head_v != p.n_head_kv, "n_head_v");
    mark(p.n_seq_kv != p.n_seq, "n_seq_kv");
    mark(p.d_k != p.d_v, "d_v");
    mark(p.softcap > 0, "softcap");
    mark(p.max_bias > 0, "max_bias");
    mark(p.sinks.kind != SinkKind::none, "sinks");
    mark(p.layout.permuted, "0213");
    mark(p.layout.cache > 0, "cache");
    mark(p.layout.v_view_of_k, "v-in-k");
    mark(p.layout.k_transposed, "kt");
    mark(p.layout.left_aligned, "left-aligned");
    mark(p.layout.tail > 0, "tail");
    mark(p.layout.mask_rows > 0, "mask rows");
    mark(p.layout.mask_cols > 0, "mask columns");
    mark(p.layout.offset % 4 == 2, "odd offset");
    mark(p.threads > 1, "threads");
    mark(p.mask.per_head, "per-head");
    mark(p.mask.per_seq, "per-seq");
    mark(p.mask.present() && p.mask.type == DType::f32, "f32 mask");
    for (const auto& term : c.data.terms) ++seen["data " + term.name];
  }
  EXPECT_GE(seen.size(), 70U);
  for (const auto& [what, count] : seen) EXPECT_GE(count, 20) << what;
}

}  // namespace
}  // namespace attest
