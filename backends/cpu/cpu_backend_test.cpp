#include "backends/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "backends/cpu/naive_attention.h"
#include "backends/cpu/test_targets.h"
#include "cases/case.h"
#include "cases/inputs.h"

namespace attest {
namespace {

std::unique_ptr<Backend> backend(const std::string& name) {
  const auto spec = BackendSpec::parse(name);
  auto made = make_backend(*spec, {});
  EXPECT_TRUE(made) << (made ? "" : made.error().text());
  return made ? std::move(*made) : nullptr;
}

Case a_case(const std::string& line) {
  auto parsed = parse_case(line);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().text());
  return parsed ? *parsed : Case{};
}

std::vector<float> answer(Backend& kernel, const AttentionInputs& inputs, const MutableTensorView& out) {
  EXPECT_TRUE(kernel.supports(*inputs.problem).yes) << kernel.supports(*inputs.problem).reason;
  const Outcome outcome = kernel.run(inputs, out);
  EXPECT_TRUE(outcome.ok) << outcome.error;
  std::vector<float> values(static_cast<std::size_t>(out.elements()));
  std::memcpy(values.data(), out.data, values.size() * sizeof(float));
  return values;
}
std::vector<float> answer(Backend& kernel, const std::string& line) {
  const OwnedInputs owned(a_case(line));
  return answer(kernel, owned.inputs(), owned.output());
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A copy of a tensor whose elements (blocks) lie three apart, with NaN bytes in between.
struct Strided {
  explicit Strided(const TensorView& t) : view(t) {
    const std::int64_t block = info(t.dtype).block_bytes, per_row = t.ne[0] / info(t.dtype).block;
    view.nb[0] = 3 * block;
    for (std::size_t i = 1; i < 4; ++i) view.nb[i] = (i == 1 ? per_row * view.nb[0] : view.nb[i - 1] * t.ne[i - 1]);
    memory.assign(static_cast<std::size_t>(view.nb[3] * t.ne[3]), std::byte{0xff});
    view.data = memory.data();
    for (std::int64_t i3 = 0; i3 < t.ne[3]; ++i3) {
      for (std::int64_t i2 = 0; i2 < t.ne[2]; ++i2) {
        for (std::int64_t i1 = 0; i1 < t.ne[1]; ++i1) {
          for (std::int64_t b = 0; b < per_row; ++b) {
            std::memcpy(memory.data() + view.offset(i1, i2, i3) + b * view.nb[0], t.row(i1, i2, i3) + b * t.nb[0],
                        static_cast<std::size_t>(block));
          }
        }
      }
    }
  }
  TensorView view;
  std::vector<std::byte> memory;
};

// Every kernel, on every given instruction set, against one fp64 computation.
void expect_attention(const std::vector<std::string>& names, const std::vector<std::int64_t>& targets,
                      const std::string& line) {
  const OwnedInputs owned(a_case(line));
  const AttentionProblem& p = *owned.inputs().problem;
  std::vector<cpu::NaiveRow> want;
  for (std::int64_t seq = 0; seq < p.n_seq; ++seq) {
    for (std::int64_t query = 0; query < p.n_q; ++query) {
      for (std::int64_t head = 0; head < p.n_head; ++head) {
        want.push_back(cpu::naive_row(owned.inputs(), seq, head, query));
      }
    }
  }
  for (const std::int64_t target : targets) {
    const cpu::RestrictTo restriction(target);
    for (const std::string& name : names) {
      const auto kernel = backend(name);
      const std::vector<float> got = answer(*kernel, owned.inputs(), owned.output());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const auto d_v = static_cast<std::size_t>(p.d_v);
        const double value = want[i / d_v].value[i % d_v], tolerance = want[i / d_v].tolerance[i % d_v];
        ASSERT_TRUE(std::fabs(got[i] - value) <= tolerance)
            << name << " " << kernel->build_id() << ": " << line << "\nrow " << i / d_v << " of " << want.size()
            << " (heads fastest), column " << i % d_v << ": " << got[i] << ", not " << value << " +- " << tolerance;
      }
    }
  }
}

const char* const kNames[] = {"cpu:vec", "cpu:tiled", "cpu:split", "cpu:split,threads=7", "cpu"};
const char* const kKernels[] = {"cpu:vec", "cpu:tiled", "cpu:split"};

const char* const kLines[] = {
    "flash_attn_ext d=64 n_q=1 n_kv=64",
    "flash_attn_ext d=64 n_q=3 n_kv=7 kv=f32 seed=1",
    "flash_attn_ext d=128 n_head=8 n_head_kv=2 n_head_v=4 n_q=9 n_kv=130 n_seq=4 n_seq_kv=2 kv=bf16",
    "flash_attn_ext d_k=192 d_v=128 n_head=3 n_head_kv=1 n_q=70 n_kv=65 mask=causal",
    "flash_attn_ext d_k=40 d_v=3 kv=f32 n_head=2 n_q=66 n_kv=257 mask=causal:top-left+f32",
    "flash_attn_ext d=1 kv=f32 n_q=2 n_kv=5",
    "flash_attn_ext d=72 n_head=2 n_q=5 n_kv=129 softcap=2 data=near_softcap mask=random:3",
    "flash_attn_ext d=64 n_head=12 n_q=4 n_kv=100 max_bias=8 mask=causal+random",
    "flash_attn_ext d=64 n_head=4 n_q=17 n_kv=200 sinks=uniform:10 mask=blocks:16",
    "flash_attn_ext d=64 n_head=4 n_q=17 n_kv=200 sinks=normal:2 softcap=10 mask=window:20 max_bias=4",
    "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=50 sinks=-inf",
    "flash_attn_ext d=64 n_head=4 n_seq=2 n_q=65 n_kv=130 mask=blocks:8+per-head+per-seq",
    "flash_attn_ext d=64 n_head=4 n_seq=2 n_q=5 n_kv=130 mask=random+f32+per-head",
    "flash_attn_ext d=64 n_q=12 n_kv=90 mask=dead:every-third+causal sinks=1",
    "flash_attn_ext d=64 n_q=12 n_kv=90 mask=dead:all",
    "flash_attn_ext d=64 n_q=12 n_kv=300 mask=finite:-65504",
    "flash_attn_ext d=64 n_q=67 n_kv=1000 data=rising:300",
    "flash_attn_ext d=64 n_q=3 n_kv=300 data=falling:100",
    "flash_attn_ext d=64 n_q=3 n_kv=300 data=onehot",
    "flash_attn_ext d=64 n_q=3 n_kv=300 data=outlier scale=0",
    "flash_attn_ext d=64 n_q=9 n_kv=300 scale=-0.125",
    "flash_attn_ext d=64 kv=f32 n_q=9 n_kv=64 data=huge:1e5 mask=used:30",
    "flash_attn_ext d=128 n_head=4 n_head_kv=2 n_q=9 n_kv=70 layout=0213+cache:128+pad:32+offset:4 kv=q8_0 poison=nan",
    "flash_attn_ext d=64 n_q=9 n_kv=70 kv=f32 layout=offset:2 poison=nan",
    "flash_attn_ext d=64 n_q=9 n_kv=70 layout=offset:6 poison=nan mask=causal",
    "flash_attn_ext d=64 n_head=4 n_head_kv=2 n_q=9 n_kv=70 layout=0213+kt+cache:80 mask=causal poison=nan",
    "flash_attn_ext d=64 n_q=67 n_kv=70 kv=q8_0 layout=kt+mask-rows:3+mask-cols:5+tail:6 mask=random poison=nan",
    "flash_attn_ext d_k=576 d_v=512 n_head=4 n_head_kv=1 n_q=2 n_kv=40 layout=v-in-k",
};

TEST(CpuBackend, AgreesWithFp64OverAllFeaturesOnEveryInstructionSet) {
  const std::vector<std::int64_t> targets = cpu::all_targets();
  ASSERT_GE(targets.size(), 1U);
  for (const char* line : kLines) {
    expect_attention({std::begin(kNames), std::end(kNames)}, targets, line);
    if (HasFatalFailure()) return;
  }
}

TEST(CpuBackend, DoesEveryPairOfTypes) {
  for (int k = 0; k < kDTypeCount; ++k) {
    for (int v = 0; v < kDTypeCount; ++v) {
      const std::string types = " k=" + std::string(info(DType(k)).name) + " v=" + std::string(info(DType(v)).name);
      expect_attention({std::begin(kKernels), std::end(kKernels)}, {cpu::all_targets().front()},
                       "flash_attn_ext d=128 n_head=2 n_head_kv=1 n_q=1 n_kv=33" + types);
      if (HasFatalFailure()) return;
    }
  }
}

// Dimension 0 strided: every tensor is transposed element by element (block by block), with NaN in between.
TEST(CpuBackend, ReadsTransposedTensors) {
  for (const char* types : {"kv=f32", "kv=f16", "k=q8_0 v=q4_0"}) {
    const OwnedInputs owned(
        a_case(std::string("flash_attn_ext d=64 n_head=2 n_q=5 n_kv=70 mask=causal sinks=1 ") + types));
    Strided q(owned.inputs().q), k(owned.inputs().k), v(owned.inputs().v), mask(owned.inputs().mask);
    AttentionInputs strided = owned.inputs();
    strided.q = q.view;
    strided.k = k.view;
    strided.v = v.view;
    strided.mask = mask.view;
    for (const char* name : {"cpu:tiled", "cpu:split", "cpu:vec"}) {
      const auto kernel = backend(name);
      const auto plain = answer(*kernel, owned.inputs(), owned.output());
      const auto got = answer(*kernel, strided, owned.output());
      // The vec and split kernels dot f16 rows in place, others decoded: the same sums in the same lanes.
      EXPECT_TRUE(same_bits(plain, got)) << name << " " << types;
    }
  }
}

TEST(CpuBackend, HiddenBytesChangeNothing) {
  for (const char* what :
       {"mask=used:40", "mask=causal", "mask=blocks:4 sinks=2", "mask=left:65 softcap=5", "mask=window:9+random"}) {
    for (const char* name : kKernels) {
      const auto kernel = backend(name);
      const std::string line = std::string("flash_attn_ext d=72 n_head=2 n_q=6 n_kv=150 ") + what;
      const auto plain = answer(*kernel, line);
      for (const char* poison : {" poison=nan", " poison=inf", " poison=60000", " poison=zero", " poison=random"}) {
        EXPECT_TRUE(same_bits(plain, answer(*kernel, line + poison))) << name << ": " << line << poison;
      }
    }
  }
}

// A key that other rows see, but not this one: poisoned rows must not leak within a tile either.
TEST(CpuBackend, KeysHiddenFromOneRowOnlyDoNotReachIt) {
  for (const char* name : kKernels) {
    const auto kernel = backend(name);
    OwnedInputs owned(a_case("flash_attn_ext d=64 kv=f32 n_q=70 n_kv=70 mask=causal"));
    const auto plain = answer(*kernel, owned.inputs(), owned.output());
    const float nan = std::nanf("");
    for (int key : {30, 66}) {
      for (std::byte* tensor : {owned.buffers().k, owned.buffers().v}) std::memcpy(tensor + key * 64 * 4, &nan, 4);
    }
    const auto got = answer(*kernel, owned.inputs(), owned.output());
    EXPECT_EQ(0, std::memcmp(plain.data(), got.data(), 30 * 64 * sizeof(float))) << name;
    for (std::size_t i = 30 * 64; i < got.size(); ++i) {
      ASSERT_TRUE(std::isnan(got[i])) << name << ": a NaN that row " << i / 64 << " sees is laundered in column "
                                      << i % 64;
    }
  }
}

TEST(CpuBackend, NanInQOrMaskOrSinkComesOut) {
  for (const char* name : kKernels) {
    const auto kernel = backend(name);
    const float nan = std::nanf("");
    for (int tensor = 0; tensor < 3; ++tensor) {
      OwnedInputs owned(a_case("flash_attn_ext d=64 n_q=3 n_kv=70 mask=random+f32 sinks=1"));
      std::memcpy(tensor == 0   ? owned.buffers().q
                  : tensor == 1 ? owned.buffers().mask
                                : owned.buffers().sinks,
                  &nan, 4);
      const auto got = answer(*kernel, owned.inputs(), owned.output());
      for (std::size_t e = 0; e < 64; ++e) EXPECT_TRUE(std::isnan(got[e])) << name << " tensor " << tensor;
      EXPECT_EQ(tensor == 2, std::isnan(got[64])) << name << " tensor " << tensor;
    }
  }
}

TEST(CpuBackend, DeadRowsAndNoKeysGiveZero) {
  for (const char* name : kNames) {
    const auto kernel = backend(name);
    for (const char* line :
         {"flash_attn_ext d=64 n_q=9 n_kv=70 mask=dead:all poison=nan", "flash_attn_ext d=64 n_q=9 n_kv=0",
          "flash_attn_ext d=64 n_q=1 n_kv=1500 mask=dead:all sinks=3 poison=nan",
          "flash_attn_ext d=64 n_q=2 n_kv=0 sinks=3"}) {
      for (const float value : answer(*kernel, line)) ASSERT_EQ(0.0F, value) << name << ": " << line;
    }
  }
}

TEST(CpuBackend, OneKeyReturnsItsValueExactly) {
  for (const char* name : kNames) {
    const auto kernel = backend(name);
    for (const char* rest : {"n_kv=1 kv=f32", "n_kv=1 kv=q8_0 softcap=30", "n_kv=150 kv=f32 mask=used:1 poison=nan"}) {
      const OwnedInputs owned(a_case(std::string("flash_attn_ext d=64 n_head=2 n_q=9 ") + rest));
      const auto got = answer(*kernel, owned.inputs(), owned.output());
      for (std::size_t i = 0; i < got.size(); ++i) {
        const auto column = static_cast<std::int64_t>(i % 64), head = static_cast<std::int64_t>(i / 64 % 2);
        ASSERT_EQ(element(owned.inputs().v, column, 0, head, 0), got[i]) << name << ": " << rest;
      }
    }
  }
}

TEST(CpuBackend, ThreadsDoNotChangeVecAndTiled) {
  const char* line = "flash_attn_ext d=72 n_head=6 n_head_kv=2 n_seq=2 n_q=70 n_kv=90 mask=blocks:8 sinks=1 threads=";
  for (const char* name : {"cpu:vec", "cpu:tiled"}) {
    const auto kernel = backend(name);
    const auto one = answer(*kernel, std::string(line) + "1");
    EXPECT_TRUE(same_bits(one, answer(*kernel, std::string(line) + "8"))) << name;
  }
  const auto split = backend("cpu:split,threads=5");
  EXPECT_TRUE(same_bits(answer(*split, std::string(line) + "0"), answer(*split, std::string(line) + "0")));
}

TEST(CpuBackend, ScratchCarriesNothingFromCallToCall) {
  const char* line = "flash_attn_ext d=72 n_head=2 n_q=5 n_kv=90 mask=causal softcap=3";
  for (const char* name : kKernels) {
    const auto fresh = answer(*backend(name), line);
    const auto used = backend(name);
    answer(*used, "flash_attn_ext d=128 n_q=70 n_kv=200 kv=f32 data=v_scale:1e30");
    EXPECT_TRUE(same_bits(fresh, answer(*used, line))) << name;
  }
}

TEST(CpuBackend, VskipLeavesOutWhatWeighsLessAndNothingElse) {
  const auto plain = backend("cpu:vec"), skips = backend("cpu:vec,vskip=1e-4");
  EXPECT_EQ("cpu:vec,vskip=1e-4", skips->name());
  const std::string shape = "flash_attn_ext d=64 n_head=2 n_q=3 n_kv=300 data=";
  EXPECT_FLOAT_EQ(1e-4F, static_cast<float>(skips->contract(a_case(shape + "flat").problem).drop));
  EXPECT_EQ(0, plain->contract(a_case(shape + "flat").problem).drop);
  for (const char* above : {"flat", "spike_first:9.1", "normal:0.5"}) {
    EXPECT_TRUE(same_bits(answer(*plain, shape + above), answer(*skips, shape + above))) << above;
  }
  // A needle first leaves every other key below the threshold: what comes out is its V times its weight.
  const auto all = answer(*plain, shape + "spike_first:9.31+v_const"),
             one = answer(*skips, shape + "spike_first:9.31+v_const");
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_NEAR(1, all[i], 1e-6);
    EXPECT_NEAR(1 / (1 + 299 * std::exp(-9.31)), one[i], 3e-3);
  }
  for (const char* wrong : {"cpu:tiled,vskip=1e-4", "cpu,vskip=1e-4", "cpu:vec,vskip=1", "cpu:vec,vskip=x"}) {
    const auto spec = BackendSpec::parse(wrong);
    ASSERT_TRUE(spec.has_value()) << wrong;
    EXPECT_FALSE(make_backend(*spec, {}).has_value()) << wrong;
  }
}

