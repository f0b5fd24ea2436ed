#include "cases/generate/covering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "cases/generate/axes.h"
#include "cases/rules.h"

namespace attest {
namespace {

using ::testing::HasSubstr;

// A small space whose every row can be looked at: sizes, and pairs of values that exclude each other.
struct SmallSpace {
  std::vector<int> sizes;
  std::vector<ValueTuple> nogoods;
  std::vector<std::vector<double>> costs = {};
  double max_cost = 0;

  bool valid(const CoveringRow& row) const {
    double cost = 0;
    for (std::size_t axis = 0; axis < costs.size(); ++axis) cost += costs[axis][static_cast<std::size_t>(row[axis])];
    return cost <= max_cost && conflict(row).empty();
  }
  std::vector<std::size_t> conflict(const CoveringRow& row) const {
    for (const auto& nogood : nogoods) {
      std::vector<std::size_t> axes;
      for (const auto& [axis, value] : nogood) {
        if (row[axis] == value) axes.push_back(axis);
      }
      if (axes.size() == nogood.size()) return axes;
    }
    return {};
  }

  CoveringSpace to_cover() const {
    return {sizes, [this](const CoveringRow& row) { return conflict(row); }, costs, max_cost};
  }

  std::vector<CoveringRow> valid_rows() const {
    std::vector<CoveringRow> out;
    CoveringRow row(sizes.size(), 0);
    for (;;) {
      if (valid(row)) out.push_back(row);
      std::size_t axis = 0;
      while (axis < row.size() && ++row[axis] == sizes[axis]) row[axis++] = 0;
      if (axis == row.size()) return out;
    }
  }
};

SmallSpace random_space() {
  SmallSpace space;
  space.sizes = *rc::gen::container<std::vector<int>>(*rc::gen::inRange<std::size_t>(2, 6), rc::gen::inRange(1, 5));
  for (int i = *rc::gen::inRange(0, 7); i > 0; --i) {
    std::set<std::size_t> axes;
    for (int n = *rc::gen::inRange(1, 4); n > 0; --n)
      axes.insert(*rc::gen::inRange<std::size_t>(0, space.sizes.size()));
    ValueTuple nogood;
    for (const std::size_t axis : axes) nogood.emplace_back(axis, *rc::gen::inRange(0, space.sizes[axis]));
    space.nogoods.push_back(std::move(nogood));
  }
  if (*rc::gen::arbitrary<bool>()) {
    for (const int size : space.sizes) {
      space.costs.emplace_back();
      for (int v = 0; v < size; ++v) space.costs.back().push_back(*rc::gen::inRange(0, 10));
    }
    space.max_cost = *rc::gen::inRange(0, 30);
  }
  return space;
}

// Every tuple that the rows show.
std::set<ValueTuple> shown(const std::vector<CoveringRow>& rows, int strength) {
  std::set<ValueTuple> out;
  for (const auto& row : rows) {
    for (unsigned choice = 0; choice < 1U << row.size(); ++choice) {
      ValueTuple tuple;
      for (std::size_t axis = 0; axis < row.size(); ++axis) {
        if ((choice >> axis & 1U) != 0) tuple.emplace_back(axis, row[axis]);
      }
      if (static_cast<int>(tuple.size()) == strength) out.insert(std::move(tuple));
    }
  }
  return out;
}

std::int64_t all_tuples(const std::vector<int>& sizes, int strength) {
  std::int64_t out = 0;
  for (unsigned choice = 0; choice < 1U << sizes.size(); ++choice) {
    std::int64_t product = 1;
    int chosen = 0;
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
      if ((choice >> axis & 1U) == 0) continue;
      product *= sizes[axis];
      ++chosen;
    }
    if (chosen == strength) out += product;
  }
  return out;
}

RC_GTEST_PROP(Covering, ShowsEveryTupleThatSomeValidRowShows, ()) {
  const SmallSpace space = random_space();
  CoveringOptions options;
  options.strength = std::min<int>(*rc::gen::inRange(1, 4), static_cast<int>(space.sizes.size()));
  options.seed = *rc::gen::inRange<std::uint64_t>(0, 100);
  const CoveringArray array = cover(space.to_cover(), options);

  const auto possible = shown(space.valid_rows(), options.strength);
  for (const auto& row : array.rows) RC_ASSERT(space.valid(row));
  RC_ASSERT(shown(array.rows, options.strength) == possible);
  RC_ASSERT(array.coverage.missing.empty());
  RC_ASSERT(array.coverage.covered == static_cast<std::int64_t>(possible.size()));
  RC_ASSERT(array.coverage.total == all_tuples(space.sizes, options.strength));
  RC_ASSERT(array.coverage.excluded == array.coverage.total - array.coverage.covered);

  // The same arguments, the same rows.
  RC_ASSERT(cover(space.to_cover(), options).rows == array.rows);
}

RC_GTEST_PROP(Covering, MeasuresGivenRowsAndTellsExcludedFromMissing, ()) {
  const SmallSpace space = random_space();
  const int strength = std::min<int>(*rc::gen::inRange(1, 4), static_cast<int>(space.sizes.size()));
  auto valid = space.valid_rows();
  const auto possible = shown(valid, strength);
  valid.resize(std::min<std::size_t>(valid.size(), *rc::gen::inRange<std::size_t>(0, 6)));
  const auto seen = shown(valid, strength);

  const TupleCoverage coverage = measure_coverage(space.to_cover(), strength, valid);
  std::set<ValueTuple> missing;
  std::set_difference(possible.begin(), possible.end(), seen.begin(), seen.end(),
                      std::inserter(missing, missing.begin()));
  RC_ASSERT(std::set<ValueTuple>(coverage.missing.begin(), coverage.missing.end()) == missing);
  RC_ASSERT(coverage.covered == static_cast<std::int64_t>(seen.size()));
}

TEST(Covering, NeedsFewRows) {
  // 3^13 has a pairwise array of 15 rows; plain greed is known to reach 18 to 20.
  const auto rows =
      cover({std::vector<int>(13, 3), [](const CoveringRow&) { return std::vector<std::size_t>{}; }, {}, 0}, {}).rows;
  EXPECT_GE(rows.size(), 15U);
  EXPECT_LE(rows.size(), 21U);
}

TEST(Covering, SeedRowsComeFirstAndImpossibleOnesAreNamed) {
  const SmallSpace space{{3, 3, 3}, {{{0, 1}, {1, 1}}}};
  CoveringOptions options;
  options.seeds = {{2, 2, 2}, {1, 1, kFree}, {1, kFree, 0}};
  const auto array = cover(space.to_cover(), options);
  EXPECT_EQ(array.rows[0], (CoveringRow{2, 2, 2}));
  EXPECT_EQ(array.rows[1][0], 1);
  EXPECT_NE(array.rows[1][1], 1);
  EXPECT_EQ(array.rows[1][2], 0);
  EXPECT_EQ(array.bad_seeds, std::vector<std::size_t>{1});
}

TEST(Covering, ALimitOfRowsLeavesTuplesMissingNotExcluded) {
  const SmallSpace space{{4, 4, 4}, {{{0, 0}, {1, 0}}}};
  CoveringOptions options;
  options.max_rows = 5;
  const auto array = cover(space.to_cover(), options);
  EXPECT_EQ(array.rows.size(), 5U);
  EXPECT_EQ(array.coverage.excluded, 1);
  EXPECT_EQ(array.coverage.missing.size(), 47U - 15U);
  EXPECT_LT(array.coverage.share(), 0.4);
}

Axis axis(std::string name, const std::vector<std::string>& values) {
  Axis out{name, {}};
  for (const auto& value : values) out.values.push_back({{{name, value}}});
  return out;
}

// The library's own rules as constraints: what is excluded is exactly what no row of all can hold.
TEST(AxisSpace, RulesOfTheLibraryExcludeWhatTheyForbidAndNoMore) {
  const AxisSpace space("flash_attn_ext n_q=2 n_kv=40",
                        {axis("d", {"32", "40", "128"}),
                         axis("kv", {"f16", "q8_0", "q1_0"}),
                         {"heads", {{{{"n_head", "4"}}}, {{{"n_head", "6"}, {"n_head_kv", "2"}}}}},
                         axis("n_head_v", {"1", "3", "4"}),
                         axis("mask", {"none", "causal", "used:{n_kv*3/4}"}),
                         axis("max_bias", {"0", "8"}),
                         axis("n_kv", {"1", "50"}),
                         axis("layout", {"0123", "cache:{n_kv+9}", "pad:32"})});
  const auto sizes = space.sizes();
  std::vector<CoveringRow> valid;
  CoveringRow row(sizes.size(), 0);
  for (bool more = true; more;) {
    if (space.case_of(row)) valid.push_back(row);
    std::size_t a = 0;
    while (a < row.size() && ++row[a] == sizes[a]) row[a++] = 0;
    more = a < row.size();
  }
  ASSERT_GT(valid.size(), 100U);
  for (int strength = 1; strength <= 3; ++strength) {
    CoveringOptions options;
    options.strength = strength;
    const auto array = cover(space.to_cover(), options);
    EXPECT_EQ(shown(array.rows, strength), shown(valid, strength)) << strength;
    EXPECT_TRUE(array.coverage.missing.empty());
    for (const auto& r : array.rows) EXPECT_TRUE(space.case_of(r).has_value());
  }
}

TEST(AxisSpace, ALimitOnTheCostExcludesWhatIsTooDearAndNoMore) {
  const AxisSpace space("flash_attn_ext d=64",
                        {axis("n_q", {"1", "64"}), axis("n_kv", {"16", "4096"}), axis("n_head", {"1", "16"}),
                         axis("softcap", {"0", "30"})},
                        {}, 64.0 * 4096 * 256 * 2);
  CoveringOptions options;
  options.strength = 3;
  EXPECT_EQ(cover(space.to_cover(), options).coverage.excluded, 1);
}

TEST(AxisSpace, ForbiddenValuesAreExcluded) {
  const AxisSpace space("flash_attn_ext", {axis("n_q", {"1", "2"}), axis("kv", {"f16", "f32", "bf16"})},
                        {{{{0, {1}}, {1, {1, 2}}}}});
  const auto array = cover(space.to_cover(), {});
  EXPECT_EQ(array.coverage.excluded, 2);
  EXPECT_EQ(array.coverage.covered, 4);
}

TEST(AxisSpace, ReferencesAreWorkedOutFromTheLine) {
  EXPECT_EQ(*changed_line("flash_attn_ext n_kv=40 d=64", {{"mask", "causal+used:{n_kv*3/4+1}"}, {"n_kv", "100"}}),
            "flash_attn_ext d=64 mask=causal+used:76 n_kv=100");
  EXPECT_EQ(*changed_line("flash_attn_ext n_kv=3", {{"mask", "left:{n_kv-7}"}}), "flash_attn_ext n_kv=3 mask=left:0");
  EXPECT_EQ(*changed_line("flash_attn_ext d=64 kv=f16", {{"d_v", "32"}, {"k", "q8_0"}}),
            "flash_attn_ext d_k=64 v=f16 d_v=32 k=q8_0");
  EXPECT_THAT(changed_line("flash_attn_ext", {{"mask", "used:{n_kv/2}"}}).error().message, HasSubstr("{n_kv/2}"));
  EXPECT_FALSE(changed_line("flash_attn_ext n_kv=4", {{"mask", "used:{n_kv/0}"}}).has_value());
  EXPECT_FALSE(changed_line("flash_attn_ext n_kv=4", {{"mask", "used:{n_kv/2"}}).has_value());
}

TEST(AxisSpace, FindsTheValuesThatACaseShows) {
  const AxisSpace space("flash_attn_ext n_kv=8",
                        {axis("d", {"64", "128"}),
                         axis("mask", {"none", "used:{n_kv/2}", "causal"}),
                         {"heads", {{{{"n_head", "4"}, {"n_head_kv", "4"}}}, {{{"n_head", "4"}, {"n_head_kv", "1"}}}}},
                         axis("kv", {"f16", "q8_0"})});
  EXPECT_EQ(space.shown_by(*parse_case("flash_attn_ext n_head=4 n_kv=20 mask=used:10 seed=5")),
            (CoveringRow{0, 1, 0, 0}));
  EXPECT_EQ(space.shown_by(*parse_case("flash_attn_ext d_k=64 d_v=128 n_head=4 n_head_kv=1 k=q8_0 v=f16 mask=zeros")),
            (CoveringRow{kFree, kFree, 1, kFree}));
  // Where V lies in K, a family of V changes nothing and so cannot be told.
  const AxisSpace views("flash_attn_ext", {axis("layout", {"0123", "v-in-k"}), axis("data", {"flat+v_const", "spike"})},
                        {{{{0, {1}}, {1, {0}}}}});
  EXPECT_EQ(views.shown_by(*parse_case("flash_attn_ext layout=v-in-k data=spike")), (CoveringRow{1, 1}));
  EXPECT_EQ(views.shown_by(*parse_case("flash_attn_ext data=flat+v_const")), (CoveringRow{0, 0}));
  EXPECT_EQ(views.shown_by(*parse_case("flash_attn_ext layout=v-in-k data=flat")), (CoveringRow{kFree, kFree}));
}

}  // namespace
}  // namespace attest
