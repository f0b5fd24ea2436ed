#include "cases/value_rows.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <numeric>

#include "cases/inputs.h"
#include "cases/random_fill.h"

namespace attest {
namespace {

Case parsed(const std::string& line) {
  const auto c = parse_case("flash_attn_ext " + line);
  EXPECT_TRUE(c.has_value()) << line << ": " << (c ? "" : c.error().text());
  return c.value_or(Case{});
}

// scale * q.k of every key for query i of head h, sequence 0, from the stored values, before softcap and mask.
std::vector<double> raw_scores(const OwnedInputs& in, std::int64_t i, std::int64_t h) {
  const AttentionProblem& p = *in.inputs().problem;
  std::vector<double> scores;
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    double dot = 0;
    for (std::int64_t e = 0; e < p.d_k; ++e)
      dot += double(element(in.inputs().q, e, i, h, 0)) *
             double(element(in.inputs().k, e, j, h / (p.n_head / p.n_head_kv), 0));
    scores.push_back(double(p.scale) * dot);
  }
  return scores;
}

double deviation(const std::vector<double>& x) {
  const double mean = std::accumulate(x.begin(), x.end(), 0.0) / double(x.size());
  double square = 0;
  for (const double value : x) square += (value - mean) * (value - mean);
  return std::sqrt(square / double(x.size()));
}

std::vector<double> scores_of_all_heads(const std::string& line) {
  const OwnedInputs in(parsed(line));
  std::vector<double> all;
  for (std::int64_t h = 0; h < in.inputs().problem->n_head; ++h)
    for (const double score : raw_scores(in, 0, h)) all.push_back(score);
  return all;
}

std::size_t argmax(const std::vector<double>& x) {
  return static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin());
}

TEST(RandomRow, NormalHasTheMomentsOfANormal) {
  double sum = 0, square = 0, fourth = 0;
  constexpr int kRows = 400, kColumns = 500;
  for (int r = 0; r < kRows; ++r) {
    const RandomRow row(Rng(1, 2).bits(static_cast<std::uint64_t>(r)));
    for (std::uint32_t e = 0; e < kColumns; ++e) {
      const double x = double(row.normal(e));
      sum += x;
      square += x * x;
      fourth += x * x * x * x;
    }
  }
  constexpr double kAll = double(kRows) * kColumns;
  EXPECT_NEAR(sum / kAll, 0, 0.01);
  EXPECT_NEAR(square / kAll, 1, 0.015);
  EXPECT_NEAR(fourth / kAll, 2.85, 0.06);
}

TEST(RandomRow, VectorsGiveTheSameBitsAsColumnsOneByOne) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const std::uint32_t n : {1U, 7U, 64U, 133U}) {
      const RandomRow random(0x123456789abcdef0ULL * n + 99);
      std::vector<float> uniform(n), normal(n);
      fill_uniform(random, uniform.data(), n);
      fill_normal(random, 0.3F, normal.data(), n);
      for (std::uint32_t e = 0; e < n; ++e) {
        ASSERT_EQ(uniform[e], random.uniform(e)) << hwy::TargetName(target) << " " << e;
        ASSERT_EQ(normal[e], random.normal(e) * 0.3F) << hwy::TargetName(target) << " " << e;
      }
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST(RandomRow, NeighbouringRowsAndColumnsAreUncorrelated) {
  double columns = 0, rows = 0;
  constexpr int kRows = 300, kColumns = 400;
  for (int r = 0; r < kRows; ++r) {
    const RandomRow row(Rng(1, 2).bits(row_id(r, 0, 0))), below(Rng(1, 2).bits(row_id(r + 1, 0, 0)));
    for (std::uint32_t e = 0; e < kColumns; ++e) {
      columns += double(row.normal(e)) * double(row.normal(e + 1));
      rows += double(row.normal(e)) * double(below.normal(e));
    }
  }
  EXPECT_NEAR(columns / (kRows * kColumns), 0, 0.012);
  EXPECT_NEAR(rows / (kRows * kColumns), 0, 0.012);
}

TEST(Families, NormalScoresHaveTheRequestedDeviationWhateverTheScale) {
  for (const std::string scale : {"", " scale=1", " scale=0.01", " scale=-0.3"})
    for (const double wanted : {0.3, 1.0, 4.0, 30.0}) {
      const auto scores =
          scores_of_all_heads("d=128 n_head=16 n_kv=300 kv=f16 data=normal:" + std::to_string(wanted) + scale);
      EXPECT_NEAR(deviation(scores) / wanted, 1, 0.1) << scale;
    }
}

TEST(Families, ScaleZeroLeavesStandardNormalQueries) {
  const OwnedInputs in(parsed("d=128 n_head=32 n_q=4 n_kv=4 scale=0"));
  double square = 0;
  for (std::int64_t h = 0; h < 32; ++h)
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t e = 0; e < 128; ++e) square += std::pow(double(element(in.inputs().q, e, i, h, 0)), 2);
  EXPECT_NEAR(square / (32 * 4 * 128), 1, 0.05);
}

