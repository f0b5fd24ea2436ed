// The backend on a real ggml build: ATTEST_GGML_DIR, else the newest under build/ggml. Each test is a process of its
// own under ctest, so what aborts is one test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "backends/ggml/backend.h"
#include "backends/ggml/loader.h"
#include "cases/case.h"
#include "cases/inputs.h"

namespace attest {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path find_ggml() {
  if (const char* named = std::getenv("ATTEST_GGML_DIR")) return named;
  fs::path newest;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(fs::path(ATTEST_SOURCE_DIR) / "build" / "ggml", none)) {
    newest = std::max(newest, entry.path());
  }
  return newest;
}

Case parsed(const std::string& line) {
  auto c = parse_case("flash_attn_ext " + line);
  EXPECT_TRUE(c) << (c ? "" : c.error().text());
  return c ? *c : Case{};
}

// O of one row in fp64, from the bytes the backend gets.
std::vector<double> plain_row(const AttentionInputs& in, std::int64_t s, std::int64_t h, std::int64_t i) {
  const AttentionProblem& p = *in.problem;
  const std::int64_t hk = h / (p.n_head / p.n_head_kv), hv = h / (p.n_head / p.n_head_v);
  const std::int64_t sk = s / (p.n_seq / p.n_seq_kv);
  std::vector<double> z(static_cast<std::size_t>(p.n_kv)), out(static_cast<std::size_t>(p.d_v));
  double most = in.sinks.present() ? double{element(in.sinks, h, 0, 0, 0)} : -std::numeric_limits<double>::infinity();
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    double x = 0;
    for (std::int64_t e = 0; e < p.d_k; ++e)
      x += double{element(in.q, e, i, h, s)} * double{element(in.k, e, j, hk, sk)};
    x *= double{p.scale};
    if (p.softcap != 0) x = double{p.softcap} * std::tanh(x / double{p.softcap});
    if (in.mask.present()) {
      x += alibi_slope(p, h) * double{element(in.mask, j, i, h % in.mask.ne[2], s % in.mask.ne[3])};
    }
    z[static_cast<std::size_t>(j)] = x;
    most = std::max(most, x);
  }
  if (std::isinf(most)) return out;
  double sum = in.sinks.present() ? std::exp(double{element(in.sinks, h, 0, 0, 0)} - most) : 0;
  for (std::int64_t j = 0; j < p.n_kv; ++j) {
    const double weight = std::exp(z[static_cast<std::size_t>(j)] - most);
    sum += weight;
    for (std::int64_t e = 0; weight > 0 && e < p.d_v; ++e) {
      out[static_cast<std::size_t>(e)] += weight * double{element(in.v, e, j, hv, sk)};
    }
  }
  for (double& o : out) o /= sum;
  return out;
}

// Integers that every rounding of Q keeps: in halves, and in blocks of 32 whose largest is 127 (a scale of 1).
void make_q_exact(const OwnedInputs& in) {
  const TensorPlan& q = in.plan().q;
  for (std::int64_t s = 0; s < q.shape.ne[3]; ++s) {
    for (std::int64_t h = 0; h < q.shape.ne[2]; ++h) {
      for (std::int64_t i = 0; i < q.shape.ne[1]; ++i) {
        auto* row = reinterpret_cast<float*>(in.buffers().q + q.offset + q.shape.offset(i, h, s));
        for (std::int64_t e = 0; e < q.shape.ne[0]; ++e) {
          row[e] = e % 32 == 5 ? 127.0F : static_cast<float>((7 * e + 3 * i + 5 * h + 11 * s) % 17 - 8);
        }
      }
    }
  }
}

