#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "oracles/misreading.h"
#include "oracles/online_fault.h"

namespace attest {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sums over a set of keys.
struct Part {
  double sum = 0;
  std::vector<double> acc;
};

// Weights of the whole row, its sums, and the answers with some keys weighed otherwise.
class Keys {
 public:
  Keys(const MisreadingContext& c, const GuessSink& sink) : t_(c.terms), c_(c), sink_(sink) {
    const std::vector<double> z = logits(t_);
    double top = t_.sink;
    for (const double x : z) top = std::max(top, x);
    p_.assign(z.size(), 0.0);
    whole_ = empty();
    for (std::size_t j = 0; j < z.size(); ++j) {
      if (z[j] == -kInfinity) continue;
      p_[j] = std::exp(z[j] - top);
      add(whole_, static_cast<std::int64_t>(j), 1);
      last_ = static_cast<std::int64_t>(j);
      if (first_ < 0) first_ = last_;
    }
    whole_.sum += t_.sink > -kInfinity ? std::exp(t_.sink - top) : 0;
  }

  void guess() {
    if (last_ < 0) return;
    tails();
    ranges();
    single();
    prefixes();
    factor();
  }

 private:
  Part empty() const { return {0, std::vector<double>(static_cast<std::size_t>(t_.d_v), 0.0)}; }
  void add(Part& part, std::int64_t key, double sign) const {
    const double p = sign * p_[static_cast<std::size_t>(key)];
    if (p == 0) return;
    part.sum += p;
    const float* v = t_.value(key);
    for (std::size_t e = 0; e < part.acc.size(); ++e) part.acc[e] += p * static_cast<double>(v[e]);
  }
  Part range(std::int64_t begin, std::int64_t end) const {
    Part part = empty();
    for (std::int64_t j = std::max<std::int64_t>(begin, 0); j < std::min(end, t_.n_kv); ++j) add(part, j, 1);
    return part;
  }
  // The answer when `part` counts 1 + c times above and 1 + k times below the fraction.
  std::vector<double> with(const Part& part, double c, double k) const {
    std::vector<double> out(whole_.acc.size());
    const double sum = whole_.sum + k * part.sum;
    for (std::size_t e = 0; e < out.size(); ++e) out[e] = (whole_.acc[e] + c * part.acc[e]) / sum;
    return out;
  }
  // The c that brings the answer nearest to what was got, above alone or on both sides; and how near.
  std::pair<double, double> fitted(const Part& part, bool both) const {
    double top = 0, bottom = 0, rest = 0;
    for (std::size_t e = 0; e < part.acc.size(); ++e) {
      const double r = c_.got[e] * whole_.sum - whole_.acc[e];
      const double d = part.acc[e] - (both ? c_.got[e] * part.sum : 0);
      top += r * d;
      bottom += d * d;
      rest += r * r;
    }
    if (!(bottom > 0)) return {0, kInfinity};
    return {top / bottom, rest - top * top / bottom};
  }
  // The k that does so below the fraction alone: got (L + k part) = N.
  double fitted_below(const Part& part) const {
    double top = 0, bottom = 0;
    for (std::size_t e = 0; e < part.acc.size(); ++e) {
      const double d = c_.got[e] * part.sum;
      top += (whole_.acc[e] - c_.got[e] * whole_.sum) * d;
      bottom += d * d;
    }
    return bottom > 0 ? top / bottom : 0;
  }
  void drop(std::string_view suspect, const char* words, std::int64_t begin, std::int64_t end, double freedom) {
    const Part part = range(begin, end);
    if (part.sum == 0) return;
    sink_({suspect, words, with(part, -1, -1), freedom});
    sink_({suspect, std::string(words) + " in PV", with(part, -1, 0), freedom});
    sink_({suspect, std::string(words) + " in the row sum", with(part, 0, -1), freedom});
  }
  void tails();
  void ranges();
  void single();
  void prefixes();
  void factor();

