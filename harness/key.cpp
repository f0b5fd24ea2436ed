#include "harness/key.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>

#include "harness/key_blob.h"
#include "harness/key_version.h"
#include "harness/row_choice.h"
#include "oracles/eigen_reference.h"
#include "oracles/scalar_oracle.h"

namespace attest {

namespace {

std::uint64_t choice_seed(const Case& c) {
  const std::string id = case_id(c);
  return XXH3_64bits(id.data(), id.size());
}

// Two contracts are the same when their fields are: the bytes between the fields may be anything. A field more or less
// does not compile here.
std::string bytes_of(const ArithmeticContract& contract) {
  const auto& [path, q_rounding, u_q, u_qk, u_s, u_z, u_m, eps_tanh, eps_exp, u_p, drop, omega, u_acc, omega_acc, u_l,
               u_out, omega_out, tile, chunks, order, products_rounded, p_normalised, truncating, lazy_rescale,
               needs_finite_hidden, honours_prec_f32] = contract;
  std::string bytes;
  const auto add = [&](const auto&... fields) {
    (bytes.append(reinterpret_cast<const char*>(&fields), sizeof fields), ...);
  };
  add(path, q_rounding, u_q, u_qk, u_s, u_z, u_m, eps_tanh, eps_exp, u_p, drop, omega, u_acc, omega_acc, u_l, u_out,
      omega_out, tile, chunks, order, products_rounded, p_normalised, truncating, lazy_rescale, needs_finite_hidden,
      honours_prec_f32);
  return bytes;
}

// The upper half of a non-negative f32: the next bf16 not above it.
std::uint16_t rounded_down(float bound) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(bound) >> 16);
}

}  // namespace

Key::Key(const Case& c, const AttentionInputs& inputs, const KeyOptions& options, BlobStore* cache)
    : case_(c), inputs_(inputs), options_(options), cache_(cache), generic_(is_generic(c) && !options.structured) {
  const double flop = std::max(1.0, row_flop(c.problem));
  auto count = static_cast<std::int64_t>(std::max(1.0, options.key_flop / flop));
  if (options.rows > 0) count = std::min(count, options.rows);
  const std::uint64_t seed = choice_seed(c);
  rows_ = choose_rows(c.problem, count, seed);
  const auto affordable = static_cast<std::int64_t>(std::max(1.0, options.confirm_flop / flop));
  sample_ = options.oracle_full ? rows_ : sample_rows(rows_, std::min(affordable, options.confirm_rows), seed);
}

std::string_view key_fingerprint() { return kKeyVersion; }

std::string Key::address(std::string_view what, std::string_view of) const {
  return fmt::format("{}\n{}\n{} rows, {} confirmed\n{}\n{}", what, kKeyVersion, rows_.size(), sample_.size(), of,
                     text(case_));
}

const EmulatedInputs& Key::emulated(QRounding rounding) {
  const auto found = emulated_.find(rounding);
  if (found != emulated_.end()) return found->second;
  return emulated_.emplace(rounding, EmulatedInputs(inputs_, rounding)).first->second;
}

const Key::Answer& Key::under(QRounding rounding) {
  const auto found = answers_.find(rounding);
  if (found != answers_.end()) return found->second;
  Answer answer;
  if (cache_ != nullptr) {
    const auto blob = cache_->load(address("answer", fmt::format("{}", static_cast<int>(rounding))));
    if (blob && unpack(*blob, answer.eigen, answer.truth, answer.exact) &&
        answer.eigen.size() == rows_.size() * static_cast<std::size_t>(case_.problem.d_v)) {
      answer.agreed = true;
      return answers_.emplace(rounding, std::move(answer)).first->second;
    }
  }
  const EmulatedInputs& q = emulated(rounding);
  BudgetSketch& sketch =
      sketches_.insert_or_assign(rounding, BudgetSketch(rows_.size(), case_.problem.d_v)).first->second;
  answer.eigen = eigen_reference(q.inputs(), rows_, q.score_correction(), sketch);
  answer.truth = scalar_oracle(q.inputs(), sample_, q.score_correction());
  if (rounding != QRounding::none) {
    const std::span<const Row> few(sample_.data(), std::min(kExactRows, sample_.size()));
    answer.exact = eigen_reference<double>(inputs_, few);
  }
  return answers_.emplace(rounding, std::move(answer)).first->second;
}

void Key::agreed(QRounding rounding) {
  Answer& answer = answers_.at(rounding);
  if (answer.agreed) return;
  answer.agreed = true;
  if (cache_ == nullptr) return;
  cache_->store(address("answer", fmt::format("{}", static_cast<int>(rounding))),
                pack(answer.eigen, answer.truth, answer.exact));
}

