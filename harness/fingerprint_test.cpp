#include "harness/fingerprint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

#include "cases/inputs.h"
#include "cases/rng.h"
#include "harness/row_choice.h"
#include "harness/testing/variants.h"

namespace attest {
namespace {

using namespace attest::testing;
using cpu::KernelCall;
using cpu::Production;

template <class Policy>
void run_kernel(int which, const KernelCall& call) {
  if (which == 0) cpu::vec_kernel<Policy>(call);
  if (which == 1) cpu::tiled_kernel<Policy>(call);
  if (which == 2) cpu::split_kernel<Policy>(call);
}

enum class Variant { plain, acc_f16, p_f16, p_bf16, scores_f16, q_f16, q_bf16 };
constexpr std::array kExpected{std::string_view("f32 throughout"),       std::string_view("an f16 accumulator"),
                               std::string_view("P rounded to f16"),     std::string_view("P rounded to bf16"),
                               std::string_view("scores stored in f16"), std::string_view("Q rounded to f16"),
                               std::string_view("Q rounded to bf16")};

void run_variant(Variant variant, int kernel, const OwnedInputs& owned) {
  const QRounding q = variant == Variant::q_f16    ? QRounding::f16
                      : variant == Variant::q_bf16 ? QRounding::bf16
                                                   : QRounding::none;
  const EmulatedInputs inputs(owned.inputs(), q);
  cpu::Scratches scratch(2);
  const KernelCall call(inputs.inputs(), owned.output(), cpu::primitives(), 1, scratch);
  switch (variant) {
    case Variant::acc_f16:
      return run_kernel<F16Accumulator>(kernel, call);
    case Variant::p_f16:
      return run_kernel<PF16>(kernel, call);
    case Variant::p_bf16:
      return run_kernel<PBf16>(kernel, call);
    case Variant::scores_f16:
      return run_kernel<ScoresF16>(kernel, call);
    default:
      return run_kernel<Production>(kernel, call);
  }
}

ArithmeticContract contract_of(int kernel) {
  ArithmeticContract c;
  c.set_path(kernel == 0 ? "vec" : kernel == 1 ? "tiled" : "split");
  c.tile = kernel == 1 ? cpu::kTileKeys : 1;
  c.chunks = kernel == 2 ? cpu::split_chunks(1) : 1;
  return c;
}

// A problem a contract variant can show in: more than a few keys, and a spread of weights.
std::string random_line(std::uint64_t number) {
  const Rng rng(number, 0x66696e67);
  std::uint64_t draw = 0;
  const auto pick = [&](auto... options) {
    const std::array all{options...};
    return all[rng.bits(draw++) % all.size()];
  };
  const std::int64_t n_kv = 33 + static_cast<std::int64_t>(rng.bits(draw++) % 500);
  std::string line = fmt::format("flash_attn_ext d={} n_head=4 n_head_kv={} n_q={} n_kv={} kv={}", pick(32, 64, 128),
                                 pick(1, 2, 4), pick(1, 3, 17), n_kv, pick("f16", "f32", "bf16", "q8_0"));
  line += pick("", " mask=causal", " mask=random:1", " mask=used:30");
  line += pick("", "", " softcap=8");
  line += pick("", "", " sinks=uniform:2");
  return line +
         fmt::format(" data={} seed={}", pick("normal:1", "normal:3", "uniform", "normal:0.5", "rising:8"), number);
}

TEST(Fingerprint, NamesTheRightContractOfCpuVariantsInNineteenOfTwentyRandomProblems) {
  int right = 0;
  std::map<std::string, int> wrong;
  constexpr int kProblems = 200;
  for (int i = 0; i < kProblems; ++i) {
    const auto variant = static_cast<Variant>(i % 7);
    const int kernel = i / 7 % 3;
    const std::string line = random_line(static_cast<std::uint64_t>(i));
    const Expected<Case> c = parse_case(line);
    ASSERT_TRUE(c) << line;
    const OwnedInputs owned(*c);
    run_variant(variant, kernel, owned);
    Key key(*c, owned.inputs(), {});
    const Fingerprint f = fingerprint(key, contract_of(kernel), owned.output().view(), sample_rows(key.rows(), 6, 1));
    const auto expected = kExpected.at(static_cast<std::size_t>(variant));
    if (f.text() == expected && f.explains) {
      ++right;
    } else {
      fmt::print("{} kernel {}: expected {}, got {} ({:.0f} -> {:.0f}) {}\n", i, kernel, expected, f.text(), f.evidence,
                 f.remaining, line);
    }
  }
  fmt::print("right: {} of {}\n", right, kProblems);
  EXPECT_GE(right, kProblems * 95 / 100);
}

TEST(Fingerprint, NamesTwoDeviationsAtOnce) {
  const Case c = *parse_case("flash_attn_ext d=64 n_head=2 n_q=5 n_kv=300 kv=f16 data=normal:2");
  const OwnedInputs owned(c);
  const EmulatedInputs inputs(owned.inputs(), QRounding::f16);
  cpu::Scratches scratch(2);
  cpu::vec_kernel<F16Accumulator>(KernelCall(inputs.inputs(), owned.output(), cpu::primitives(), 1, scratch));
  Key key(c, owned.inputs(), {});
  const Fingerprint f = fingerprint(key, contract_of(0), owned.output().view(), sample_rows(key.rows(), 6, 1));
  EXPECT_EQ(f.text(), "Q rounded to f16 and an f16 accumulator");
  EXPECT_TRUE(f.explains);
}

TEST(Fingerprint, DoesNotExplainABugAway) {
  const Case c = *parse_case("flash_attn_ext d=64 n_head=2 n_q=5 n_kv=300 kv=f16 data=normal:2 softcap=4");
  const OwnedInputs owned(c);
  Case other = c;
  other.problem.softcap = 0;
  AttentionInputs in = owned.inputs();
  in.problem = &other.problem;
  cpu::Scratches scratch(2);
  cpu::run_vec(KernelCall(in, owned.output(), cpu::primitives(), 1, scratch));
  Key key(c, owned.inputs(), {});
  EXPECT_FALSE(fingerprint(key, contract_of(0), owned.output().view(), key.sample()).explains);
}

}  // namespace
}  // namespace attest