class RealGgml : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = find_ggml();
    if (dir_.empty()) GTEST_SKIP() << "no ggml build: set ATTEST_GGML_DIR or run ci/fetch-ggml";
  }
  std::unique_ptr<Backend> make(const std::string& text) {
    auto spec = BackendSpec::parse(text);
    EXPECT_TRUE(spec);
    auto backend = make_ggml_backend(*spec, {{{"real", dir_}}});
    EXPECT_TRUE(backend) << (backend ? "" : backend.error().text());
    return backend ? std::move(*backend) : nullptr;
  }
  // Split-KV, tiles and the reference came together; releases before that have one path.
  bool has_paths() {
    const auto library = ggml::Library::open(dir_);
    const auto cpu = library ? (*library)->device("CPU", "") : Unexpected(library.error());
    return cpu && cpu->set_use_ref != nullptr;
  }
  Error make_error(const std::string& text) {
    auto backend = make_ggml_backend(*BackendSpec::parse(text), {{{"real", dir_}}});
    EXPECT_FALSE(backend);
    return backend ? Error{} : backend.error();
  }
  // Largest deviation from fp64 over sampled rows; NaN where the backend answers NaN.
  static double deviation(Backend& backend, const std::string& line) {
    const Case c = parsed(line);
    const Support support = backend.supports(c.problem);
    EXPECT_TRUE(support.yes) << line << ": " << support.reason;
    if (!support.yes) return std::numeric_limits<double>::quiet_NaN();
    const OwnedInputs in(c);
    make_q_exact(in);
    const Outcome outcome = backend.run(in.inputs(), in.output());
    EXPECT_TRUE(outcome.ok) << outcome.error;
    const AttentionProblem& p = c.problem;
    const std::int64_t rows = p.n_q * p.n_head * p.n_seq, step = rows / 7 + 1;
    double worst = 0;
    for (std::int64_t r = 0; r < rows; r += step) {
      const std::int64_t s = r / (p.n_q * p.n_head), h = r / p.n_q % p.n_head, i = r % p.n_q;
      const auto expected = plain_row(in.inputs(), s, h, i);
      const auto* got = reinterpret_cast<const float*>(in.output().row(h, i, s));
      for (std::size_t e = 0; e < expected.size(); ++e) {
        const double error = std::abs(double{got[e]} - expected[e]);
        if (!(error <= worst)) worst = error;
      }
    }
    return worst;
  }
  fs::path dir_;
};

struct Shape {
  const char* line;
  const char* path;
  double tolerance;
};

constexpr double kF32 = 5e-6, kF16 = 4e-3;

class RealGgmlShape : public RealGgml, public ::testing::WithParamInterface<Shape> {};

TEST_P(RealGgmlShape, AnswersAsItsPathPromises) {
  auto backend = make("ggml:CPU");
  ASSERT_TRUE(backend);
  const Case c = parsed(GetParam().line);
  if (const Support support = backend->supports(c.problem); !support.yes) GTEST_SKIP() << support.reason;
  EXPECT_EQ(backend->contract(c.problem).path_name(), has_paths() ? GetParam().path : "vec");
  EXPECT_LE(deviation(*backend, GetParam().line), has_paths() ? GetParam().tolerance : kF16);
}

INSTANTIATE_TEST_SUITE_P(
    Paths, RealGgmlShape,
    ::testing::Values(
        Shape{"d=64 n_head=4 n_head_kv=2 n_q=3 n_kv=113 scale=0.01 mask=causal", "vec", kF16},
        Shape{"d=64 n_head=4 n_head_kv=2 n_q=3 n_kv=113 scale=0.01 kv=q8_0 sinks=normal", "vec", kF32},
        Shape{"d=64 n_head=6 n_head_kv=3 n_q=5 n_kv=70 scale=0.01 k=q4_1 v=f32 mask=random max_bias=8", "vec", kF32},
        Shape{"d=96 n_head=2 n_q=1 n_kv=33 scale=0.01 kv=bf16 softcap=5 n_seq=2 n_seq_kv=2", "vec", kF32},
        Shape{"d_k=192 d_v=128 n_head=2 n_q=1 n_kv=600 scale=0.005 kv=f32 sinks=normal", "split", kF32},
        Shape{"d=64 n_head=2 n_q=1 n_kv=1025 scale=0.01 mask=used:700", "split", kF16},
        Shape{"d=64 n_head=4 n_head_kv=2 n_q=75 n_kv=113 scale=0.01 mask=causal sinks=normal", "tiled", kF32},
        Shape{"d=128 n_head=2 n_q=64 n_kv=130 scale=0.01 kv=f32 mask=random softcap=5 n_seq=2 n_seq_kv=2", "tiled",
              kF32},
        Shape{"d=64 n_head=4 n_head_kv=2 n_q=70 n_kv=100 scale=0.01 layout=0213", "tiled", kF32}));

