#include "cases/op_inputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "cases/inputs.h"

namespace attest {
namespace {

Case parsed(const std::string& line) {
  auto c = parse_case(line);
  EXPECT_TRUE(c) << (c ? "" : c.error().text());
  return c ? *c : Case{};
}

std::vector<float> floats(const TensorView& t) {
  std::vector<float> out(static_cast<std::size_t>(t.elements()));
  std::memcpy(out.data(), t.data, out.size() * sizeof(float));
  return out;
}

TEST(SoftMaxInputs, PreviousLeavesTheScoresOfTheOtherSeed) {
  for (const char* problem : {"soft_max_ext n_head=2 n_q=5 n_kv=40 mask=used:20 data=huge ",
                              "soft_max_ext n_head=2 n_q=5 n_kv=40 mask=causal data=rising ",
                              "soft_max_ext n_head=2 n_q=5 n_kv=40 mask=window:3 data=flat "}) {
    const OwnedInputs now(parsed(problem + std::string("seed=1 poison=hidden:previous:2"))),
        plain(parsed(problem + std::string("seed=1"))), other(parsed(problem + std::string("seed=2")));
    const AttentionInputs& in = now.inputs();
    int hidden = 0;
    for (std::int64_t h = 0; h < 2; ++h) {
      for (std::int64_t i = 0; i < 5; ++i) {
        for (std::int64_t j = 0; j < 40; ++j) {
          const bool hides = std::isinf(element(in.mask, j, i, 0, 0));
          hidden += hides ? 1 : 0;
          EXPECT_EQ(element(in.q, j, i, h, 0), element((hides ? other : plain).inputs().q, j, i, h, 0)) << problem;
        }
      }
    }
    EXPECT_GT(hidden, 0) << problem;
  }
}

TEST(SoftMaxInputs, TheKeyThatAFamilySelectsIsVisible) {
  for (const char* family : {"onehot", "needle_first", "needle_last", "spike_first", "spike_last"}) {
    for (const char* mask : {"none", "causal", "causal+window:4", "used:9", "left:9", "blocks:4"}) {
      const std::string line =
          "soft_max_ext n_head=2 n_q=11 n_kv=13 data=" + std::string(family) + " mask=" + std::string(mask);
      const OwnedInputs in(parsed(line));
      const bool masked = in.inputs().mask.present();
      for (std::int64_t i = 0; i < 11; ++i) {
        std::vector<float> seen;
        for (std::int64_t j = 0; j < 13; ++j) {
          if (!masked || !std::isinf(element(in.inputs().mask, j, i, 0, 0)))
            seen.push_back(element(in.inputs().q, j, i, 0, 0));
        }
        if (seen.empty()) continue;
        const auto top = std::max_element(seen.begin(), seen.end());
        EXPECT_GT(*top, 5) << line << " row " << i;
        EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](float x) { return x > 5; }), 1) << line << " row " << i;
        if (std::string(family).ends_with("_first")) {
          EXPECT_EQ(top, seen.begin()) << line << " row " << i;
        }
        if (std::string(family).ends_with("_last")) {
          EXPECT_EQ(top, seen.end() - 1) << line << " row " << i;
        }
      }
    }
  }
}

TEST(SetRowsInputs, LargeAndTinySourcesHaveEveryValue) {
  const auto values = [](const std::string& source) {
    const OwnedInputs in(parsed("set_rows d=128 n_head=4 n_rows=60 n_ctx=60 kv=f32 data=flat source=" + source));
    std::set<float> out;
    for (const float x : floats(in.inputs().q)) out.insert(std::abs(x));
    out.erase(0.5F);
    return out;
  };
  EXPECT_EQ(values("large"), (std::set{65504.0F, 65519.99F, 65520.0F, 1e9F, 3e38F}));
  EXPECT_EQ(values("tiny"), (std::set{0x1p-24F, 0x1p-25F, 0x1.8p-24F, 0x1p-15F}));
}

// Per token the key of its pass that has the most weight, and that weight.
struct Chosen {
  std::int64_t pass_first, key;
  double weight;
};
std::vector<Chosen> chosen_keys(const std::string& line) {
  const OwnedInputs owned(parsed(line));
  const AttentionInputs& in = owned.inputs();
  const AttentionProblem& p = *in.problem;
  const std::int64_t first_pass = p.decode.prompt + p.decode.steps;
  std::vector<Chosen> out;
  for (std::int64_t h = 0; h < p.n_head; ++h) {
    for (std::int64_t t = 0; t < p.n_q; ++t) {
      const std::int64_t first = t < first_pass ? 0 : first_pass, hk = h / (p.n_head / p.n_head_kv);
      std::vector<double> scores;
      for (std::int64_t j = first; j <= t; ++j) {
        double dot = 0;
        for (std::int64_t e = 0; e < p.d_k; ++e)
          dot += double(element(in.q, e, t, h, 0)) * double(element(in.k, e, j, hk, 0));
        scores.push_back(dot * double(p.scale));
      }
      const auto top = std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (const double x : scores) sum += std::exp(x - *top);
      out.push_back({first, first + (top - scores.begin()), 1 / sum});
    }
  }
  return out;
}

TEST(DecodeInputs, EveryTokenSeesTheKeyThatItsDataSpeaksOf) {
  const std::string problem =
      "kv_decode d=64 n_head=4 n_head_kv=2 n_ctx=200 prompt=40 chunk=16 steps=60 restart=30 seed=3 data=";
  const auto tokens = [](const std::vector<Chosen>& all, auto&& right) {
    return static_cast<double>(std::count_if(all.begin(), all.end(), right)) / static_cast<double>(all.size());
  };
  const auto last = chosen_keys(problem + "needle_last");
  std::int64_t at = 0;
  EXPECT_GT(tokens(last, [&](const Chosen& c) { return c.key == at++ % 190 && c.weight > 0.5; }), 0.9);
  EXPECT_GT(tokens(chosen_keys(problem + "needle_first"),
                   [](const Chosen& c) { return c.key == c.pass_first && c.weight > 0.8; }),
            0.95);
  const auto one = chosen_keys(problem + "onehot");
  EXPECT_EQ(tokens(one, [](const Chosen& c) { return c.weight > 0.999; }), 1);
  EXPECT_GT(tokens(one, [](const Chosen& c) { return c.key != c.pass_first; }), 0.8);
  EXPECT_FALSE(parse_case("kv_decode data=spike_last"));
}

// A row of the first pass that lies there still must not pass for one of the second.
TEST(DecodeInputs, TheTwoPassesHaveNoRowInCommon) {
  const OwnedInputs in(parsed("kv_decode d=32 n_ctx=20 prompt=7 steps=3 restart=7"));
  for (std::int64_t t = 0; t < 10; ++t) {
    for (std::int64_t other = 10; other < 20; ++other) {
      EXPECT_NE(std::memcmp(in.inputs().k.row(t, 0, 0), in.inputs().k.row(other, 0, 0), 128), 0);
      EXPECT_NE(std::memcmp(in.inputs().v.row(t, 0, 0), in.inputs().v.row(other, 0, 0), 128), 0);
    }
  }
}

}  // namespace
}  // namespace attest
