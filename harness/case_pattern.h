// A predicate over cases: constraints on the keys of the descriptor, e.g. "v=f16|bf16 n_q>=64 mask~used".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cases/case.h"
#include "cases/error.h"

namespace attest {

// Words between blanks, all of which must hold:
//   key=a|b    the value is a or b             key!=a|b   it is neither
//   key>=n     key<=n                          numbers only
//   key~text   the value's text contains it    key!~text  it does not; texts only
// Numbers: d (where d_k equals d_v), d_k, d_v, n_head, n_head_kv, n_head_v, n_q, n_kv, n_seq, n_seq_kv, scale, softcap,
// max_bias, prompt, chunk, threads, seed. Texts, as the descriptor prints them, defaults included: op, kv (where k equals v), k, v,
// mask, sinks, layout, data, poison, prec.
class CasePattern {
 public:
  // Input errors: unknown key or operator, a number that is none, an order on texts, no constraint at all. They carry
  // the column in `text`.
  static Expected<CasePattern> parse(std::string_view text);

  bool matches(const Case& c) const { return first_broken(c).empty(); }
  // The first constraint that does not hold, as it was written; "" when all hold.
  std::string_view first_broken(const Case& c) const;
  const std::string& text() const { return text_; }

 private:
  enum class Relation { equal, not_equal, at_least, at_most, contains, lacks };
  struct Constraint {
    std::size_t key = 0;  // index in the table of keys
    Relation relation = Relation::equal;
    std::vector<std::string> words;
    std::vector<double> numbers;
    std::string written;
    bool holds(const Case& c) const;
  };

  static Relation relation_named(std::string_view name);

  std::string text_;
  std::vector<Constraint> constraints_;
};

// Shell-like: * any run of characters, ? any one. The whole text must match.
bool glob_matches(std::string_view glob, std::string_view text);

}  // namespace attest
