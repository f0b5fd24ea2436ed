#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>

#include "cases/dense_array.h"
#include "cases/file_io.h"
#include "cases/npy.h"
#include "harness/check/captured.h"
#include "harness/check/expected_subject.h"
#include "harness/mock_backend.h"
#include "harness/run/runner.h"
#include "reports/mock_run_listener.h"

namespace attest {
namespace {

using ::testing::_;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Invoke;
using ::testing::NiceMock;
using ::testing::Pair;
namespace fs = std::filesystem;
using Shape = std::vector<std::int64_t>;
constexpr float kHidden = -std::numeric_limits<float>::infinity();

// [sequence, head, token, column] to [sequence, token, head, column].
StoredArray heads_inside(const StoredArray& a) {
  StoredArray turned = a;
  std::swap(turned.shape[1], turned.shape[2]);
  const auto row = static_cast<std::size_t>(a.shape[3] * element_bytes(a.type));
  std::size_t to = 0;
  for (std::int64_t s = 0; s < a.shape[0]; ++s)
    for (std::int64_t n = 0; n < a.shape[2]; ++n)
      for (std::int64_t h = 0; h < a.shape[1]; ++h, to += row)
        std::memcpy(turned.bytes.data() + to,
                    a.bytes.data() + static_cast<std::size_t>((s * a.shape[1] + h) * a.shape[2] + n) * row, row);
  return turned;
}

class Check : public ::testing::Test {
 protected:
  Check() : dir_(fs::path(::testing::TempDir()) / ("attest_check_test" + std::to_string(::getpid()))) {
    fs::create_directories(dir_);
  }
  ~Check() override { fs::remove_all(dir_); }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  void npy(const std::string& name, const StoredArray& a) const {
    ASSERT_TRUE(write_npy(path(name), a.type, a.shape, a.bytes));
  }
  void floats(const std::string& name, const std::vector<float>& values, const Shape& shape) const {
    ASSERT_TRUE(write_npy(path(name), ArrayType::f32, shape, std::as_bytes(std::span(values))));
  }
  std::string manifest(const std::string& toml) const {
    EXPECT_TRUE(write_file(path("m.toml"), toml));
    return path("m.toml");
  }
  // q.npy, k.npy and v.npy of a line, in bhsd order.
  OwnedInputs capture(const std::string& line) const {
    OwnedInputs made(*parse_case(line));
    npy("q.npy", gather(made.inputs().q));
    npy("k.npy", gather(made.inputs().k));
    npy("v.npy", gather(made.inputs().v));
    return made;
  }
  Expected<LoadedCase> loaded(const std::string& toml) const {
    auto cases = parse_manifest(toml, path("m.toml"));
    if (!cases) return Unexpected(cases.error());
    return load(cases->front(), 0);
  }
  std::string error_of(const std::string& toml) const {
    const auto got = loaded(toml);
    return got ? "accepted" : got.error().text();
  }

