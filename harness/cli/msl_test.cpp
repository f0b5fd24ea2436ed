// msl:FILE.toml from outside: the documented example passes what it supports, and wrong kernels are seen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "harness/cli/testing/attest_process.h"

namespace attest::testing {
namespace {

using ::testing::HasSubstr;

const std::string kExamples = ATTEST_SOURCE_DIR "/backends/metal/manifest/examples/";

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// From suite fused-sdpa: ragged ends, causal masks, batches, other layouts, large scores.
constexpr const char* kLines = R"(
flash_attn_ext d=40 n_head=8 n_q=33 n_kv=64 kv=f32 layout=0213+kt
flash_attn_ext d=128 n_head=8 n_q=1 n_kv=64 kv=f16 layout=0213+kt
flash_attn_ext d=64 n_head=2 n_q=17 n_kv=33 kv=f16 layout=0213+kt
flash_attn_ext d=64 n_head=4 n_q=17 n_kv=40 kv=f16 mask=causal layout=0213+kt data=normal:4+v_index
flash_attn_ext d=64 n_head=4 n_q=40 n_kv=17 kv=f16 mask=causal:top-left layout=0213+kt data=normal:4+v_index
flash_attn_ext d=64 n_head=2 n_q=33 n_kv=65 kv=f16 mask=finite:-10000+f32 layout=0213+kt
flash_attn_ext d=64 n_head=2 n_q=33 n_kv=65 kv=f32 mask=dead:every-third layout=0213+kt
flash_attn_ext d=64 n_head=2 n_q=33 n_kv=65 kv=f16 mask=random+per-head layout=0213+kt
flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=20 n_kv=50 n_seq=4 n_seq_kv=2 kv=f16 mask=causal layout=0213+kt
flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=20 n_kv=50 kv=f16 mask=causal layout=0213+kt+cache:128 poison=gaps:nan
flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=20 n_kv=50 kv=f32 mask=causal layout=kt+pad:8 poison=gaps:nan
flash_attn_ext d=64 n_head=2 n_q=33 n_kv=130 kv=f16 mask=used:70 layout=0213+kt data=huge poison=hidden:nan
)";

struct Example {
  ScratchDir dir;
  std::string manifest, lines;
  Example() : manifest(kExamples + "fused_sdpa.toml"), lines(dir.file("lines.txt", kLines)) {}
  // A copy in which one piece of manifest or kernel reads otherwise.
  void change(const std::string& text, const std::string& instead) {
    std::string toml = text_of(kExamples + "fused_sdpa.toml"), metal = text_of(kExamples + "fused_sdpa.metal");
    std::string& in = toml.find(text) != std::string::npos ? toml : metal;
    const auto at = in.find(text);
    ASSERT_NE(at, std::string::npos) << text;
    in.replace(at, text.size(), instead);
    manifest = dir.file("changed.toml", toml);
    dir.file("fused_sdpa.metal", metal);
  }
  Ended run(const std::string& options = "") const {
    return attest({"run", "-b", "msl:" + manifest + options, "--cases", lines});
  }
};

TEST(Msl, TheExamplePassesTheLinesOfItsSuite) {
  const Example example;
  const Ended ended = example.run();
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("12       12"));
  EXPECT_THAT(ended.out, HasSubstr("fused-sdpa "));
}

// Two dispatches over scratch memory, K and V by their strides, Q and the output in half, the output heads first.
constexpr const char* kTwoSteps = R"metal(
#include <metal_stdlib>
using namespace metal;
struct Params { int n_q, n_kv, n_head, group, d_k, d_v, k_key, k_head, v_key, v_head; float scale; };

kernel void scores(device const half* q [[buffer(0)]], device const half* k [[buffer(1)]], device float* s [[buffer(2)]],
                   constant Params& p [[buffer(3)]], uint3 at [[thread_position_in_grid]]) {
  const int key = at.x, head = at.y, query = at.z;
  if (key >= p.n_kv) return;
  float sum = 0.0f;
  for (int i = 0; i < p.d_k; ++i)
    sum += float(q[(query * p.n_head + head) * p.d_k + i]) * float(k[p.k_head * (head / p.group) + p.k_key * key + i]);
  s[(query * p.n_head + head) * p.n_kv + key] = sum * p.scale;
}