TEST(CpuBackend, PicksAKernelAndSaysWhichInTheContract) {
  const auto pick = backend("cpu");
  const auto path = [&](const char* line) { return std::string(pick->contract(a_case(line).problem).path_name()); };
  EXPECT_EQ("vec", path("flash_attn_ext n_q=1 n_kv=64"));
  EXPECT_EQ("vec", path("flash_attn_ext n_q=4 n_kv=4096"));
  EXPECT_EQ("split", path("flash_attn_ext n_q=1 n_kv=4096"));
  EXPECT_EQ("tiled", path("flash_attn_ext n_q=64 n_kv=64"));
}

TEST(CpuBackend, ContractsFollowThreads) {
  const auto split = backend("cpu:split,threads=3");
  EXPECT_EQ("cpu:split,threads=3", split->name());
  EXPECT_EQ(3, split->contract(a_case("flash_attn_ext n_kv=64").problem).chunks);
  EXPECT_EQ(2, split->contract(a_case("flash_attn_ext n_kv=64 threads=1").problem).chunks);
  EXPECT_EQ(1, backend("cpu:tiled")->contract(a_case("flash_attn_ext n_kv=64 threads=4").problem).chunks);
  EXPECT_EQ(64, backend("cpu:tiled")->contract(a_case("flash_attn_ext n_kv=64").problem).tile);
}

}  // namespace
}  // namespace attest