const BudgetSketch& Key::sketch(QRounding rounding) {
  const auto found = sketches_.find(rounding);
  if (found != sketches_.end()) return found->second;
  // The answer came from the cache, but not the bounds of this contract.
  const EmulatedInputs& q = emulated(rounding);
  BudgetSketch& sketch = sketches_.emplace(rounding, BudgetSketch(rows_.size(), case_.problem.d_v)).first->second;
  eigen_reference(q.inputs(), rows_, q.score_correction(), sketch);
  return sketch;
}

const Key::Bounds& Key::bounds(const ArithmeticContract& contract) {
  const std::string bytes = bytes_of(contract);
  const auto found = bounds_.find(bytes);
  if (found != bounds_.end()) return found->second;
  const auto d_v = static_cast<std::size_t>(case_.problem.d_v);
  Bounds bounds;
  if (cache_ != nullptr) {
    const auto blob = cache_->load(address("bounds", bytes));
    if (blob && unpack(*blob, bounds.values, bounds.state) && bounds.state.size() == rows_.size() &&
        bounds.values.size() == rows_.size() * d_v) {
      return bounds_.emplace(bytes, std::move(bounds)).first->second;
    }
  }
  const RowValues& eigen = under(contract.q_rounding).eigen;
  const BudgetSketch& sketched = sketch(contract.q_rounding);
  const ErrorBudget budget(emulated(contract.q_rounding), contract, generic_);
  bounds.values.assign(rows_.size() * d_v, 0);
  bounds.state.assign(rows_.size(), kNone);
  std::vector<float> row(d_v);
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (!budget.lower_bound(sketched, i, std::span(eigen).subspan(i * d_v, d_v), row)) continue;
    bounds.state[i] = sketched.row(i).visible == 0 ? kDead : kBound;
    std::transform(row.begin(), row.end(), bounds.values.begin() + static_cast<std::ptrdiff_t>(i * d_v), rounded_down);
  }
  if (cache_ != nullptr) cache_->store(address("bounds", bytes), pack(bounds.values, bounds.state));
  return bounds_.emplace(bytes, std::move(bounds)).first->second;
}

const std::map<std::size_t, RowBudget>& Key::budgets(const ArithmeticContract& contract,
                                                     const std::vector<std::size_t>& wanted) {
  const std::string bytes = bytes_of(contract);
  auto [place, fresh] = budgets_.try_emplace(bytes);
  std::map<std::size_t, RowBudget>& known = place->second;
  if (fresh && cache_ != nullptr && !wanted.empty()) {
    if (const auto blob = cache_->load(address("budgets", bytes))) known = unpack_budgets(*blob, rows_);
  }
  std::vector<std::size_t> missing;
  std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(missing),
               [&](std::size_t i) { return known.find(i) == known.end(); });
  if (missing.empty()) return known;
  std::vector<Row> rows;
  for (const std::size_t i : missing) rows.push_back(rows_[i]);
  std::vector<RowBudget> found = ErrorBudget(emulated(contract.q_rounding), contract, generic_).rows(rows);
  for (std::size_t r = 0; r < missing.size(); ++r) known.emplace(missing[r], std::move(found[r]));
  if (cache_ != nullptr) cache_->store(address("budgets", bytes), pack_budgets(known));
  return known;
}

const std::vector<Feature>& Key::blind_to(const ArithmeticContract& contract) {
  const std::string bytes = bytes_of(contract);
  auto [at, fresh] = blind_.try_emplace(bytes);
  std::vector<Feature>& blind = at->second;
  const std::vector<Feature> claimed = claimed_features(case_);
  if (!fresh || claimed.empty()) return blind;
  std::string where;
  if (cache_ != nullptr) {
    std::string what = "blind to";
    for (const Feature f : claimed) what += fmt::format(" {}", info(f).name);
    where = address(what, bytes);
    if (const auto blob = cache_->load(where); blob && unpack(*blob, blind)) return blind;
  }
  const ErrorBudget budget(emulated(contract.q_rounding), contract, generic_);
  const AttentionProblem& p = case_.problem;
  const bool sampled = static_cast<std::int64_t>(rows_.size()) < p.n_seq * p.n_head * p.n_q;
  if (!blindness_) blindness_.emplace(inputs_, sampled ? std::span<const Row>(rows_) : std::span<const Row>());
  std::vector<Sight> sight = blindness_->look(claimed, budget);
  if (sampled) {
    // A feature that other rows have, and none of those that are judged.
    const std::vector<Sight> whole = Blindness(inputs_).look(claimed, budget);
    for (std::size_t f = 0; f < claimed.size(); ++f) {
      if (sight[f] == Sight::absent && whole[f] != Sight::absent) sight[f] = Sight::blind;
    }
  }
  for (std::size_t f = 0; f < claimed.size(); ++f) {
    if (is_blind(sight[f], case_)) blind.push_back(claimed[f]);
  }
  if (cache_ != nullptr) cache_->store(where, pack(blind));
  return blind;
}

}  // namespace attest