kernel void values(device const float* s [[buffer(0)]], device const half* v [[buffer(1)]], device half* out [[buffer(2)]],
                   constant Params& p [[buffer(4)]], uint3 at [[thread_position_in_grid]]) {
  const int column = at.x, head = at.y, query = at.z;
  if (column >= p.d_v) return;
  device const float* row = s + (query * p.n_head + head) * p.n_kv;
  float most = -INFINITY, sum = 0.0f, o = 0.0f;
  for (int j = 0; j < p.n_kv; ++j) most = max(most, row[j]);
  for (int j = 0; j < p.n_kv; ++j) {
    const float w = precise::exp(row[j] - most);
    sum += w;
    o += w * float(v[p.v_head * (head / p.group) + p.v_key * j + column]);
  }
  out[(head * p.n_q + query) * p.d_v + column] = half(p.n_kv == 0 ? 0.0f : o / sum);
}
)metal";

constexpr const char* kTwoStepsManifest = R"toml(
name = "two-steps"
source = "two_steps.metal"
[supports]
kv = ["f16"]
features = ["gqa", "d_v"]
[buffers]
q = {tensor = "q", type = "f16", layout = ["n_q", "n_head", "d_k"]}
k = {tensor = "k"}
v = {tensor = "v"}
out = {tensor = "out", type = "f16", layout = ["n_head", "n_q", "d_v"]}
scores = {scratch = "4 * n_q * n_head * n_kv"}
[buffers.params]
constants = ["int n_q", "int n_kv", "int n_head", "int n_head / n_head_kv", "int d_k", "int d_v", "int k_stride_n_kv",
             "int k_stride_n_head_kv", "int v_stride_n_kv", "int v_stride_n_head_v", "float scale"]
[[dispatch]]
kernel = "scores"
when = "n_kv > 0"
threadgroups = ["ceil_div(n_kv, 32)", "n_head", "n_q"]
threads = [32]
buffers = ["q", "k", "scores", "params"]
[[dispatch]]
kernel = "values"
threadgroups = ["ceil_div(d_v, 32)", "n_head", "n_q"]
threads = [32]
buffers = ["scores", "v", "out", "", "params"]
[contract]
scores = "f32"
tile = "max(n_kv, 1)"
)toml";

TEST(Msl, SeveralDispatchesScratchStridesAndHalvesPass) {
  const ScratchDir dir;
  dir.file("two_steps.metal", kTwoSteps);
  const std::string backend = "msl:" + dir.file("two_steps.toml", kTwoStepsManifest);
  const Ended ended =
      attest({"run", "-b", backend, "--case", "flash_attn_ext d_k=48 d_v=40 n_head=4 n_head_kv=2 n_q=5 n_kv=70",
              "--case", "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=33 layout=0213+cache:64+pad:8 poison=gaps:nan",
              "--case", "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=0"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("        3        3"));
}

TEST(Msl, AnOutputInHalfThatTheManifestCallsF32Fails) {
  const ScratchDir dir;
  std::string metal = kTwoSteps, manifest = kTwoStepsManifest;
  metal.replace(metal.find("device half* out"), 16, "device float* out");
  manifest.replace(manifest.find("tensor = \"out\", type = \"f16\""), 28, "tensor = \"out\", type = \"f32\"");
  dir.file("two_steps.metal", metal);
  const Ended ended = attest({"run", "-b", "msl:" + dir.file("two_steps.toml", manifest), "--case",
                              "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=33"});
  EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("CONTRACT"));
  EXPECT_THAT(ended.out, HasSubstr("output rounded to f16"));
}

TEST(Msl, TheExampleHasNoRace) {
  const Ended ended = attest({"race", "-b", "msl:" + kExamples + "fused_sdpa.toml", "--orders", "4", "--case",
                              "flash_attn_ext d=64 n_head=2 n_q=9 n_kv=70 kv=f16 mask=causal"});
  EXPECT_EQ(ended.code, 0) << ended.out << ended.err;
}

TEST(Msl, AMaskAddedBeforeTheScaleFails) {
  Example example;
  example.change("      z += product;", "      z = (z + product / p.scale) * p.scale;");
  const Ended ended = example.run();
  EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("FAIL "));
  EXPECT_THAT(ended.out, HasSubstr("suspected: mask"));
}

TEST(Msl, AWrongLayoutInTheManifestFails) {
  Example example;
  example.change(R"("n_head_kv", "d_k", "n_kv"])", R"("n_head_kv", "n_kv", "d_k"])");
  EXPECT_EQ(example.run().code, 1);
}