TEST(Families, RisingScoresMoveTheMaximumFromTileToTile) {
  for (const bool rising : {true, false}) {
    const OwnedInputs in(
        parsed(std::string("d=128 n_head=8 n_head_kv=4 n_kv=1024 kv=q8_0 data=") + (rising ? "rising" : "falling")));
    int new_maxima = 0;
    for (std::int64_t h = 0; h < 8; ++h) {
      const auto scores = raw_scores(in, 0, h);
      EXPECT_NEAR(scores.back() - scores.front(), rising ? 16 : -16, 9);
      double maximum = -1e300;
      for (std::size_t tile = 0; tile < scores.size(); tile += 64) {
        const double top = *std::max_element(scores.begin() + long(tile), scores.begin() + long(tile) + 64);
        new_maxima += top > maximum;
        maximum = std::max(maximum, top);
      }
    }
    EXPECT_GE(new_maxima, rising ? 8 * 12 : 8);
    EXPECT_LE(new_maxima, rising ? 8 * 16 : 8 * 3);
  }
}

TEST(Families, NeedlesLieWhereTheyAreNamed) {
  const auto needle = [](const std::string& line) {
    const OwnedInputs in(parsed(line));
    std::vector<std::size_t> at;
    for (std::int64_t h = 0; h < in.inputs().problem->n_head; ++h) at.push_back(argmax(raw_scores(in, 0, h)));
    return at;
  };
  const std::string problem = "d=128 n_head=4 n_head_kv=2 n_kv=300 kv=f16 ";
  EXPECT_EQ(needle(problem + "data=needle_first"), (std::vector<std::size_t>{0, 0, 0, 0}));
  EXPECT_EQ(needle(problem + "data=needle_last"), (std::vector<std::size_t>{299, 299, 299, 299}));
  EXPECT_EQ(needle(problem + "data=needle_first mask=left:17"), (std::vector<std::size_t>{17, 17, 17, 17}));
  EXPECT_EQ(needle(problem + "data=needle_last mask=used:200"), (std::vector<std::size_t>{199, 199, 199, 199}));
  for (const std::size_t at : needle(problem + "data=needle_edge")) EXPECT_TRUE(at > 0 && at % 64 == 0) << at;
  const auto spikes = needle(problem + "data=spike");
  EXPECT_EQ(spikes[0], spikes[1]);
  EXPECT_NE(spikes[0], spikes[2]);
}

TEST(Families, SpikeStandsAboveAFlatTail) {
  const OwnedInputs in(parsed("d=64 n_kv=500 kv=f16 data=spike:8"));
  auto scores = raw_scores(in, 0, 0);
  const std::size_t at = argmax(scores);
  EXPECT_NEAR(scores[at], 8, 4);
  scores.erase(scores.begin() + long(at));
  EXPECT_NEAR(deviation(scores), 0.125, 0.03);
}

TEST(Families, OnehotSelectsOneVisibleKeyPerQuery) {
  const OwnedInputs in(parsed("d=64 n_head=4 n_head_kv=2 n_q=16 n_kv=64 kv=q4_0 mask=causal data=onehot"));
  std::vector<std::size_t> targets;
  for (std::int64_t i = 0; i < 16; ++i) {
    auto scores = raw_scores(in, i, 3);
    const std::size_t at = argmax(scores);
    EXPECT_LE(at, std::size_t(i + 48));
    const double top = scores[at];
    scores[at] = -1e9;
    EXPECT_GT(top - scores[argmax(scores)], 300);
    targets.push_back(at);
  }
  std::sort(targets.begin(), targets.end());
  EXPECT_GT(std::unique(targets.begin(), targets.end()) - targets.begin(), 8);
}

TEST(Families, FlatKeysAreIdentical) {
  const OwnedInputs in(parsed("d=64 n_kv=9 kv=f16 layout=cache:12 data=flat"));
  const auto scores = raw_scores(in, 0, 0);
  for (const double score : scores) EXPECT_EQ(score, scores[0]);
  EXPECT_NE(scores[0], 0);
}

TEST(Families, SoftcapFamiliesComeNearTheCap) {
  int high = 0, low = 0;
  for (const double score : scores_of_all_heads("d=128 n_head=8 n_kv=200 kv=f16 softcap=20 data=near_softcap")) {
    EXPECT_LT(std::abs(score), 70);
    high += score > 8;
    low += score < -8;
  }
  EXPECT_GT(high, 600);
  EXPECT_GT(low, 600);
  for (const double score : scores_of_all_heads("d=128 n_head=8 n_kv=200 kv=f16 softcap=20 data=anti_aligned"))
    EXPECT_LT(score, -12);
  EXPECT_NEAR(deviation(scores_of_all_heads("d=128 n_head=8 n_kv=200 kv=f16 data=near_softcap")), 4, 0.4);
}