TEST_F(RealGgml, RefAndUnfusedAnswerTheSameQuestion) {
  if (!has_paths()) GTEST_SKIP() << "a release before both";
  for (const char* form : {"ggml:CPU,ref", "ggml:CPU,unfused"}) {
    auto backend = make(form);
    ASSERT_TRUE(backend);
    EXPECT_EQ(backend->name(), form);
    for (const char* rest : {"kv=f32 mask=causal sinks=normal", "kv=q5_0 softcap=5",
                             "k=q8_0 v=f32 mask=random max_bias=8", "kv=bf16 layout=0213"}) {
      const std::string line = std::string("d=64 n_head=4 n_head_kv=2 n_q=65 n_kv=130 scale=0.01 ") + rest;
      const bool bf16_weights = std::strcmp(form, "ggml:CPU,unfused") == 0 && std::strncmp(rest, "kv=bf16", 7) == 0;
      EXPECT_LE(deviation(*backend, line), bf16_weights ? 2e-2 : kF32) << form << " " << line;
    }
  }
}

TEST_F(RealGgml, SplitsOverThreadsFrom512Keys) {
  auto backend = make("ggml:CPU");
  ASSERT_TRUE(backend);
  const auto output = [&](const std::string& line) {
    const Case c = parsed(line);
    const OwnedInputs in(c);
    EXPECT_TRUE(backend->run(in.inputs(), in.output()).ok);
    return std::string(reinterpret_cast<const char*>(in.output().data), static_cast<std::size_t>(in.plan().out.bytes));
  };
  EXPECT_EQ(output("d=64 n_q=1 n_kv=511 threads=1"), output("d=64 n_q=1 n_kv=511 threads=2"));
  const bool same = output("d=64 n_q=1 n_kv=512 threads=1") == output("d=64 n_q=1 n_kv=512 threads=2");
  EXPECT_EQ(same, !has_paths());
}

TEST_F(RealGgml, TakesEveryPairOfTypesItSaysYesTo) {
  int yes = 0;
  for (const char* form : {"ggml:CPU", "ggml:CPU,unfused"}) {
    auto backend = make(form);
    ASSERT_TRUE(backend);
    for (int k = 0; k < kDTypeCount; ++k) {
      for (int v = 0; v < kDTypeCount; ++v) {
        for (const char* shape : {"n_q=1 n_kv=33", "n_q=65 n_kv=70 mask=causal sinks=normal"}) {
          const std::string line = "d=128 n_head=2 scale=0.01 k=" + std::string(info(static_cast<DType>(k)).name) +
                                   " v=" + std::string(info(static_cast<DType>(v)).name) + " " + shape;
          if (!backend->supports(parsed(line).problem).yes) continue;
          ++yes;
          EXPECT_LE(deviation(*backend, line), 2e-2) << form << " " << line;
        }
      }
    }
  }
  EXPECT_GE(yes, has_paths() ? 2 * 2 * 81 : 64);  // q1_0 and q2_0 are recent, f32 was once an abort
}

TEST_F(RealGgml, ReadsInputsFromPagesItMayNotWrite) {
  auto backend = make("ggml:CPU");
  ASSERT_TRUE(backend);
  const Case c = parsed("d=64 n_head=4 n_head_kv=2 n_q=3 n_kv=100 mask=causal sinks=normal layout=0213");
  if (const Support support = backend->supports(c.problem); !support.yes) GTEST_SKIP() << support.reason;
  const OwnedInputs in(c);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  // Each tensor ends at the end of its pages, as the runner lays them: no alignment beyond that of its type.
  const auto guarded = [&](TensorView view, const std::byte* from, const TensorPlan& plan) {
    const std::size_t bytes = static_cast<std::size_t>(plan.bytes), whole = (bytes + page - 1) / page * page;
    void* pages = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(pages, MAP_FAILED);
    std::byte* start = static_cast<std::byte*>(pages) + (whole - bytes);
    std::memcpy(start, from, bytes);
    EXPECT_EQ(mprotect(pages, whole, PROT_READ), 0);
    view.data = start + plan.offset;
    return view;
  };
  const InputBuffers& b = in.buffers();
  AttentionInputs there = in.inputs();
  there.q = guarded(there.q, b.q, in.plan().q);
  there.k = guarded(there.k, b.k, in.plan().k);
  there.v = guarded(there.v, b.v, in.plan().v);
  there.mask = guarded(there.mask, b.mask, in.plan().mask);
  there.sinks = guarded(there.sinks, b.sinks, in.plan().sinks);
  ASSERT_TRUE(backend->run(in.inputs(), in.output()).ok);
  std::vector<std::byte> second(static_cast<std::size_t>(in.plan().out.bytes));
  MutableTensorView out = in.output();
  out.data = second.data();
  ASSERT_TRUE(backend->run(there, out).ok);
  EXPECT_EQ(std::memcmp(second.data(), in.output().data, second.size()), 0);
}

