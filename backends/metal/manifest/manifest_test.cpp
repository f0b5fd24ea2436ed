#include "backends/metal/manifest/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/metal/manifest/msl_backend.h"
#include "backends/metal/manifest/names.h"

namespace attest::metal {
namespace {

using ::testing::HasSubstr;

const std::string kGood = R"toml(name = "mine"
source = "mine.metal"
[supports]
kv = ["f16"]
where = ["d_k <= 128"]
[function_constants]
3 = "bool has_mask"
[buffers.q]
tensor = "q"
type = "f16"
layout = ["n_q", "n_head", "d_k"]
[buffers.out]
tensor = "out"
[buffers.params]
constants = ["u32 n_q", "f32 scale * 2"]
[buffers.part]
scratch = "4 * n_q * out_stride_n_q"
[[dispatch]]
kernel = "mine_{k_type}_{d_k}"
when = "n_q > 1"
threadgroups = ["ceil_div(n_q, 8)", "n_head"]
threads = [32]
threadgroup_memory = ["4 * d_k", 16]
buffers = ["q", "", "out", "params"]
[contract]
accumulator = "f16"
weights = "f32"
tile = 32
)toml";

Expected<Manifest> parse(const std::string& toml) {
  return parse_manifest(toml, "dir/mine.toml", "kernel void f() {}");
}

TEST(Manifest, SaysWhatItSays) {
  const auto m = parse(kGood);
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_EQ(m->name, "mine");
  EXPECT_EQ(m->k_types, std::vector<DType>{DType::f16});
  EXPECT_EQ(m->function_constants.front().first, 3);
  ASSERT_EQ(m->buffers.size(), 4U);
  ASSERT_EQ(m->dispatches.size(), 1U);
  const ManifestDispatch& d = m->dispatches.front();
  std::vector<std::string> names;
  for (const int b : d.buffers) names.push_back(b < 0 ? "" : m->buffers[static_cast<std::size_t>(b)].name);
  EXPECT_EQ(names, (std::vector<std::string>{"q", "", "out", "params"}));
  EXPECT_EQ(d.threads[0].text(), "32");
  EXPECT_EQ(d.threads[2].text(), "1");
  EXPECT_EQ(m->contract.q_rounding, QRounding::f16) << "the type of its buffer says so";
  EXPECT_EQ(m->contract.u_acc, kUnitF16);
  EXPECT_EQ(m->contract.u_p, 0) << "f32 weights are not rounded";
  EXPECT_EQ(m->contract.u_out, kUnitF32);
  EXPECT_FALSE(m->contract.honours_prec_f32);
}

struct Mistake {
  const char *text, *instead;
  int line;
  const char *says, *hint;
};

TEST(Manifest, AMistakeNamesFileLineKeyAndTheNearestWord) {
  for (const Mistake& m : {
           Mistake{"kv = [\"f16\"]", "kv = [\"f166\"]", 4, "supports.kv: no type is called 'f166'", "f16"},
           Mistake{"kv = [\"f16\"]", "kvs = [\"f16\"]", 4, "supports: unknown key 'kvs'", "kv"},
           Mistake{"d_k <= 128", "d_q <= 128", 5, "supports.where: nothing is called 'd_q'", "d_k"},
           Mistake{"where =", "features = [\"sink\"]\nwhere =", 5, "no feature is called 'sink'", "sinks"},
           Mistake{"3 = ", "three = ", 7, "'three' is no index", ""},
           Mistake{"bool has_mask", "boll has_mask", 7, "function_constants.3: no type is called 'boll'", "bool"},
           Mistake{"bool has_mask", "bool q_stride_n_q", 7, "nothing is called 'q_stride_n_q'", ""},
           Mistake{"tensor = \"q\"", "tensor = \"Q\"", 9, "buffers.q: no tensor is called 'Q'", "q"},
           Mistake{"type = \"f16\"", "type = \"q8_0\"", 10, "buffers.q.type: Q and the output can be", ""},
           Mistake{"\"n_head\", \"d_k\"]", "\"n_heads\", \"d_k\"]", 11, "no axis of q is called 'n_heads'", "n_head"},
           Mistake{"\"n_head\", \"d_k\"]", "\"n_q\", \"d_k\"]", 11, "names n_q twice", ""},
           Mistake{"tensor = \"out\"", "tensor = \"v\"", 8, "no buffer takes the output", ""},
           Mistake{"\"u32 n_q\"", "\"u32 n_g\"", 15, "buffers.params.constants: nothing is called 'n_g'", "n_q"},
           Mistake{"scratch =", "scrach =", 17, "unknown key 'scrach'", "scratch"},
           Mistake{"{d_k}", "{dk}", 19, "no number of the problem is called 'dk'", "d_k"},
           Mistake{"{d_k}", "{scale}", 19, "{scale} is no whole number", ""},
           Mistake{"tile = 32", "tile = 0", 28, "contract.tile is at least 1", ""},
           Mistake{"{d_k}", "{d_k", 19, "'{' is not closed", ""},
           Mistake{"ceil_div(n_q, 8)", "ceil_div(n_q)", 21, "ceil_div takes two arguments", ""},
           Mistake{"threads = [32]", "threads = []", 22, "one to three sizes", ""},
           Mistake{"\"out\", \"params\"]", "\"out\", \"param\"]", 24, "no buffer is called 'param'", "params"},
           Mistake{"accumulator = \"f16\"", "accumulator = \"fp16\"", 26, "contract.accumulator: no type", "f16"},
           Mistake{"tile = 32", "tile = 32\nexp_error = 2", 29, "relative error between 0 and 1", ""},
           Mistake{"[contract]", "[contact]", 25, "unknown key 'contact'", "contract"},
           Mistake{"kv = [\"f16\"]", "kv = [\"f16\"", 5, "", ""},
       }) {
    std::string toml = kGood;
    const auto at = toml.find(m.text);
    ASSERT_NE(at, std::string::npos) << m.text;
    toml.replace(at, std::string(m.text).size(), m.instead);
    const auto parsed = parse(toml);
    ASSERT_FALSE(parsed) << m.instead;
    EXPECT_EQ(parsed.error().kind, ErrorKind::input);
    EXPECT_EQ(parsed.error().file, "dir/mine.toml");
    EXPECT_EQ(parsed.error().line, m.line) << parsed.error().text();
    EXPECT_THAT(parsed.error().message, HasSubstr(m.says));
    EXPECT_THAT(parsed.error().hint, HasSubstr(m.hint)) << parsed.error().text();
  }
}

TEST(Manifest, TheColumnOfAMistakeIsTheExpressionsOwn) {
  std::string toml = kGood;
  toml.replace(toml.find("scale * 2"), 9, "scale * x");
  const auto parsed = parse(toml);
  ASSERT_FALSE(parsed);
  ASSERT_FALSE(parsed.error().source_line.empty());
  EXPECT_EQ(parsed.error().source_line[static_cast<std::size_t>(parsed.error().column) - 1], 'x')
      << parsed.error().text();
}

TEST(Manifest, ThatIsNotThereIsNamed) {
  const auto missing = make_msl_backend(*BackendSpec::parse("msl:no/such.toml"), {});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().text(), HasSubstr("no/such.toml"));
  EXPECT_FALSE(make_msl_backend(*BackendSpec::parse("msl"), {}));
  const auto option = make_msl_backend(*BackendSpec::parse("msl:a.toml,modle=free"), {});
  ASSERT_FALSE(option);
  EXPECT_THAT(option.error().text(), HasSubstr("model"));
}

TEST(ManifestNames, EveryFeatureIsThatOfSomeProblem) {
  AttentionProblem plain;
  for (const ManifestFeature& f : manifest_features()) EXPECT_FALSE(f.has(plain)) << f.name;
  AttentionProblem all;
  all.d_v = 32, all.n_head = 8, all.n_head_kv = 4, all.n_head_v = 2, all.n_seq = 4, all.n_seq_kv = 2;
  all.softcap = 10, all.max_bias = 8, all.sinks.kind = SinkKind::uniform;
  all.mask.terms = {MaskTerm{}}, all.mask.per_head = true;
  for (const ManifestFeature& f : manifest_features()) EXPECT_TRUE(f.has(all)) << f.name;
}

}  // namespace
}  // namespace attest::metal
