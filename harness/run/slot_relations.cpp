#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "cases/rng.h"
#include "harness/relation_judge.h"
#include "harness/run/slot.h"

namespace attest {

namespace {

constexpr std::int64_t kMostBytes = std::int64_t{512} << 20;  // of a variant that is larger than its case
constexpr int kMoreRuns = 2;                                  // of case and variant each, before differing bits count

std::int64_t total_bytes(const InputPlan& p) {
  return p.q.bytes + p.k.bytes + p.v.bytes + p.mask.bytes + p.sinks.bytes + p.out.bytes;
}

std::string too_large(const Experiments& experiments, const Case& c) {
  const std::int64_t base = total_bytes(plan_inputs(c.problem));
  for (const Experiment& e : experiments.list) {
    for (const Variant& v : e.variants) {
      const InputPlan plan = plan_inputs(v.the_case.problem);
      if (std::string why = beyond_memory(plan); !why.empty()) return "the variant: " + why;
      const std::int64_t bytes = total_bytes(plan);
      if (bytes > kMostBytes && bytes > 2 * base) return fmt::format("the variant would need {} MiB", bytes >> 20);
    }
  }
  return "";
}

// With a limit per case the choice differs from case to case, and is the same on every machine.
std::vector<Relation> in_order(const RelationChoice& choice, const std::string& case_id) {
  std::vector<Relation> relations = choice.relations;
  if (choice.per_case <= 0) return relations;
  const std::uint64_t id = XXH3_64bits(case_id.data(), case_id.size());
  std::sort(relations.begin(), relations.end(), [&](Relation a, Relation b) {
    return mix64(id + static_cast<std::uint64_t>(a)) < mix64(id + static_cast<std::uint64_t>(b));
  });
  return relations;
}

std::vector<float> output_of(const AttentionProblem& problem, const Place& place) {
  const TensorView out = output_view(plan_inputs(problem), place.buffers()).view();
  std::vector<float> values(static_cast<std::size_t>(out.elements()));
  if (!values.empty()) std::memcpy(values.data(), out.data, values.size() * sizeof(float));
  return values;
}

}  // namespace

CaseAnswer Slot::run_variant(std::size_t backend, std::size_t place, const Variant& variant,
                             const AttentionInputs& base, VariantAnswer& result) {
  CaseAnswer answer{CaseAnswer::Kind::interrupted};
  if (!alive_[backend] && !revive(backend)) return answer;
  const Case& c = variant.the_case;
  const InputPlan plan = plan_inputs(c.problem);
  Place& at = *places_[place];
  if (auto ready = at.prepare(plan, c.problem.layout.left_aligned); !ready) {
    board_.failed(ready.error());
    return answer;
  }
  fill_variant(variant, base, plan, at.buffers());
  at.fill_input_gaps();
  at.fill_red_zones(kRedZone);
  subjects_[backend]->post(place, at, c, text(c));
  answer = run_posted(backend, at, c);
  result.contract = answer.contract;
  if (answer.kind != CaseAnswer::Kind::done) return answer;
  result.inputs = input_views(c, plan, at.buffers());
  result.out = output_of(c.problem, at);
  return answer;
}

// Whether case and variant each give the same bits every time; else differing bits say nothing about the relation.
bool Slot::repeatable(std::size_t backend, Seat& seat, const std::vector<float>& base, const Variant& variant,
                      const std::vector<float>& other, CaseAnswer& answer) {
  for (int i = 0; i < kMoreRuns; ++i) {
    post(backend, seat);
    answer = run_posted(backend, *seat.place, *seat.c);
    if (answer.kind != CaseAnswer::Kind::done) return false;
    if (!first_difference(seat.c->problem, base, output_of(seat.c->problem, *seat.place)).empty()) return false;
    VariantAnswer again;
    answer = run_variant(backend, kVariantPlace, variant, seat.key->inputs(), again);
    if (answer.kind != CaseAnswer::Kind::done) return false;
    if (!first_difference(seat.c->problem, other, again.out).empty()) return false;
  }
  return true;
}

Slot::Trial Slot::try_experiment(std::size_t backend, Seat& seat, const Result& result, bool bitwise,
                                 const Experiment& experiment, const std::vector<float>& base) {
  Trial trial;
  std::vector<VariantAnswer> answers(experiment.variants.size());
  CaseAnswer answer;
  for (std::size_t v = 0; v < answers.size(); ++v) {
    answer = run_variant(backend, kVariantPlace + v, experiment.variants[v], seat.key->inputs(), answers[v]);
    if (answer.kind != CaseAnswer::Kind::done) break;
  }
  std::string bits;
  bool budget = !bitwise;
  if (bitwise && answer.kind == CaseAnswer::Kind::done) {
    bits = first_difference(seat.c->problem, base, answers[0].out);
    if (!bits.empty()) budget = !repeatable(backend, seat, base, experiment.variants[0], answers[0].out, answer);
  }
  switch (answer.kind) {
    case CaseAnswer::Kind::done:
      break;
    case CaseAnswer::Kind::unsupported:
      trial.kind = Trial::Kind::unsupported;
      trial.detail = answer.fault.detail;
      return trial;
    case CaseAnswer::Kind::interrupted:
      trial.kind = Trial::Kind::interrupted;
      return trial;
    default:
      trial.kind = Trial::Kind::fault;
      trial.verdict = answer.fault.verdict;
      trial.detail = fmt::format("{}: {}", experiment.what, answer.fault.detail);
      return trial;
  }
  if (bits.empty() && !budget) return trial;
  RelationRuling ruling;
  if (budget) {
    ruling = judge_relation(experiment, *seat.key, result.contract, base, answers);
  } else {
    ruling = {false, bits + "; the bits must be the same", 0, 0};
  }
  if (ruling.held) return trial;
  trial.kind = Trial::Kind::broken;
  trial.detail = fmt::format("{}: {}", experiment.what, ruling.detail);
  return trial;
}

Slot::Trial Slot::try_relation(std::size_t backend, Seat& seat, const Result& result, Relation relation,
                               const Experiments& experiments, const std::vector<float>& base) {
  Trial unsupported;
  bool held = false;
  for (const Experiment& experiment : experiments.list) {
    Trial trial = try_experiment(backend, seat, result, info(relation).bitwise, experiment, base);
    if (trial.kind == Trial::Kind::fault) {
      // As with the case itself: a fault is looked at once more.
      const Trial again = try_experiment(backend, seat, result, info(relation).bitwise, experiment, base);
      if (again.kind == Trial::Kind::interrupted) return again;
      const bool same = again.kind == Trial::Kind::fault && again.verdict == trial.verdict;
      if (!same) {
        trial.detail = fmt::format("{} ({}); not so when tried again", info(trial.verdict).name, trial.detail);
        trial.verdict = Verdict::FLAKY;
        if (again.kind == Trial::Kind::fault || again.kind == Trial::Kind::broken) trial.again = again.verdict;
      }
    }
    if (trial.kind == Trial::Kind::unsupported) {
      unsupported = std::move(trial);
      continue;
    }
    if (trial.kind != Trial::Kind::held) return trial;
    held = true;
  }
  return held ? Trial{} : unsupported;
}

void Slot::settle_relations(std::size_t backend, Seat& seat, Result& result) {
  const RelationChoice& choice = board_.options().relations;
  VerdictRecord& record = result.record;
  if (choice.relations.empty() || record.verdict != Verdict::PASS || !result.compared) return;
  if (!seat.key) {  // an op with a judge of its own
    for (const Relation relation : choice.per_case > 0 ? std::vector<Relation>{} : choice.relations) {
      record.relations_inapplicable.push_back(fmt::format("{}: relations are of flash_attn_ext", info(relation).name));
    }
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  const std::vector<float> base = output_of(seat.c->problem, *seat.place);
  int tried = 0;
  for (const Relation relation : in_order(choice, seat.id)) {
    const std::string name(info(relation).name);
    Experiments experiments = relate(relation, *seat.c, seat.key->inputs());
    if (experiments.inapplicable.empty()) experiments.inapplicable = too_large(experiments, *seat.c);
    if (!experiments.inapplicable.empty()) {
      if (choice.per_case <= 0) record.relations_inapplicable.push_back(name + ": " + experiments.inapplicable);
      continue;
    }
    const Trial trial = try_relation(backend, seat, result, relation, experiments, base);
    if (trial.kind == Trial::Kind::interrupted) {
      result.interrupted = true;
      return;
    }
    if (trial.kind == Trial::Kind::unsupported) {
      record.relations_unsupported.push_back(name + ": " + trial.detail);
      continue;
    }
    if (trial.kind == Trial::Kind::held) {
      record.relations_held.push_back(name);
    } else {
      record.relations_broken.push_back(name);
      // The first break is the verdict; a fault takes the place of a contradiction.
      const bool first = record.verdict == Verdict::PASS;
      if (first || (record.verdict == Verdict::RELATION && trial.kind == Trial::Kind::fault)) {
        overrule(record, trial.verdict);
        record.detail = fmt::format("relation {}: {}{}", name, trial.detail, first ? "" : "; " + record.detail);
      }
      note_also(record, trial.verdict);
      note_also(record, trial.again);
    }
    if (++tried == choice.per_case) break;
  }
  for (std::size_t p = kVariantPlace; p < places_.size(); ++p) places_[p]->trim(kKeepBytes);
  record.judge_s += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace attest
