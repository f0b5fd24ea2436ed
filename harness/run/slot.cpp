#include "harness/run/slot.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "cases/inputs.h"
#include "cases/op_inputs.h"
#include "cases/rng.h"
#include "harness/causal_probe.h"
#include "harness/run/schedule.h"
#include "harness/triage.h"

namespace attest {

namespace {

constexpr double kCachedFlop = 4e6;                 // a smaller key is worked out sooner than read
constexpr int kFreshSeeds = 3, kFreshFailures = 2;  // SUSPECT: failing again on two of three seeds is FAIL

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// What kv_decode's judge said about the step, with a separator in front; "" otherwise.
std::string first_wrong_step(const std::string& detail) {
  const std::size_t at = detail.find("first wrong in step");
  return at == std::string::npos ? std::string() : "; " + detail.substr(at);
}

bool hides_nonfinite(const PoisonSpec& poison) {
  const bool hidden = poison.where == PoisonWhere::hidden || poison.where == PoisonWhere::everywhere;
  return hidden &&
         (poison.what == PoisonWhat::nan || poison.what == PoisonWhat::inf || poison.what == PoisonWhat::random);
}

}  // namespace

Slot::Slot(Board& board, const SubjectMaker& make_subject) : board_(board), make_subject_(make_subject) {
  const RunOptions& options = board.options();
  if (!options.cache.empty()) cache_.emplace(options.cache, options.cache_bytes);
}

Expected<void> Slot::start() {
  std::vector<int> fds;
  for (std::size_t i = 0; i < kVariantPlace + kVariantPlaces; ++i) {
    places_.push_back(std::make_unique<Place>());
    if (auto opened = places_.back()->open(); !opened) return opened;
    fds.push_back(places_.back()->fd());
  }
  for (const auto& backend : board_.plan().backends) {
    subjects_.push_back(make_subject_(backend, fds));
    auto info = subjects_.back()->start();
    if (!info) return Unexpected(info.error());
    infos_.push_back(*info);
    alive_.push_back(true);
  }
  return {};
}

double Slot::deadline(std::size_t backend, const Case& c) const {
  const double asked = board_.options().timeout_s;
  return asked > 0 ? asked : default_deadline(c.problem, board_.plan().backends[backend]);
}

void Slot::work() {
  for (auto cases = board_.take(); !cases.empty(); cases = board_.take()) {
    int slots = 1;
    for (const Case* c : cases) slots = std::max(slots, slots_held(c->problem));
    board_.hold(slots);
    run_batch(cases);
    board_.release(slots);
  }
}

Expected<void> Slot::seat(Seat& seat, const Case& c, std::size_t place) {
  seat.c = &c;
  seat.index = place;
  seat.place = places_[place].get();
  seat.line = text(c);
  seat.id = case_id(c);
  const InputPlan plan = plan_inputs(c.problem);
  seat.refused = beyond_memory(plan);
  if (!seat.refused.empty()) return {};
  if (auto ready = seat.place->prepare(plan, c.problem.layout.left_aligned); !ready) return ready;
  KeyOptions key = board_.options().key;
  const TensorSource* files = board_.options().tensors;
  if (files != nullptr && files->has(c)) {
    if (auto filled = files->fill(c, plan, seat.place->buffers()); !filled) return filled;
    key.structured = !files->generic(c);
  } else {
    fill_inputs(c, plan, seat.place->buffers());
  }
  seat.place->fill_input_gaps();
  if (c.problem.op != Op::flash_attn_ext) {
    seat.judge = make_op_judge(c, input_views(c, plan, seat.place->buffers()), key);
    return {};
  }
  BlobStore* cache = cache_ && flop(c.problem) >= kCachedFlop ? &*cache_ : nullptr;
  seat.key = std::make_unique<Key>(c, input_views(c, plan, seat.place->buffers()), key, cache);
  return {};
}

void Slot::run_batch(const std::vector<const Case*>& cases) {
  std::vector<Seat> seats(cases.size());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (auto ready = seat(seats[i], *cases[i], i); !ready) return board_.failed(ready.error());
  }
  for (std::size_t b = 0; b < subjects_.size() && !board_.stopping(); ++b) run_on(b, seats);
  for (std::size_t i = 0; i < cases.size(); ++i) places_[i]->trim(kKeepBytes);
}