  const RowTerms& t_;
  const MisreadingContext& c_;
  const GuessSink& sink_;
  std::vector<double> p_;
  Part whole_;
  std::int64_t first_ = -1, last_ = -1;
};

void Keys::tails() {
  const std::int64_t n = t_.n_kv;
  drop("tail", "the last key is left out", n - 1, n, 0);
  drop("tail", "the last visible key is left out", last_, last_ + 1, 0);
  drop("tail", "the first key is left out", 0, 1, 0);
  for (const std::int64_t lanes : {2, 3, 4, 8, 16, 32, 64, 128}) {
    if (n % lanes != 0)
      drop("tail", "keys beyond a whole number of vectors or tiles are left out", n - n % lanes, n, 2);
  }
  for (const std::int64_t step : {3, 4, 8, 16, 32, 64}) {  // the last key of every full tile
    Part part = empty();
    for (std::int64_t j = step - 1; j < n; j += step) add(part, j, 1);
    if (part.sum == 0) continue;
    sink_({"tail", "one key of every tile is left out", with(part, -1, -1), 2});
    sink_({"tail", "one key of every tile is left out in the row sum", with(part, 0, -1), 2});
    sink_({"tail", "one key of every tile is left out in PV", with(part, -1, 0), 2});
  }
}

void Keys::ranges() {
  const std::int64_t n = t_.n_kv, chunks = c_.contract.chunks;
  if (chunks < 2) return;
  const std::int64_t length = (n + chunks - 1) / chunks, floor = n / chunks;
  const double freedom = std::log(static_cast<double>(chunks)) + 1;
  drop("split", "what does not divide by the chunks is left out", floor * chunks, n, 0);
  for (std::int64_t begin = 0; begin < n; begin += length) {
    const std::int64_t end = std::min(begin + length, n);
    const Part part = range(begin, end);
    if (part.sum == 0) continue;
    drop("split", "a KV chunk is left out", begin, end, freedom);
    drop("split", "the tail of the last KV chunk is left out", end - (end - begin) % 32, end, freedom);
    sink_({"split", "a KV chunk counts twice", with(part, 1, 1), freedom});
    for (const bool both : {true, false}) {
      const auto [c, rest] = fitted(part, both);
      sink_({"split", "a KV chunk is weighed wrongly", with(part, c, both ? c : 0), freedom + 3, true});
    }
    const auto below = with(part, 0, fitted_below(part));
    sink_({"split", "the row sum of a KV chunk is wrong", below, freedom + 3, true});
  }
  Part edges = empty(), starts = empty();
  for (std::int64_t begin = length; begin < n; begin += length) {
    add(edges, begin - 1, 1);
    add(starts, begin, 1);
  }
  sink_({"split", "chunks overlap by a key", with(edges, 1, 1), 0});
  sink_({"split", "a key is left out between chunks", with(starts, -1, -1), 0});
  sink_({"split", "a key is left out between chunks", with(edges, -1, -1), 0});
}

void Keys::single() {
  double best = kInfinity;
  Guess guess;
  const double freedom = std::log(static_cast<double>(t_.n_kv)) + 2;
  for (std::int64_t j = first_; j <= last_; ++j) {
    const Part part = range(j, j + 1);
    if (part.sum < 1e-9) continue;
    const auto [c, rest] = fitted(part, true);
    if (!(rest < best)) continue;
    best = rest;
    guess = {"tail", "a single key is weighed wrongly", with(part, c, c), freedom + 2, true};
    if (std::abs(c + 1) < 0.02) guess = {"tail", "a single key is left out", with(part, -1, -1), freedom};
    if (std::abs(c - 1) < 0.02) guess = {"split", "a single key counts twice", with(part, 1, 1), freedom};
  }
  if (best < kInfinity) sink_(std::move(guess));
}

// Everything before some key weighs too much or too little: a rescale lost, or keys not read.
void Keys::prefixes() {
  Part before = empty();
  double best[3] = {kInfinity, kInfinity, kInfinity};
  Guess guess[3];
  const double freedom = std::log(static_cast<double>(t_.n_kv)) + 2;
  for (std::int64_t j = first_; j < last_; ++j) {
    add(before, j, 1);
    const auto above = fitted(before, false), both = fitted(before, true);
    if (above.second < best[0]) {
      best[0] = above.second;
      guess[0] = {"rescale", "the output up to some key is not scaled as what follows", with(before, above.first, 0),
                  freedom + 2, true};
    }
    if (both.second < best[1]) {
      best[1] = both.second;
      guess[1] = {"rescale", "all keys up to some key are not scaled as what follows",
                  with(before, both.first, both.first), freedom + 2, true};
    }
    if (std::abs(both.first + 1) < 0.01 && both.second < best[2]) {
      best[2] = both.second;
      guess[2] = {"tail", "keys up to some key are left out", with(before, -1, -1), freedom};
    }
  }
  for (int i = 0; i < 3; ++i) {
    if (best[i] < kInfinity) sink_(std::move(guess[i]));
  }
}

// The answer times a number: the row sum is wrong.
void Keys::factor() {
  double top = 0, bottom = 0;
  for (std::size_t e = 0; e < whole_.acc.size(); ++e) {
    top += c_.got[e] * whole_.acc[e];
    bottom += whole_.acc[e] * whole_.acc[e];
  }
  if (!(bottom > 0)) return;
  std::vector<double> values = whole_.acc;
  for (double& v : values) v *= top / bottom;
  const char* suspect = c_.contract.chunks > 1 ? "split" : "rescale";
  sink_({suspect, "the row sum is off by a factor", std::move(values), 5, true});
}

}  // namespace

