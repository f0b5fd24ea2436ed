// The interface every backend answers through: can you, what do you promise, do it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cases/contract.h"
#include "cases/error.h"
#include "cases/problem.h"

namespace attest {

struct Support {
  bool yes = true;
  std::string reason;  // why not, for people: "ggml: mask must be f16"
  static Support no(std::string why) { return {false, std::move(why)}; }
};

struct Outcome {
  bool ok = true;
  std::string error;       // what the backend said when it could not do a problem it supports
  double cpu_seconds = 0;  // CPU time of the kernel call alone, all threads; 0: not measured
  double wall_seconds = 0;
  std::string finding{};  // name of the verdict a simulator gives (RACE, BARRIER ...), with ok = false
  std::string note{};     // with ok = true: what a simulator noticed and no verdict forbids
};

// Not thread-safe; a process may hold several backends, but two ggml builds never share one.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;         // canonical spec, e.g. "cpu:tiled", "ggml:CPU,ref"
  virtual std::string description() const = 0;  // one line for `attest list backends`
  virtual std::string build_id() const = 0;     // e.g. "attest 0.1.0", "ggml 0.9.4 (d99724f2) icelake"
  // What a backend does not name here it is never asked for.
  virtual bool has_op(Op op) const { return op == Op::flash_attn_ext; }
  // Only asked for ops it has; everybody else asks support_of() below.
  virtual Support supports(const AttentionProblem& problem) const = 0;
  // What the code path taken for this problem promises. Only asked where supports() says yes.
  virtual ArithmeticContract contract(const AttentionProblem& problem) const = 0;
  // Writes O [d_v, n_head, n_q, n_seq], contiguous f32, through `out` (other ops: cases/op_inputs.h). Only called where
  // supports() says yes.
  virtual Outcome run(const AttentionInputs& inputs, const MutableTensorView& out) = 0;
};

// The one way to ask: an op that the backend does not know is UNSUPPORTED whatever its supports() would say.
inline Support support_of(const Backend& backend, const AttentionProblem& problem) {
  if (!backend.has_op(problem.op)) {
    return Support::no(backend.name() + " has no op " + std::string(info(problem.op).name));
  }
  return backend.supports(problem);
}

}  // namespace attest