void Slot::run_on(std::size_t backend, std::vector<Seat>& all) {
  if (released(backend)) return;
  std::vector<Seat*> seats;
  for (Seat& s : all) {
    if (board_.already_ruled(s.id, infos_[backend].name)) continue;
    if (board_.quarantined(*s.c, blank(backend, s))) continue;
    if (s.refused.empty()) {
      seats.push_back(&s);
    } else {
      board_.ruled(*s.c, refused(backend, s).record);
    }
  }
  if (!seats.empty() && !alive_[backend] && !revive(backend)) return;
  for (Seat* s : seats) {
    board_.started(s->line, s->id, infos_[backend].name);
    post(backend, *s);
  }
  std::vector<std::pair<Seat*, Result>> open;  // to be settled once the subject has nothing else to do
  for (std::size_t i = 0; i < seats.size(); ++i) {
    Result result = collect(backend, *seats[i]);
    if (result.finished) {
      const Verdict v = result.record.verdict;
      const bool repeats = result.compared && board_.options().repeat > 1;
      const bool relates = v == Verdict::PASS && !board_.options().relations.relations.empty();
      keep_output(*seats[i], result);
      const bool look_again =
          repeats || relates || result.suspect || v == Verdict::FAIL || v == Verdict::NAN_ || v == Verdict::UNWRITTEN;
      if (look_again) {
        open.emplace_back(seats[i], std::move(result));
      } else {
        rule(*seats[i], result);
        if (released(backend)) return;
      }
      continue;
    }
    if (result.interrupted) return;
    settle_fault(backend, *seats[i], result);
    if (result.interrupted) return;
    triage_fault(result.record);
    tell(*seats[i], result);
    if (released(backend)) return;
    if (!alive_[backend] && !revive(backend)) return;
    for (std::size_t j = i + 1; j < seats.size(); ++j) post(backend, *seats[j]);
  }
  for (auto& [s, result] : open) {
    if (result.compared) settle_repeat(backend, *s, result);
    if (!result.interrupted) settle_suspect(backend, *s->c, result);
    if (result.interrupted) return;
    settle_stale(backend, *s->c, result);
    if (!result.interrupted) settle_relations(backend, *s, result);
    if (!result.interrupted) settle_triage(backend, *s, result);
    if (result.interrupted) return;
    rule(*s, result);
    if (released(backend)) return;
  }
}

// A backend that left the run needs no subject, whatever is still posted to it.
bool Slot::released(std::size_t backend) {
  if (!board_.left(infos_[backend].name)) return false;
  subjects_[backend].reset();
  alive_[backend] = false;
  return true;
}

bool Slot::revive(std::size_t backend) {
  auto info = subjects_[backend]->start();
  alive_[backend] = info.has_value();
  if (!info) board_.failed(info.error());
  return alive_[backend];
}

VerdictRecord Slot::blank(std::size_t backend, const Seat& seat) const {
  VerdictRecord record;
  record.case_id = seat.id;
  record.line = seat.line;
  record.backend = infos_[backend].name;
  record.build_id = infos_[backend].build_id;
  record.suite = board_.plan().suite;
  record.tags = seat.c->tags;
  if (board_.options().tensors != nullptr) record.source = board_.options().tensors->name(*seat.c);
  const AttentionProblem& p = seat.c->problem;
  record.rows = p.n_seq * p.n_head * p.n_q;
  return record;
}

Slot::Result Slot::refused(std::size_t backend, const Seat& seat) const {
  Result result{blank(backend, seat)};
  result.record.verdict = Verdict::OOM;
  result.record.detail = seat.refused;
  return result;
}

void Slot::post(std::size_t backend, Seat& seat) {
  fill_output(*seat.c, plan_inputs(seat.c->problem), seat.place->buffers());
  seat.place->fill_red_zones(kRedZone);
  subjects_[backend]->post(seat.index, *seat.place, *seat.c, seat.line);
}

