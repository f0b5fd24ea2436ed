// attest bench-accuracy: the error table of the FlashAttention-3 paper, for the arithmetic it describes.
#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "cases/inputs.h"
#include "harness/cli/verbs.h"
#include "harness/row_choice.h"
#include "oracles/emulate.h"
#include "oracles/narrow_row.h"

namespace attest::cli {

namespace {

struct AccuracyArguments {
  std::uint64_t seed = 0;
  std::int64_t rows = 64;
};

struct Size {
  std::int64_t d, n;
};
constexpr Size kSizes[] = {{64, 512}, {64, 2048}, {128, 512}, {128, 2048}, {128, 4096}};
constexpr std::int64_t kTileKeys = 128;

// Standard attention in f16: the scores are stored in f16, so are the softmax's weights, and the output.
NarrowArithmetic standard_f16(std::int64_t n_kv) {
  NarrowArithmetic a;
  a.score = a.p = a.out = Narrow::f16;
  a.p_normalised = true;
  a.tile = n_kv;
  return a;
}

// Flash attention in f16: scores and softmax stay in f32, P is rounded for the second product, sums are f32.
NarrowArithmetic flash_f16() {
  NarrowArithmetic a;
  a.p = a.out = Narrow::f16;
  a.tile = kTileKeys;
  return a;
}

// Root mean squares over the rows of one size; of f16 inputs taken as exact, and of inputs before they were rounded.
struct Errors {
  double standard = 0, flash = 0, standard_all = 0, flash_all = 0;
};

Expected<Errors> measure(const Size& size, const AccuracyArguments& a) {
  const auto c =
      parse_case(fmt::format("flash_attn_ext d={} n_head=4 n_head_kv=4 n_q={} n_kv={} kv=f32 data=outlier seed={}",
                             size.d, size.n, size.n, a.seed));
  if (!c) return Unexpected(c.error());
  const OwnedInputs inputs(*c);
  const EmulatedInputs half(inputs.inputs(), QRounding::f16);
  Errors sum;
  double count = 0;
  for (const Row& row : choose_rows(c->problem, a.rows, a.seed)) {
    const RowTerms wide = read_row_terms(inputs.inputs(), row);
    RowTerms terms = read_row_terms(half.inputs(), row, {}, {.k = Narrow::f16});
    for (float& v : terms.v) v = static_cast<float>(narrowed(static_cast<double>(v), Narrow::f16));
    const auto truth = weighted_values(wide, logits(wide), wide.sink);
    const auto exact = weighted_values(terms, logits(terms), terms.sink);
    const auto standard = narrow_row(terms, standard_f16(size.n)), flash = narrow_row(terms, flash_f16());
    for (std::size_t e = 0; e < exact.size(); ++e) {
      sum.standard += std::pow(standard[e] - exact[e], 2);
      sum.flash += std::pow(flash[e] - exact[e], 2);
      sum.standard_all += std::pow(standard[e] - truth[e], 2);
      sum.flash_all += std::pow(flash[e] - truth[e], 2);
      ++count;
    }
  }
  const auto root = [&](double squares) { return std::sqrt(squares / count); };
  return Errors{root(sum.standard), root(sum.flash), root(sum.standard_all), root(sum.flash_all)};
}

int accuracy_verb(const AccuracyArguments& a) {
  fmt::print("RMSE against fp64; Q, K, V from N(0,1) + N(0,100) Bernoulli(0.001); {} rows each, seed {}\n\n", a.rows,
             a.seed);
  fmt::print("{:>5} {:>6}   {:>30}   {:>30}\n", "", "", "inputs are f16", "inputs are rounded to f16");
  const auto heads = fmt::format("{:>12} {:>10} {:>6}", "standard", "flash", "ratio");
  fmt::print("{:>5} {:>6}   {}   {}\n", "d", "n", heads, heads);
  for (const Size& size : kSizes) {
    const auto e = measure(size, a);
    if (!e) return report(e.error());
    fmt::print("{:>5} {:>6}   {:>12.2g} {:>10.2g} {:>6.2g}   {:>12.2g} {:>10.2g} {:>6.2g}\n", size.d, size.n,
               e->standard, e->flash, e->standard / e->flash, e->standard_all, e->flash_all,
               e->standard_all / e->flash_all);
  }
  fmt::print("{:>12}   {:>30}   {:>12} {:>10} {:>6}\n\n", "paper", "", "3.2e-4", "1.9e-4", "1.7");
  fmt::print(
      "Paper: FlashAttention-3, arXiv 2407.08608, table 3 (baseline FP16; FlashAttention-2 and -3 FP16); the\n"
      "sizes are ours. Standard: scores, normalised weights and output rounded to f16. Flash: weights\n"
      "of a tile of {} keys and output rounded to f16, all else f32. Both are emulated; no GPU is involved.\n",
      kTileKeys);
  return kOk;
}

}  // namespace

Verb add_accuracy(CLI::App& app) {
  auto a = std::make_shared<AccuracyArguments>();
  CLI::App* accuracy = app.add_subcommand(
      "bench-accuracy", "the FlashAttention-3 error table: f16 standard attention and f16 flash attention, emulated");
  accuracy->add_option("--seed", a->seed, "seed of the data");
  accuracy->add_option("--rows", a->rows, "output rows measured per size, a seeded choice (default 64)")
      ->check(CLI::PositiveNumber);
  return [a] { return accuracy_verb(*a); };
}

}  // namespace attest::cli
