// One slot of a run: a judge thread with its places, and one subject per backend.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cases/relations.h"
#include "harness/compare.h"
#include "harness/ops/op_judge.h"
#include "harness/relation_judge.h"
#include "harness/run/await_case.h"
#include "harness/run/blob_store.h"
#include "harness/run/board.h"
#include "harness/run/place.h"

namespace attest {

class Slot {
 public:
  Slot(Board& board, const SubjectMaker& make_subject);

  // Creates places and starts the subjects. Must be called before work(); in the thread that will work.
  Expected<void> start();
  // Takes cases from the board until there are none. Reports through the board alone.
  void work();

  const std::vector<SubjectInfo>& backends() const { return infos_; }

 private:
  struct Seat {  // a case of the batch, in its place
    const Case* c = nullptr;
    Place* place = nullptr;
    std::size_t index = 0;
    std::string line, id;
    std::string refused;       // why there is no room for it; then it has neither tensors nor key
    std::unique_ptr<Key> key;  // of flash_attn_ext, else
    std::unique_ptr<OpJudge> judge;
  };
  // What one run of one case on one backend came to.
  struct Result {
    VerdictRecord record;
    bool suspect = false;
    bool compared = false;             // the backend ran to its end and its output was judged
    bool finished = true;              // false: the subject is gone
    bool interrupted = false;          // no verdict: the run is being stopped
    ArithmeticContract contract = {};  // where compared
    std::vector<std::byte> output = {};  // what was judged, where failures are saved
  };

  Expected<void> seat(Seat& seat, const Case& c, std::size_t place);
  void run_batch(const std::vector<const Case*>& cases);
  void run_on(std::size_t backend, std::vector<Seat>& seats);
  Result refused(std::size_t backend, const Seat& seat) const;
  void post(std::size_t backend, Seat& seat);
  Result collect(std::size_t backend, Seat& seat);
  // Runs a case alone in the spare place; restarts the subject where it is gone.
  Result run_alone(std::size_t backend, const Case& c);
  void settle_repeat(std::size_t backend, Seat& seat, Result& result);
  void settle_fault(std::size_t backend, Seat& seat, Result& result);
  void settle_suspect(std::size_t backend, const Case& c, Result& result);
  void settle_stale(std::size_t backend, const Case& c, Result& result);
  void tell_alignment(const Seat& seat, VerdictRecord& record) const;
  void keep_output(const Seat& seat, Result& result) const;
  // The last word: a PASS that could not have been anything else is BLIND.
  void rule(Seat& seat, Result& result);
  void tell(Seat& seat, Result& result);
  void settle_triage(std::size_t backend, Seat& seat, Result& result);
  // slot_relations.cpp: what became of one relation or experiment, and the steps to it.
  struct Trial {
    enum class Kind : std::uint8_t { held, broken, unsupported, fault, interrupted };
    Kind kind = Kind::held;
    Verdict verdict = Verdict::RELATION;  // broken, fault
    Verdict again = Verdict::PASS;        // FLAKY: what came of it when tried again
    std::string detail = {};
  };
  void settle_relations(std::size_t backend, Seat& seat, Result& result);
  Trial try_relation(std::size_t backend, Seat& seat, const Result& result, Relation relation,
                     const Experiments& experiments, const std::vector<float>& base);
  Trial try_experiment(std::size_t backend, Seat& seat, const Result& result, bool bitwise,
                       const Experiment& experiment, const std::vector<float>& base);
  bool repeatable(std::size_t backend, Seat& seat, const std::vector<float>& base, const Variant& variant,
                  const std::vector<float>& other, CaseAnswer& answer);
  CaseAnswer run_variant(std::size_t backend, std::size_t place, const Variant& variant, const AttentionInputs& base,
                         VariantAnswer& result);
  // await_case() of a backend's subject, which may be gone then.
  CaseAnswer run_posted(std::size_t backend, const Place& place, const Case& c,
                        const std::function<void(const ArithmeticContract&)>& accepted = {});

  static constexpr std::size_t kPlaces = 16;           // for a batch
  static constexpr std::size_t kSparePlace = kPlaces;  // for cases that run alone
  static constexpr std::size_t kVariantPlace = kPlaces + 1, kVariantPlaces = 2;
  static constexpr std::size_t kKeepBytes = 64U << 20;  // shared memory a place may keep between cases

  VerdictRecord blank(std::size_t backend, const Seat& seat) const;
  bool released(std::size_t backend);
  bool revive(std::size_t backend);
  double deadline(std::size_t backend, const Case& c) const;

  Board& board_;
  const SubjectMaker& make_subject_;
  std::optional<BlobStore> cache_;
  std::vector<std::unique_ptr<Place>> places_;
  std::vector<std::unique_ptr<Subject>> subjects_;
  std::vector<bool> alive_;
  std::vector<SubjectInfo> infos_;
};

}  // namespace attest