CaseAnswer Slot::run_posted(std::size_t backend, const Place& place, const Case& c,
                            const std::function<void(const ArithmeticContract&)>& accepted) {
  CaseAnswer answer = await_case(*subjects_[backend], place, deadline(backend, c), accepted);
  if (answer.subject_gone()) alive_[backend] = false;
  return answer;
}

Slot::Result Slot::collect(std::size_t backend, Seat& seat) {
  Result result{blank(backend, seat)};
  VerdictRecord& record = result.record;
  const CaseAnswer answer = run_posted(backend, *seat.place, *seat.c, [&](const ArithmeticContract& contract) {
    record.path = contract.path_name();
    // The key is worked out while the subject runs the case.
    const auto start = std::chrono::steady_clock::now();
    if (seat.judge) {
      seat.judge->prepare(contract);
    } else {
      seat.key->under(contract.q_rounding);
    }
    record.judge_s = seconds_since(start);
  });
  if (!answer.has_output()) {
    record.verdict = answer.fault.verdict;
    record.detail = answer.fault.detail;
    result.finished = !answer.subject_gone();
    result.interrupted = answer.kind == CaseAnswer::Kind::interrupted;
    return result;
  }
  const ArithmeticContract& contract = answer.contract;
  record.backend_cpu_s = answer.cpu_seconds;
  record.backend_wall_s = answer.wall_seconds;
  const auto start = std::chrono::steady_clock::now();
  const InputPlan plan = plan_inputs(seat.c->problem);
  const TensorView out = output_view(plan, seat.place->buffers()).view();
  const Ruling ruling =
      seat.judge ? seat.judge->rule(contract, out, record) : compare(*seat.key, contract, out, record);
  record.digest = fmt::format("{:016x}", XXH3_64bits(out.data, static_cast<std::size_t>(shape_bytes(out))));
  record.judge_s += seconds_since(start);
  record.verdict = ruling.verdict;
  if (record.detail.empty()) record.detail = answer.text;
  result.compared = true;
  result.contract = contract;
  result.suspect = ruling.suspect;
  tell_alignment(seat, record);
  if (answer.kind == CaseAnswer::Kind::spilled) {
    overrule(record, answer.fault.verdict);
    record.detail = answer.fault.detail;
  }
  return result;
}

Slot::Result Slot::run_alone(std::size_t backend, const Case& c) {
  Seat alone;
  Result result;
  auto ready = seat(alone, c, kSparePlace);
  if (!ready) board_.failed(ready.error());
  if (!ready || (!alive_[backend] && !revive(backend))) {
    result.finished = false;
    result.interrupted = true;  // by a failure of the harness, which the board knows
    return result;
  }
  if (!alone.refused.empty()) return refused(backend, alone);
  post(backend, alone);
  result = collect(backend, alone);
  places_[kSparePlace]->trim(kKeepBytes);
  return result;
}