  fs::path dir_;
};

const std::string kPlain = "[[case]]\nq = \"q.npy\"\nk = \"k.npy\"\nv = \"v.npy\"\n";

TEST_F(Check, EveryLayoutGivesTheSameTensors) {
  const std::string line = "flash_attn_ext d_k=32 d_v=16 n_head=4 n_head_kv=2 n_q=3 n_kv=5 n_seq=2 kv=f16";
  const OwnedInputs made = capture(line);
  const StoredArray q = gather(made.inputs().q), k = gather(made.inputs().k), v = gather(made.inputs().v);
  npy("q_bshd.npy", heads_inside(q));
  npy("k_bshd.npy", heads_inside(k));
  npy("v_bshd.npy", heads_inside(v));
  // ggml: a cache of 8 rows per head, four bytes into the file, as raw bytes; ne and nb name the view.
  std::vector<std::byte> cache(4 + 2 * 2 * 8 * 64, std::byte{0x7f});
  for (std::size_t plane = 0; plane < 4; ++plane)
    std::memcpy(cache.data() + 4 + plane * 8 * 64, k.bytes.data() + plane * 5 * 64, 5 * 64);
  npy("cache.npy", {ArrayType::u8, {static_cast<std::int64_t>(cache.size())}, cache});
  std::string data, header;
  for (const auto* a : {&q, &k}) {
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(a->bytes.data()), a->bytes.size());
    header += std::string(header.empty() ? "{" : ",") + "\"" + (a == &q ? "q" : "model.k") + R"(":{"dtype":")" +
              (a == &q ? "F32" : "F16") + R"(","shape":[2,)" + (a == &q ? "4,3" : "2,5") + R"(,32],"data_offsets":[)" +
              std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  header += "}";
  std::string length(8, '\0');
  length[0] = static_cast<char>(header.size() & 0xff);
  length[1] = static_cast<char>(header.size() >> 8);
  ASSERT_TRUE(write_file(path("m.safetensors"), length + header + data));
  for (const std::string& toml :
       {kPlain,
        std::string("[[case]]\nlayout = \"bshd\"\nq = \"q_bshd.npy\"\nk = \"k_bshd.npy\"\nv = \"v_bshd.npy\"\n"),
        std::string("[defaults]\nlayout = \"bshd\"\n[[case]]\nq = \"q_bshd.npy\"\nk = { file = \"k.npy\", layout = "
                    "\"bhsd\" }\nv = \"v_bshd.npy\"\n"),
        std::string("[[case]]\nq = \"m.safetensors:q\"\nk = { file = \"m.safetensors\", tensor = \"model.k\" }\nv = "
                    "\"v.npy\"\n"),
        std::string("[[case]]\nlayout = \"ggml\"\nq = \"q.npy\"\nk = { file = \"cache.npy\", dtype = \"f16\", shape = "
                    "[32, 5, 2, 2], strides = [2, 64, 512, 1024], offset = 4 }\nv = \"v.npy\"\n")}) {
    const auto got = loaded(toml);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_EQ(got->q, q) << toml;
    EXPECT_EQ(got->k, k) << toml;
    EXPECT_EQ(got->v, v) << toml;
    AttentionProblem p = got->the_case.problem;
    EXPECT_EQ(p.layout.permuted, toml.find("q_bshd") != std::string::npos);
    p.layout = {};
    EXPECT_EQ(p, made.inputs().problem[0]) << toml;
  }
}

TEST_F(Check, QuantisedAndBf16BytesAreTakenAsTheyAre) {
  for (const std::string type : {"q8_0", "q4_0", "iq4_nl", "bf16"}) {
    const OwnedInputs made = capture("flash_attn_ext d=64 n_head=2 n_q=2 n_kv=5 kv=" + type);
    const std::string raw = ", dtype = \"" + type + "\" }\n";
    const auto got = loaded("[[case]]\nq = \"q.npy\"\nk = { file = \"k.npy\"" + raw + "v = { file = \"v.npy\"" + raw);
    ASSERT_TRUE(got) << got.error().text();
    EXPECT_EQ(got->k.bytes, gather(made.inputs().k).bytes) << type;
    EXPECT_EQ(got->the_case.problem.k_type, *dtype_from_name(type));
    EXPECT_EQ(got->the_case.problem.d_k, 64);
    EXPECT_THAT(error_of(kPlain), HasSubstr("raw elements of which type?")) << type;
  }
}

TEST_F(Check, PastRowsStandInFront) {
  const OwnedInputs made = capture("flash_attn_ext d=32 n_head=2 n_q=1 n_kv=7");
  const StoredArray k = gather(made.inputs().k);
  const auto part = [&](std::int64_t from, std::int64_t to) {
    StoredArray rows{k.type, {1, 2, to - from, 32}, {}};
    for (std::int64_t h = 0; h < 2; ++h)
      rows.bytes.insert(rows.bytes.end(), k.bytes.begin() + (h * 7 + from) * 64, k.bytes.begin() + (h * 7 + to) * 64);
    return rows;
  };
  npy("past.npy", part(0, 6));
  npy("new.npy", part(6, 7));
  const auto got =
      loaded("[[case]]\nq=\"q.npy\"\nk=\"new.npy\"\nv=\"new.npy\"\npast_k=\"past.npy\"\npast_v=\"past.npy\"\n");
  ASSERT_TRUE(got) << got.error().text();
  EXPECT_EQ(got->k, k);
  EXPECT_EQ(got->the_case.problem.n_kv, 7);
  EXPECT_THAT(error_of("[[case]]\nq=\"q.npy\"\nk=\"new.npy\"\nv=\"new.npy\"\npast_k=\"q.npy\"\npast_v=\"past.npy\"\n"),
              HasSubstr("they differ in more than tokens"));
}

TEST_F(Check, MasksMeanWhatTheManifestSays) {
  capture("flash_attn_ext d=16 n_head=2 n_q=3 n_kv=5 n_seq=2");
  std::vector<std::byte> flags(30);
  for (std::size_t i = 0; i < flags.size(); ++i) flags[i] = static_cast<std::byte>(i % 3 != 0);
  npy("bool.npy", {ArrayType::boolean, {2, 1, 3, 5}, flags});
  npy("padding.npy", {ArrayType::boolean, {2, 1, 1, 5}, {flags.begin(), flags.begin() + 10}});
  std::vector<float> bias(2 * 3 * 5);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = i % 4 == 0 ? kHidden : 0.5F * static_cast<float>(i);
  floats("bias.npy", bias, {2, 3, 5});
  // What (sequence, head, query, key) should hold.
  const auto expect = [&](const std::string& more, DType type, const std::function<double(int, int, int, int)>& want) {
    const auto got = loaded(kPlain + more);
    ASSERT_TRUE(got) << got.error().text();
    const MaskSpec& spec = got->the_case.problem.mask;
    EXPECT_EQ(spec.type, type) << more;
    for (int s = 0; s < 2; ++s)
      for (int h = 0; h < 2; ++h)
        for (int i = 0; i < 3; ++i)
          for (int j = 0; j < 5; ++j) {
            const int plane = (spec.per_seq ? s : 0) * (spec.per_head ? 2 : 1) + (spec.per_head ? h : 0);
            ASSERT_EQ(array_value(got->mask, (plane * 3 + i) * 5 + j), want(s, h, i, j)) << more << s << h << i << j;
          }
  };
  const auto flag = [&](int at) { return flags[static_cast<std::size_t>(at)] != std::byte{0}; };
  expect("mask = \"bool.npy\"\n", DType::f16,
         [&](int s, int, int i, int j) { return flag((s * 3 + i) * 5 + j) ? 0.0 : kHidden; });
  expect("mask = { file = \"bool.npy\", true_is = \"hidden\" }\n", DType::f16,
         [&](int s, int, int i, int j) { return flag((s * 3 + i) * 5 + j) ? kHidden : 0.0; });
  expect("mask = \"padding.npy\"\n", DType::f16,
         [&](int s, int, int, int j) { return flag(s * 5 + j) ? 0.0 : kHidden; });
  const auto biased = [&](int h, int i, int j) {
    return static_cast<double>(bias[static_cast<std::size_t>((h * 3 + i) * 5 + j)]);
  };
  expect("mask = \"bias.npy\"\n", DType::f32, [&](int, int h, int i, int j) { return biased(h, i, j); });
  expect("mask = { file = \"bias.npy\", as = \"f16\" }\n", DType::f16,
         [&](int, int h, int i, int j) { return biased(h, i, j); });
  expect("causal = true\n", DType::f16, [](int, int, int i, int j) { return j > i + 2 ? kHidden : 0.0; });
  expect("causal = \"top-left\"\n", DType::f16, [](int, int, int i, int j) { return j > i ? kHidden : 0.0; });
  expect("causal = true\nwindow = 2\n", DType::f16,
         [](int, int, int i, int j) { return j > i + 2 || j <= i ? kHidden : 0.0; });
  expect("causal = true\nmask = \"bias.npy\"\n", DType::f32,
         [&](int, int h, int i, int j) { return j > i + 2 ? kHidden : biased(h, i, j); });
  bias[1] = 0.1F;
  floats("bias.npy", bias, {2, 3, 5});
  EXPECT_THAT(error_of(kPlain + "mask = { file = \"bias.npy\", as = \"f16\" }\n"),
              HasSubstr("holds 0.100000001, which f16 does not"));
  bias[1] = std::nanf("");
  floats("bias.npy", bias, {2, 3, 5});
  EXPECT_THAT(error_of(kPlain + "mask = \"bias.npy\"\n"), HasSubstr("holds NaN"));
  floats("bias.npy", std::vector<float>(12), {2, 3, 2});
  EXPECT_THAT(error_of(kPlain + "mask = \"bias.npy\"\n"),
              HasSubstr("has shape [1, 2, 3, 2], which does not go with [2, 2, 3, 5]"));
  EXPECT_THAT(error_of(kPlain + "window = 2\n"), HasSubstr("'window' without 'causal'"));
}

TEST_F(Check, ParametersReachTheProblem) {
  capture("flash_attn_ext d=16 n_head=2 n_q=3 n_kv=5");
  const auto got = loaded("[defaults]\nsoftcap = 30\nthreads = 3\n" + kPlain +
                          "scale = \"1/sqrt(72)\"\nsoftcap = 50.0\nsinks = [1.5, -inf]\nprec = \"f32\"\nmemory = "
                          "\"0213+cache:9\"\ncausal=true\nmax_bias=8\n");
  ASSERT_TRUE(got) << got.error().text();
  const AttentionProblem& p = got->the_case.problem;
  EXPECT_EQ(p.scale, 1.0F / std::sqrt(72.0F));
  EXPECT_EQ(p.softcap, 50);
  EXPECT_EQ(p.max_bias, 8);
  EXPECT_EQ(p.threads, 3);
  EXPECT_EQ(p.prec, Precision::f32);
  EXPECT_TRUE(p.layout.permuted);
  EXPECT_EQ(p.layout.cache, 9);
  EXPECT_EQ(array_value(got->sinks, 0), 1.5);
  EXPECT_EQ(array_value(got->sinks, 1), static_cast<double>(kHidden));
  EXPECT_THAT(error_of(kPlain + "sinks = [1]\n"), HasSubstr("1 sinks for 2 heads"));
}

TEST_F(Check, MistakesAreNamedWithFileLineKeyAndTheNearestWord) {
  capture("flash_attn_ext d=16 n_head=2 n_q=3 n_kv=5");
  EXPECT_THAT(error_of("[[case]]\nqq = \"q.npy\"\n"),
              HasSubstr("m.toml:2:1: unknown key 'qq' in a case (did you mean 'q'?)"));
  EXPECT_THAT(error_of("[[cases]]\n"), HasSubstr("unknown key 'cases' in a manifest (did you mean 'case'?)"));
  EXPECT_THAT(error_of("[defaults]\nq = \"q.npy\"\n"), HasSubstr("unknown key 'q' in [defaults]"));
  EXPECT_THAT(error_of(kPlain + "layout = \"bhds\"\n"),
              HasSubstr("m.toml:5:10: 'bhds' is no layout (did you mean 'bhsd'?)"));
  EXPECT_THAT(error_of(kPlain + "causal = \"bottom\"\n"),
              HasSubstr("'causal' must be true, false, \"bottom-right\" or \"top-left\""));
  EXPECT_THAT(error_of(kPlain + "scale = \"1/sqr(3)\"\n"), HasSubstr("m.toml:5"));
  EXPECT_THAT(error_of(kPlain + "softcap = -1\n"), HasSubstr("'softcap' must be a finite number from 0 on"));
  EXPECT_THAT(error_of(kPlain + "mask = { file = \"q.npy\", true_is = \"visble\" }\n"),
              HasSubstr("did you mean 'visible'?"));
  EXPECT_THAT(error_of("[[case]]\nq=\"q.npy\"\nk=\"k.npy\"\n"), HasSubstr("m.toml:1:1: case 'case 1' has no 'v'"));
  EXPECT_THAT(error_of("[[case]]\nq=\"q.bin\"\n"), HasSubstr("'q.bin' is neither a .npy nor a .safetensors file"));
  EXPECT_THAT(error_of("[[case]]\nq=\"q.safetensors\"\n"), HasSubstr("which tensor of the file?"));
  EXPECT_THAT(error_of("[[case]]\nq=\"Q.npy\"\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("Q.npy: cannot be read: No such file or directory (did you mean"));
  EXPECT_THAT(error_of("[[case]]\nq={file=\"q.npy\", dtype=\"q8_1\"}\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("'q8_1' is no dtype (did you mean 'q8_0'?)"));
  EXPECT_THAT(error_of("[[case]]\nq={file=\"q.npy\", dtype=\"f16\"}\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("is f32, not f16"));
  EXPECT_THAT(error_of("[[case]]\nq={file=\"q.npy\", shape=[1,2,3,17]}\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("reach beyond the 384 bytes"));
  EXPECT_THAT(error_of("[[case]]\nq={file=\"q.npy\", shape=[1,2,3,16], strides=[0, 9223372036854775807, 64, "
                       "4]}\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("reach beyond"));
  EXPECT_THAT(error_of("[[case]]\nq={file=\"q.npy\", shape=[4611686018427387904,4611686018427387904,1,1], "
                       "strides=[0,0,0,0]}\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("reach beyond"));
  EXPECT_THAT(error_of("[[case]]\nq={file=\"q.npy\", strides=[4]}\nk=\"k.npy\"\nv=\"v.npy\"\n"),
              HasSubstr("'strides' needs a 'shape'"));
  EXPECT_THAT(error_of("[[case]]\nq=\"q.npy\"\nk=\"k.npy\"\nv={file=\"v.npy\", layout=\"bshd\"}\n"),
              HasSubstr("k and v have different numbers of tokens: 5 and 2"));
  EXPECT_THAT(error_of("[[case]]\nline = \"flash_attn_ext d=16 n_hed=2\"\n"),
              HasSubstr("line: unknown key 'n_hed' (did you mean 'n_head'?)"));
  EXPECT_THAT(error_of("[[case]]\nline = \"flash_attn_ext d=16\"\nscale = 1\n"), HasSubstr("'scale' beside 'line'"));
  EXPECT_THAT(
      error_of(
          "[[case]]\nline = \"flash_attn_ext d=16 n_head=2 n_q=3 n_kv=6\"\nq=\"q.npy\"\nk=\"k.npy\"\nv=\"v.npy\"\n"),
      HasSubstr("its line asks for f16 [1, 2, 6, 16]"));
  EXPECT_THAT(error_of("[[case]]\nname = \"a\nb\"\n"), HasSubstr("m.toml:2"));
  EXPECT_THAT(error_of(kPlain + "name = \"a\"\n" + kPlain + "name = \"a\"\n"),
              HasSubstr("a second case of the name 'a'"));
  EXPECT_THAT(error_of(kPlain + "threads = 4294967297\n"),
              HasSubstr("m.toml:5:11: 'threads' must be a number up to 2147483647"));
  EXPECT_THAT(error_of(kPlain + "softcap = 1e300\n"), HasSubstr("m.toml:5:11: 'softcap' must be a number up to 3.4"));
  EXPECT_THAT(error_of(kPlain + "softcap = inf\n"), HasSubstr("'softcap' must be a finite number from 0 on"));
  EXPECT_THAT(error_of(kPlain + "expected = { file = \"q.npy\", atol = inf }\n"),
              HasSubstr("m.toml:5:37: 'atol' must be a finite number from 0 on"));
  EXPECT_THAT(CapturedCases::open({manifest(kPlain)}, {"case 2"}).error().text(), HasSubstr("did you mean 'case 1'?"));
  const std::string three = kPlain + "name = \"good\"\n" + kPlain + "name = \"bad\"\nsoftcap = 1\n" + kPlain;
  EXPECT_THAT(CapturedCases::open({manifest(three)}, {"good", "bda"}).error().text(),
              HasSubstr("--case 'bda' names none of the 3 cases (did you mean 'bad'?)"));
  EXPECT_EQ((*CapturedCases::open({manifest(three)}, {"g*", "case 3"}))->cases().size(), 2U);
  EXPECT_THAT(CapturedCases::open({path("q.npy")}, {}).error().text(), HasSubstr("a manifest (TOML) says"));
  EXPECT_THAT(CapturedCases::open({path("")}, {}).error().text(), HasSubstr("no manifest.toml below it"));
}

// ---- judged

std::vector<VerdictRecord> judged(const CapturedCases& cases, const std::vector<std::string>& backends,
                                  const std::function<void(const AttentionInputs&, float*)>& spoil = {}) {
  RunPlan plan;
  plan.cases = cases.cases();
  plan.backends = backends;
  RunOptions options;
  options.jobs = 1;
  options.tensors = &cases;
  options.blindness = false;
  std::vector<VerdictRecord> records;
  NiceMock<MockRunListener> listener;
  ON_CALL(listener, on_verdict(_)).WillByDefault(Invoke([&](const VerdictRecord& r) { records.push_back(r); }));
  const SubjectMaker maker = [&](const std::string& backend, const std::vector<int>&) {
    if (backend == kFileParty) return make_expected_subject(cases);
    return make_in_process_subject([&]() -> Expected<std::unique_ptr<Backend>> {
      auto mock = std::make_unique<NiceMock<MockBackend>>();
      ON_CALL(*mock, name()).WillByDefault(::testing::Return("mock"));
      ON_CALL(*mock, supports(_)).WillByDefault(::testing::Return(Support{}));
      ON_CALL(*mock, run(_, _)).WillByDefault(Invoke([&](const AttentionInputs& in, const MutableTensorView& out) {
        const Outcome outcome = write_truth(in, out);
        if (spoil) spoil(in, reinterpret_cast<float*>(out.data));
        return outcome;
      }));
      return std::unique_ptr<Backend>(std::move(mock));
    });
  };
  const auto summary = run(plan, options, maker, {}, listener);
  EXPECT_TRUE(summary) << summary.error().text();
  return records;
}

TEST_F(Check, ExpectedOutputsAreHeldToTheOraclesOrTheirOwnTolerance) {
  const OwnedInputs made = capture("flash_attn_ext d=16 n_head=2 n_q=3 n_kv=5");
  write_truth(made.inputs(), made.output());
  StoredArray right = gather(made.output().view());
  npy("o.npy", right);
  npy("o_bhsd.npy", heads_inside(right));
  float first = 0;
  std::memcpy(&first, right.bytes.data(), sizeof first);
  first += 1e-3F;
  std::memcpy(right.bytes.data(), &first, sizeof first);
  npy("off.npy", right);
  StoredArray half{ArrayType::f16, right.shape, std::vector<std::byte>(right.bytes.size() / 2)};
  encode_row(DType::f16, reinterpret_cast<const float*>(made.output().data), half.bytes.data(), half.elements());
  npy("half.npy", half);
  const auto with = [&](const std::string& name, const std::string& expected) {
    return "[[case]]\nname = \"" + name + "\"\n" + kPlain.substr(kPlain.find('\n') + 1) + "expected = " + expected +
           "\n";
  };
  const auto cases = CapturedCases::open(
      {manifest(with("right", "{ file = \"o.npy\", layout = \"bshd\" }") + with("right bhsd", "\"o_bhsd.npy\"") +
                with("off", "{ file = \"off.npy\", layout = \"bshd\" }") +
                with("tolerated", "{ file = \"off.npy\", layout = \"bshd\", atol = 2e-3 }") +
                with("too far", "{ file = \"off.npy\", layout = \"bshd\", rtol = 1e-5 }") +
                with("half", "{ file = \"half.npy\", layout = \"bshd\" }") + kPlain)},
      {});
  ASSERT_TRUE(cases) << cases.error().text();
  const auto records = judged(**cases, {kFileParty});
  ASSERT_EQ(records.size(), 7U);
  for (const VerdictRecord& r : records) {
    const bool off = r.tags[0].ends_with(": off") || r.tags[0].ends_with("too far");
    const bool none = r.tags[0].ends_with("case 7");
    EXPECT_EQ(r.verdict, none  ? Verdict::UNSUPPORTED
                         : off ? Verdict::FAIL
                               : Verdict::PASS)
        << r.tags[0] << ' ' << r.detail;
    EXPECT_EQ(r.backend, "file");
    if (off) {
      EXPECT_THAT(r.source, HasSubstr("m.toml' --case '"));
      EXPECT_EQ(r.worst.column, 0);
    }
  }
}

// The same tensors under the same line: what else they are held to tells bundles apart.
TEST_F(Check, BundlesThatExpectSomethingElseAreJudgedOnTheirOwn) {
  const std::string line = "flash_attn_ext d=16 n_head=2 n_q=3 n_kv=5";
  const OwnedInputs made = capture(line);
  write_truth(made.inputs(), made.output());
  StoredArray output = gather(made.output().view());
  npy("o.npy", output);
  float first = 0;
  std::memcpy(&first, output.bytes.data(), sizeof first);
  first += 1e-3F;
  std::memcpy(output.bytes.data(), &first, sizeof first);
  npy("off.npy", output);
  const auto bundle = [&](const std::string& name, const std::string& expected) {
    return kPlain + "name = \"" + name + "\"\nline = \"" + line + "\"\n" +
           (expected.empty() ? "" : "expected = { file = " + expected + " }\n");
  };
  const auto cases = CapturedCases::open(
      {manifest(bundle("none", "") + bundle("rows", "\"o.npy\", rows = \"r.npy\"") + bundle("right", "\"o.npy\"") +
                bundle("off", "\"off.npy\"") + bundle("right again", "\"o.npy\"") +
                bundle("tolerated", "\"off.npy\", atol = 2e-3") + bundle("off again", "\"off.npy\""))},
      {});
  ASSERT_TRUE(cases) << cases.error().text();
  EXPECT_EQ((*cases)->duplicates(), 2);
  std::map<std::string, Verdict> verdicts;
  for (const VerdictRecord& r : judged(**cases, {kFileParty})) {
    verdicts[r.tags[0].substr(r.tags[0].find(": ") + 2)] = r.verdict;
  }
  EXPECT_THAT(verdicts,
              ElementsAre(Pair("none", Verdict::UNSUPPORTED), Pair("off", Verdict::FAIL), Pair("right", Verdict::PASS),
                          Pair("rows", Verdict::UNSUPPORTED), Pair("tolerated", Verdict::PASS)));
  for (const VerdictRecord& r : judged(**cases, {"mock"})) EXPECT_EQ(r.verdict, Verdict::PASS) << r.tags[0];
  // Triage asks for altered cases, and the files do not know their answers.
  Case altered = (*cases)->cases()[2];
  EXPECT_TRUE((*cases)->expectation(altered));
  altered.problem.n_q = 30;
  EXPECT_FALSE((*cases)->expectation(altered));
}

TEST_F(Check, AWrongBackendFailsWithPlaceAndHintsFromAlteredParameters) {
  capture("flash_attn_ext d=16 n_head=2 n_q=3 n_kv=5");
  const auto cases = CapturedCases::open({manifest(kPlain + "softcap = 2\n")}, {});
  ASSERT_TRUE(cases) << cases.error().text();
  EXPECT_EQ(judged(**cases, {"mock"}).at(0).verdict, Verdict::PASS);
  const auto records = judged(**cases, {"mock"}, [](const AttentionInputs& in, float* out) {
    if (in.problem->softcap > 0) out[16] += 1;
  });
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].verdict, Verdict::FAIL);
  EXPECT_EQ(records[0].worst.head, 1);
  EXPECT_THAT(records[0].triage.hints, ::testing::Contains("goes away without softcap"));
  EXPECT_THAT(records[0].triage.hints, ::testing::Not(::testing::Contains(HasSubstr("one query"))));
}

}  // namespace
}  // namespace attest