TEST(Msl, AGridThatLeavesOutTheLastQueriesIsUnwritten) {
  Example example;
  example.change("ceil_div(n_q, 4)", "max(n_q / 4, 1)");
  const Ended ended = example.run();
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out, HasSubstr("UNWRITTEN"));
}

TEST(Msl, TooLittleThreadgroupMemoryIsSeen) {
  Example example;
  example.change("4 * 4 * d_k", "3 * 4 * d_k");
  const Ended ended = example.run();
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out, HasSubstr("THREADGROUP-OOB"));
}

TEST(Msl, AMissingBarrierIsARace) {
  Example example;
  example.change("  threadgroup_barrier(mem_flags::mem_threadgroup);\n", "");
  const Ended ended = example.run(",model=tsan");
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.out, HasSubstr("RACE"));
  EXPECT_THAT(ended.out, HasSubstr("fused_sdpa.metal:"));
}

TEST(Msl, WhatTheManifestDoesNotHaveIsUnsupportedWithItsReason) {
  Example example;
  example.lines = example.dir.file("other.txt",
                                   "flash_attn_ext d=64 n_kv=40 kv=bf16\nflash_attn_ext d=64 n_kv=40 sinks=1\n"
                                   "flash_attn_ext d=256 n_kv=40\n");
  const Ended ended = example.run();
  EXPECT_EQ(ended.code, 3) << "nothing was compared";
  EXPECT_THAT(ended.out, HasSubstr("fused-sdpa: its manifest has no K of bf16"));
  EXPECT_THAT(ended.out, HasSubstr("fused-sdpa: the problem has sinks, and its manifest no"));
  EXPECT_THAT(ended.out, HasSubstr("fused-sdpa: its manifest asks for d_k <= 128"));
}

TEST(Msl, MistakesInManifestAndKernelNameFileAndLine) {
  Example example;
  example.change("\"u32 n_q\"", "\"u32 n_g\"");
  const Ended name = example.run();
  EXPECT_EQ(name.code, 2);
  EXPECT_THAT(name.err, HasSubstr("changed.toml:40:8: buffers.params.constants"));
  EXPECT_THAT(name.err, HasSubstr("did you mean 'n_q'?"));
  example.change("float product = 0.0f;", "double product = 0.0f;");
  const Ended kernel = example.run();
  EXPECT_EQ(kernel.code, 2);
  EXPECT_THAT(kernel.err, HasSubstr("fused_sdpa.metal:"));
  EXPECT_THAT(kernel.err, HasSubstr("double"));
  example.change("fused_sdpa_{k_type}", "fused_sdba_{k_type}");
  const Ended missing = example.run();
  EXPECT_EQ(missing.code, 1) << "found out where a case asks for it";
  EXPECT_THAT(missing.out, HasSubstr("ERROR"));
}

struct ManifestFault {
  const char *text, *instead, *verdict, *says;
};

// What the manifest promises and the kernel does not find, or does against it: a verdict, whatever lies in memory.
TEST(Msl, AManifestThatDoesNotFitItsKernelIsSaidOfEveryCase) {
  for (const ManifestFault& f : {
           ManifestFault{"  \"f32 scale\",\n", "", "ERROR", "takes 32 bytes at buffer(4), it is given 28"},
           ManifestFault{"1 = \"bool has_mask\"\n", "", "ERROR", "needs function constant 1 ('has_mask')"},
           ManifestFault{"0 = \"int d_k\"", "0 = \"u8 d_k + 256\"", "ERROR", "function_constants.0:"},
           ManifestFault{"tile = 32", "tile = \"32 / (n_q - 5)\"", "ERROR", "contract.tile:"},
           ManifestFault{"tile = 32", "chunks = \"n_kv - 20\"", "ERROR", "contract.chunks:"},
           ManifestFault{"  device float* answer", "  const_cast<device float*>(q)[0] = 7.0f;\n  device float* answer",
                         "INPUT-WRITTEN", "the packed q, which is an input"},
       }) {
    Example example;
    example.change(f.text, f.instead);
    const Ended ended = attest({"run", "-b", "msl:" + example.manifest, "--case",
                                "flash_attn_ext d=64 n_head=2 n_q=5 n_kv=20 kv=f16"});
    EXPECT_EQ(ended.code, 1) << f.instead << ended.out << ended.err;
    EXPECT_THAT(ended.out, HasSubstr(f.verdict)) << f.instead;
    EXPECT_THAT(ended.out, HasSubstr(f.says)) << f.instead;
  }
}

}  // namespace
}  // namespace attest::testing