// Same inputs, same subject, same bits: every further run is held against the first one's output.
void Slot::settle_repeat(std::size_t backend, Seat& seat, Result& result) {
  const int runs = board_.options().repeat;
  VerdictRecord& record = result.record;
  const TensorView out = output_view(plan_inputs(seat.c->problem), seat.place->buffers()).view();
  const auto bytes = static_cast<std::size_t>(shape_bytes(out));
  std::vector<std::byte> first, again;
  if (runs > 1) first.assign(out.data, out.data + bytes);
  const auto verdict = [&](Verdict v, std::string_view behind, std::string detail) {
    record.underlying = behind;
    overrule(record, v);
    record.detail = std::move(detail);
  };
  for (int i = 2; i <= runs; ++i) {
    if (!alive_[backend] && !revive(backend)) return;
    post(backend, seat);
    const CaseAnswer answer = run_posted(backend, *seat.place, *seat.c);
    record.backend_cpu_s += answer.cpu_seconds;
    record.backend_wall_s += answer.wall_seconds;
    if (answer.kind == CaseAnswer::Kind::interrupted) {
      result.interrupted = true;
      return;
    }
    const bool as_before = answer.kind == CaseAnswer::Kind::spilled && record.verdict == Verdict::OOB;
    if (answer.kind != CaseAnswer::Kind::done && !as_before) {
      return verdict(
          Verdict::FLAKY, info(answer.fault.verdict).name,
          fmt::format("run 1 of {}: {}; run {}: {}", runs, info(record.verdict).name, i, answer.fault.detail));
    }
    again.assign(out.data, out.data + bytes);
    const auto at = std::mismatch(first.begin(), first.end(), again.begin()).first - first.begin();
    if (at == static_cast<std::ptrdiff_t>(bytes)) continue;
    if (out.dtype != DType::f32) {
      return verdict(Verdict::NONDETERMINISTIC, info(record.verdict).name,
                     fmt::format("run {} of {} differs from run 1, first in byte {}", i, runs, at));
    }
    const auto e = static_cast<std::int64_t>(at) / 4;
    const auto value = [&](const std::vector<std::byte>& output) {
      float x = 0;
      std::memcpy(&x, output.data() + 4 * e, sizeof x);
      return x;
    };
    const std::int64_t column = e % out.ne[0], head = e / out.ne[0] % out.ne[1];
    const std::int64_t query = e / (out.ne[0] * out.ne[1]) % out.ne[2], seq = e / (out.ne[0] * out.ne[1] * out.ne[2]);
    return verdict(Verdict::NONDETERMINISTIC, info(record.verdict).name,
                   fmt::format("run {} of {} differs from run 1, first at seq {}, head {}, query {}, column {}: "
                               "{:.9g}, then {:.9g}",
                               i, runs, seq, head, query, column, value(first), value(again)));
  }
}

// A fault is looked at once more, alone: the same again is the verdict, anything else is FLAKY.
void Slot::settle_fault(std::size_t backend, Seat& seat, Result& result) {
  const Result again = run_alone(backend, *seat.c);
  VerdictRecord& record = result.record;
  if (again.interrupted) {
    result.interrupted = true;  // half a verdict is none: a resumed run looks at the case again
    return;
  }
  record.also = again.record.also;
  const std::string_view first = info(record.verdict).name;
  const std::string_view second = info(again.record.verdict).name;
  if (first == second) {
    record.detail += "; the same alone";
    return;
  }
  record.underlying = first;
  record.detail = fmt::format("{} ({}); then, alone: {}{}", first, record.detail, second,
                              again.record.detail.empty() ? "" : " (" + again.record.detail + ")");
  record.verdict = Verdict::FLAKY;
  note_also(record, again.record.verdict);
}

void Slot::settle_suspect(std::size_t backend, const Case& c, Result& result) {
  if (!result.suspect || result.record.verdict != Verdict::PASS) return;
  int failures = 0;
  for (int i = 1; i <= kFreshSeeds && failures < kFreshFailures; ++i) {
    Case fresh = c;
    fresh.seed = mix64(c.seed + static_cast<std::uint64_t>(i)) >> 32;
    const Result again = run_alone(backend, fresh);
    if (again.interrupted) {
      result.interrupted = true;
      return;
    }
    ++result.record.suspect_reruns;
    if (again.suspect || info(again.record.verdict).bad) ++failures;
  }
  result.record.suspect = true;
  if (failures < kFreshFailures) return;
  result.record.verdict = Verdict::FAIL;
  result.record.detail = fmt::format("above the 8 sigma budget, and again on {} of {} fresh seeds", failures,
                                     result.record.suspect_reruns);
}

// Wrong only because of NaN or Inf in bytes nobody may read: STALE, apart from FAIL.
void Slot::settle_stale(std::size_t backend, const Case& c, Result& result) {
  VerdictRecord& record = result.record;
  if (record.verdict != Verdict::FAIL && record.verdict != Verdict::NAN_) return;
  if (!hides_nonfinite(c.poison)) return;
  Case clean = c;
  clean.poison = {};
  const Result again = run_alone(backend, clean);
  if (again.interrupted) {
    result.interrupted = true;
    return;
  }
  if (again.record.verdict != Verdict::PASS) return;
  record.underlying = info(record.verdict).name;
  if (result.contract.needs_finite_hidden) {
    record.verdict = Verdict::UNSUPPORTED;
    record.detail = "its contract asks for finite hidden bytes: the case passes with them";
    return;
  }
  record.verdict = Verdict::STALE;
  const std::string where = first_wrong_step(record.detail);
  record.detail = "hidden bytes reach the output: the same case passes with finite hidden bytes" + where;
}