TEST(Families, HugeScoresKeepQueriesAndKeysInsideHalfRange) {
  const Case c = parsed("d=128 n_head=8 n_kv=200 kv=f16 data=huge:100000");
  const OwnedInputs in(c);
  const auto scores = raw_scores(in, 0, 0);
  EXPECT_NEAR(deviation(scores) / 1e5, 1, 0.25);
  for (std::int64_t e = 0; e < 128; ++e) EXPECT_LT(std::abs(element(in.inputs().q, e, 0, 0, 0)), 65504);
}

TEST(Families, IntegerValuesAreSmallIntegers) {
  const OwnedInputs in(parsed("d=64 n_kv=50 kv=f16 data=integer"));
  for (std::int64_t e = 0; e < 64; ++e) {
    const double q = double(element(in.inputs().q, e, 0, 0, 0)), v = double(element(in.inputs().v, e, 7, 0, 0));
    EXPECT_TRUE(q == std::floor(q) && std::abs(q) <= 3);
    EXPECT_TRUE(v == std::floor(v) && std::abs(v) <= 8);
  }
}

TEST(Families, ValuesOfVFollowTheirTerm) {
  const auto v = [](const std::string& data, std::int64_t e, std::int64_t j) {
    const OwnedInputs in(parsed("d=64 n_kv=200 kv=f16 data=" + data));
    return element(in.inputs().v, e, j, 0, 0);
  };
  EXPECT_EQ(v("v_const:2.5", 3, 77), 2.5F);
  EXPECT_EQ(v("v_index", 0, 77), 1);
  EXPECT_EQ(v("v_index", 1, 77), -1);
  EXPECT_EQ(v("v_index", 24, 77), 1);
  EXPECT_EQ(v("v_onehot", 77 % 64, 77), 1);
  EXPECT_EQ(v("v_onehot", 14, 77), 0);
  EXPECT_EQ(v("v_const:1e9", 0, 0), f16_to_f32(f32_to_f16(60000)));
  double shift = 0, square = 0;
  const OwnedInputs shifted(parsed("d=64 n_kv=200 kv=f16 data=normal+v_shift:5"));
  const OwnedInputs scaled(parsed("d=64 n_kv=200 kv=f16 data=normal+v_scale:2000"));
  for (std::int64_t j = 0; j < 200; ++j)
    for (std::int64_t e = 0; e < 64; ++e) {
      shift += double(element(shifted.inputs().v, e, j, 0, 0));
      square += std::pow(double(element(scaled.inputs().v, e, j, 0, 0)), 2);
    }
  EXPECT_NEAR(shift / (200 * 64), 5, 0.05);
  EXPECT_NEAR(std::sqrt(square / (200 * 64)), 2000, 60);
}

TEST(Families, OutliersComeOnceInAThousand) {
  const OwnedInputs in(parsed("d=128 n_head=8 n_kv=500 kv=f32 data=outlier"));
  int far = 0;
  for (std::int64_t h = 0; h < 8; ++h)
    for (std::int64_t j = 0; j < 500; ++j)
      for (std::int64_t e = 0; e < 128; ++e) far += std::abs(element(in.inputs().k, e, j, h, 0)) > 5;
  // 512,000 draws, of which 0.1 % are N(0, 101), of which 62 % lie beyond 5.
  EXPECT_NEAR(far, 317, 80);
}

TEST(Families, EveryFamilyIsFiniteInEveryStorageType) {
  for (const FamilyInfo& family : families())
    for (int t = 0; t < kDTypeCount; ++t) {
      const std::string type(info(static_cast<DType>(t)).name), name(family.name);
      const std::string width = type == "q1_0" ? "128" : "64";
      for (const std::string scale : {"", " scale=1e-9", " scale=100"}) {
        const OwnedInputs in(parsed("d=" + width + " n_q=2 n_kv=66 softcap=30 kv=" + type + " data=" + name + scale));
        std::vector<float> row(static_cast<std::size_t>(in.inputs().k.ne[0]));
        const auto largest = [&](const TensorView& tensor, std::int64_t i) {
          decode_row(tensor.dtype, tensor.row(i, 0, 0), row.data(), tensor.ne[0]);
          float most = 0;
          for (const float value : row) most = std::abs(value) <= most ? most : std::abs(value);
          return most;
        };
        for (std::int64_t j = 0; j < 66; ++j) {
          ASSERT_LE(largest(in.inputs().k, j), 65504) << name << ' ' << type << scale;
          ASSERT_LE(largest(in.inputs().v, j), 70000) << name << ' ' << type << scale;
        }
        for (std::int64_t i = 0; i < 2; ++i) ASSERT_LE(largest(in.inputs().q, i), 65504) << name << scale;
      }
    }
}