void guess_keys(const MisreadingContext& context, const GuessSink& sink) { Keys(context, sink).guess(); }

void guess_softmax(const MisreadingContext& c, const GuessSink& sink) {
  const RowTerms& t = c.terms;
  const std::vector<double> z = logits(t);
  OnlineFault right;
  right.tile = std::clamp<std::int64_t>(c.contract.tile, 1, std::max<std::int64_t>(t.n_kv, 1));
  right.chunks = std::max<std::int64_t>(c.contract.chunks, 1);
  const auto offer = [&](std::string_view suspect, const char* words, const OnlineFault& f, double freedom = 0) {
    sink({suspect, words, online_row(t, z, f), freedom});
  };
  const auto changed = [&](auto&& change) {
    OnlineFault f = right;
    change(f);
    return f;
  };
  for (const int times : {0, 2}) {
    const bool lost = times == 0;
    offer("rescale", lost ? "the output is not rescaled at a new maximum" : "the output is rescaled twice",
          changed([&](OnlineFault& f) { f.rescale_acc = times; }));
    offer("rescale", lost ? "the row sum is not rescaled at a new maximum" : "the row sum is rescaled twice",
          changed([&](OnlineFault& f) { f.rescale_sum = times; }));
    offer("rescale", lost ? "nothing is rescaled at a new maximum" : "everything is rescaled twice",
          changed([&](OnlineFault& f) { f.rescale_acc = f.rescale_sum = times; }));
  }
  for (const std::int64_t every : {32, 64, 128, 256, 512}) {
    offer("rescale", "some rescales of the output are lost", changed([&](OnlineFault& f) { f.missed_every = every; }),
          1.6);
  }
  for (const double least : {1e-3, 1e-4, 1e-5, 1e-6}) {
    offer("rescale", "small rescale factors are taken for 0", changed([&](OnlineFault& f) { f.flush_factor = least; }),
          1.4);
  }
  if (right.chunks > 1) {
    offer("rescale", "chunk sums are merged without their maxima",
          changed([](OnlineFault& f) { f.merge_sum = false; }));
    offer("rescale", "chunk outputs are merged without their maxima",
          changed([](OnlineFault& f) { f.merge_acc = false; }));
    offer("split", "chunk outputs are merged without their sums",
          changed([](OnlineFault& f) { f.normalised_merge = true; }));
    offer("split", "only the first chunks are merged", changed([](OnlineFault& f) { f.merged_chunks = 1; }), 1);
    offer("split", "only the first chunks are merged", changed([](OnlineFault& f) { f.merged_chunks = 2; }), 1);
    if (t.sink > -kInfinity) {
      offer("sink", "every chunk adds the sink", changed([](OnlineFault& f) { f.sink_per_chunk = true; }));
    }
  }
  offer("max", "the maximum is kept in f16", changed([](OnlineFault& f) { f.max = Narrow::f16; }));
  offer("max", "the maximum is kept in bf16", changed([](OnlineFault& f) { f.max = Narrow::bf16; }));
  for (const double start : {0.0, -1e4, -32752.0, -65504.0}) {
    offer("max", "the running maximum starts at a finite value", changed([&](OnlineFault& f) {
            f.has_initial_max = true;
            f.initial_max = start;
          }),
          1.4);
  }
  for (const double sentinel : {-1e4, -3e4, -5e4, -65000.0}) {
    std::vector<double> hidden = z;
    for (double& x : hidden) x = x <= sentinel ? -kInfinity : x;
    sink({"max", "low logits count as hidden", weighted_values(t, hidden, t.sink), 1.4});
  }
  // Cut-offs: the usual powers, of the largest weight so far.
  for (int k = 1; k <= 8; ++k) {
    for (const bool whole : {false, true}) {
      offer("cutoff", whole ? "small weights are left out of sum and PV" : "small weights are left out of PV",
            changed([&](OnlineFault& f) {
              f.drop = std::pow(10.0, -k);
              f.drop_whole = whole;
            }),
            2);
    }
  }
  for (const double floor : {-5.0, -8.0, -10.0, -16.0, -20.0}) {
    offer("cutoff", "no weight falls below a floor", changed([&](OnlineFault& f) { f.least_weight = std::exp(floor); }),
          1.6);
  }
}

}  // namespace attest