// A wrong answer to a causal case may be the right one to another alignment: that names the bug.
void Slot::tell_alignment(const Seat& seat, VerdictRecord& record) const {
  if (!seat.key) return;  // an op whose judge has said what there is to say
  const bool wrong = record.verdict == Verdict::FAIL || record.verdict == Verdict::NAN_;
  if (!wrong && !board_.options().probe_causal) return;
  const TensorView out = output_view(plan_inputs(seat.c->problem), seat.place->buffers()).view();
  const auto found = classify_causal(*seat.c, seat.key->inputs(), out);
  if (!found) return;
  record.alignment = found->text();
  if (!wrong || found->as_asked() || found->like.empty()) return;
  record.detail += fmt::format("{}causal alignment: {}, where {} is asked for", record.detail.empty() ? "" : "; ",
                               record.alignment, name(found->asked));
}

void Slot::rule(Seat& seat, Result& result) {
  VerdictRecord& record = result.record;
  if (board_.options().blindness && seat.key && result.compared && record.verdict == Verdict::PASS) {
    const auto start = std::chrono::steady_clock::now();
    for (const Feature f : seat.key->blind_to(result.contract)) record.blind_to.emplace_back(info(f).name);
    if (!record.blind_to.empty()) {
      record.verdict = Verdict::BLIND;
      record.detail = fmt::format("could not have seen: {}", fmt::join(record.blind_to, ", "));
    }
    record.judge_s += seconds_since(start);
  }
  tell(seat, result);
}

// Later runs in the same place write over it.
void Slot::keep_output(const Seat& seat, Result& result) const {
  const bool may_fail = info(result.record.verdict).bad || result.suspect || board_.options().repeat > 1 ||
                        !board_.options().relations.relations.empty();
  if (board_.options().failures == nullptr || !result.compared || !may_fail) return;
  const auto* out = seat.place->buffers().out;
  result.output.assign(out, out + plan_inputs(seat.c->problem).out.bytes);
}

void Slot::tell(Seat& seat, Result& result) {
  const VerdictRecord final_word = board_.ruled(*seat.c, std::move(result.record));
  if (board_.options().failures == nullptr || !info(final_word.verdict).bad) return;
  if (final_word.verdict == Verdict::XPASS) return;
  board_.options().failures->save({final_word, *seat.c, plan_inputs(seat.c->problem), seat.place->buffers(),
                                   seat.key.get(), result.compared ? &result.contract : nullptr, result.output});
}

// What the failure looks like. The output of the first run is still in the seat's place.
void Slot::settle_triage(std::size_t backend, Seat& seat, Result& result) {
  VerdictRecord& record = result.record;
  if (!info(record.verdict).bad) return;
  const Verdict v = record.verdict;
  const bool of_numbers = v == Verdict::FAIL || v == Verdict::NAN_ || v == Verdict::STALE || v == Verdict::UNWRITTEN;
  if (!result.compared || !of_numbers) return triage_fault(record);
  if (!seat.key) return;  // its judge has said what there is to say
  const Rerun rerun = [&](const Case& altered, bool fresh) -> std::optional<Verdict> {
    const TensorSource* files = board_.options().tensors;
    if (files != nullptr && !files->has(altered) && !files->generates(altered)) return std::nullopt;
    if (result.interrupted || (fresh && !revive(backend))) return std::nullopt;
    const Result again = run_alone(backend, altered);
    result.interrupted |= again.interrupted;
    return again.interrupted ? std::nullopt : std::optional(again.record.verdict);
  };
  const auto start = std::chrono::steady_clock::now();
  triage(*seat.key, result.contract, output_view(plan_inputs(seat.c->problem), seat.place->buffers()).view(),
         board_.triage_depth(*seat.c, record), rerun, record);
  record.judge_s += seconds_since(start);
}

}  // namespace attest