TEST(Families, LowPutsEveryScoreFarDownAndCloseTogether) {
  for (const char* type : {"f32", "f16"}) {
    for (const int depth : {50000, 70000}) {
      const OwnedInputs in(
          parsed("d=64 n_head=8 n_kv=300 data=low:" + std::to_string(depth) + " kv=" + std::string(type)));
      for (std::int64_t h = 0; h < 8; ++h) {
        const auto scores = raw_scores(in, 0, h);
        const double mean = std::accumulate(scores.begin(), scores.end(), 0.0) / double(scores.size());
        EXPECT_NEAR(mean, -depth, depth / 50.0) << type;
        EXPECT_LT(deviation(scores), 8) << type;
      }
    }
  }
}

TEST(Families, SpikesStandAsFarAboveTheTailAsAsked) {
  for (const double gap : {4.71, 18.53}) {
    const std::string arg = std::to_string(gap);
    for (const char* type : {"f32", "f16", "q8_0"}) {
      const auto first = scores_of_all_heads("d=64 n_kv=400 data=spike_first:" + arg + " kv=" + type);
      const auto last = scores_of_all_heads("d=64 n_kv=400 mask=used:300 data=spike_last:" + arg + " kv=" + type);
      EXPECT_EQ(argmax(first), 0U);
      EXPECT_EQ(argmax(last), 299U);
      const double room = type[0] == 'q' ? 0.25 : 0.08;
      for (std::size_t j = 1; j < 400; ++j) EXPECT_NEAR(first[0] - first[j], gap, room) << type;
      for (std::size_t j = 0; j < 299; ++j) EXPECT_NEAR(last[299] - last[j], gap, room) << type;
    }
  }
}

TEST(Families, OutlierChannelIsOneOfAHead) {
  const OwnedInputs in(parsed("d=64 n_head=4 n_kv=400 data=outlier_channel"));
  for (std::int64_t h = 0; h < 4; ++h) {
    int large = 0;
    for (std::int64_t e = 0; e < 64; ++e) {
      std::vector<double> channel;
      for (std::int64_t j = 0; j < 400; ++j) channel.push_back(double(element(in.inputs().k, e, j, h, 0)));
      const double spread = deviation(channel);
      EXPECT_TRUE((spread > 0.85 && spread < 1.15) || (spread > 85 && spread < 115)) << spread;
      large += spread > 85 ? 1 : 0;
    }
    EXPECT_EQ(large, 1);
  }
}

TEST(Families, GenericIsWhatCannotRoundAlike) {
  const auto generic = [](const std::string& line) { return is_generic(parsed(line)); };
  EXPECT_TRUE(generic("data=normal"));
  EXPECT_TRUE(generic("data=rising+v_shift mask=causal"));
  EXPECT_TRUE(generic("data=uniform kv=q4_0 mask=ggml"));
  EXPECT_FALSE(generic("data=normal+v_const"));
  EXPECT_FALSE(generic("data=flat"));
  EXPECT_FALSE(generic("data=onehot"));
  EXPECT_FALSE(generic("data=integer"));
  EXPECT_FALSE(generic("data=normal:0"));
  EXPECT_FALSE(generic("scale=0"));
  EXPECT_TRUE(generic("data=v_scale:2000"));
  EXPECT_FALSE(generic("data=v_scale:1e6"));
  EXPECT_FALSE(generic("data=v_shift:1000"));
  EXPECT_FALSE(generic("mask=finite:-65504"));
  EXPECT_FALSE(generic("mask=finite-blocks:-65504"));
  EXPECT_FALSE(generic("data=low"));
  EXPECT_FALSE(generic("data=spike_first"));  // a tail so flat that its weights round alike
}

TEST(Families, TwoTermsForTheSameTensorsAreAnError) {
  const auto term = [](std::string name) { return DataTerm{std::move(name), 0, false}; };
  EXPECT_TRUE(validate(DataSpec{{term("rising"), term("v_shift")}}).has_value());
  EXPECT_FALSE(validate(DataSpec{{term("rising"), term("normal")}}).has_value());
  EXPECT_FALSE(validate(DataSpec{{term("v_const"), term("v_shift")}}).has_value());
  EXPECT_FALSE(validate(DataSpec{{DataTerm{"flat", 1, true}}}).has_value());
  const auto unknown = validate(DataSpec{{term("normla")}});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_NE(unknown.error().hint.find("normal"), std::string::npos);
}

}  // namespace
}  // namespace attest
