// Small expressions over named numbers: how a manifest says what grids, sizes and constants follow from the problem.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cases/error.h"

namespace attest::metal {

// An integer of 64 bits, or a real number; an operation with a real operand is real.
struct Number {
  bool real = false;
  std::int64_t integer = 0;
  double value = 0;

  static Number of(std::int64_t i) { return {false, i, static_cast<double>(i)}; }
  static Number of_real(double d) { return {true, 0, d}; }
  bool truth() const { return real ? value != 0 : integer != 0; }
};
using Numbers = std::map<std::string, Number, std::less<>>;

// Integers (12, 0x10), reals (0.5, 1e-3), names, ( ), - + * / % (integers: towards zero), == != < <= > >= and ! && ||
// (1 or 0), min(a, b, ...), max(a, b, ...), ceil_div(a, b), round_up(a, b): the next multiple of b.
class Expression {
 public:
  // `names`: what may stand in it. The error (input) has the column in `text` and the nearest name.
  static Expected<Expression> parse(std::string_view text, const std::vector<std::string>& names);
  static Expression constant(std::int64_t value);

  // Errors (input): division by zero, more than 64 bits, % and the like of reals.
  Expected<Number> evaluate(const Numbers& numbers) const;
  // The same for what counts something: an integer in [low, high].
  Expected<std::int64_t> count(const Numbers& numbers, std::int64_t low, std::int64_t high) const;
  const std::string& text() const { return text_; }

  struct Node;

 private:
  std::string text_;
  std::shared_ptr<const Node> root_;
};

}  // namespace attest::metal