TEST_F(RealGgml, TakesStridesOffsetsAndViews) {
  auto backend = make("ggml:CPU");
  ASSERT_TRUE(backend);
  for (const char* line : {"d=64 n_head=2 n_q=3 n_kv=40 kv=q8_0 scale=0.01 layout=cache:100",
                           "d=64 n_head=2 n_q=3 n_kv=40 kv=f32 scale=0.01 layout=pad:5",
                           "d=64 n_head=2 n_q=3 n_kv=40 k=f32 v=bf16 scale=0.01 layout=offset:2 mask=causal",
                           "d=64 n_head=2 n_q=65 n_kv=40 kv=f32 scale=0.01 layout=0213+heads:5+pad:3",
                           "d=64 n_head=2 n_q=3 n_kv=40 k=q5_0 v=q4_1 scale=0.01 layout=0213+pad:32+offset:6",
                           "d_k=96 d_v=64 n_head=4 n_head_kv=1 n_q=3 n_kv=40 kv=f32 scale=0.01 layout=v-in-k"}) {
    if (!has_paths() && std::strstr(line, "f32") != nullptr) continue;
    EXPECT_LE(deviation(*backend, line), kF32) << line;
  }
}

TEST_F(RealGgml, SaysWhyNotInsteadOfAborting) {
  auto fused = make("ggml:CPU");
  ASSERT_TRUE(fused);
  const auto reason = [&](const std::string& line) { return fused->supports(parsed(line).problem).reason; };
  EXPECT_THAT(reason("n_q=3 n_kv=8 mask=causal+f32"), HasSubstr("must be f16"));
  EXPECT_THAT(reason("n_seq=4 n_seq_kv=2 n_kv=8"), HasSubstr("broadcast"));
  EXPECT_THAT(reason("n_head=8 n_head_kv=4 n_head_v=2 n_kv=8"), HasSubstr("as many heads"));
  if (!has_paths()) return;
  auto unfused = make("ggml:CPU,unfused");
  ASSERT_TRUE(unfused);
  EXPECT_LE(
      deviation(*unfused, "d=64 scale=0.01 kv=f32 n_head=8 n_head_kv=4 n_head_v=2 n_seq=4 n_seq_kv=2 n_q=3 n_kv=8"),
      kF32);
}

TEST_F(RealGgml, NamesDevicesAndVariantsThereAre) {
  EXPECT_THAT(make_error("ggml:CPUU").text(), HasSubstr("it has CPU"));
  EXPECT_EQ(make_error("ggml:CPUU").kind, ErrorKind::input);
  EXPECT_THAT(make_error("ggml:CPU,variant=pentium").text(), HasSubstr("runnable here: "));
  auto library = ggml::Library::open(dir_);
  ASSERT_TRUE(library);
  for (const auto& variant : (*library)->cpu_variants()) {
    if (variant.score > 0 || variant.name.empty()) continue;
    EXPECT_THAT(make_error("ggml:CPU,variant=" + variant.name).message, HasSubstr("instructions this machine"));
  }
}

TEST_F(RealGgml, RefusesASecondBuildInTheSameProcess) {
  ASSERT_TRUE(make("ggml:CPU"));
  const auto files = ggml::find_build(dir_);
  ASSERT_TRUE(files);
  std::string name = (fs::temp_directory_path() / "attest-ggml-XXXXXX").string();
  const fs::path other = mkdtemp(name.data());
  const fs::path library_file = files->base.empty() ? files->registry : files->base;
  fs::copy_file(library_file, other / library_file.filename());
  const auto library = ggml::Library::open(other);
  fs::remove_all(other);
  ASSERT_FALSE(library);
  EXPECT_THAT(library.error().message, HasSubstr("needs a process of its own"));
}

TEST_F(RealGgml, ListsItsDevicesAndVariants) {
  const auto listings = ggml_listings({"", dir_});
  const auto listed = [&](const std::string& name) {
    return std::any_of(listings.begin(), listings.end(),
                       [&](const BackendListing& l) { return l.name == name && l.available; });
  };
  EXPECT_TRUE(listed("ggml:CPU"));
  EXPECT_TRUE(listed("ggml:CPU,unfused"));
}

}  // namespace
}  // namespace attest
