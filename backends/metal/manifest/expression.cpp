#include "backends/metal/manifest/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace attest::metal {

enum class Op : std::uint8_t {
  number,
  name,
  negate,
  not_,
  add,
  subtract,
  multiply,
  divide,
  remainder,
  equal,
  unequal,
  less,
  less_equal,
  greater,
  greater_equal,
  and_,
  or_,
  min,
  max,
  ceil_div,
  round_up
};

struct Expression::Node {
  Op op = Op::number;
  Number number;
  std::string name;
  std::vector<std::shared_ptr<const Node>> operands;
};

namespace {

using NodePtr = std::shared_ptr<const Expression::Node>;

constexpr int kDeepest = 100;  // parentheses and signs in each other
constexpr std::size_t kLongest = 2000;

struct Symbol {
  std::string_view text;
  Op op;
};
// By strength, weakest first; all of them join from the left. Longer ones stand before their beginnings.
const std::array<std::vector<Symbol>, 6> kLevels{{
    {{"||", Op::or_}},
    {{"&&", Op::and_}},
    {{"==", Op::equal}, {"!=", Op::unequal}},
    {{"<=", Op::less_equal}, {">=", Op::greater_equal}, {"<", Op::less}, {">", Op::greater}},
    {{"+", Op::add}, {"-", Op::subtract}},
    {{"*", Op::multiply}, {"/", Op::divide}, {"%", Op::remainder}},
}};

struct Function {
  std::string_view name;
  Op op;
  bool any_number;  // of arguments, from two on
};
constexpr std::array<Function, 4> kFunctions{{{"min", Op::min, true},
                                              {"max", Op::max, true},
                                              {"ceil_div", Op::ceil_div, false},
                                              {"round_up", Op::round_up, false}}};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Parser {
 public:
  Parser(std::string_view text, const std::vector<std::string>& names) : text_(text), names_(names) {}

  Expected<NodePtr> whole() {
    if (text_.size() > kLongest) return wrong(0, "the expression is too long");
    auto node = binary(0);
    if (!node) return node;
    skip();
    if (at_ < text_.size()) return wrong(at_, fmt::format("'{}' does not belong here", text_.substr(at_, 1)));
    return node;
  }

 private:
  Unexpected wrong(std::size_t at, std::string message, std::string hint = {}) const {
    return Unexpected(Error{
        ErrorKind::input, std::move(message), {}, 0, static_cast<int>(at) + 1, std::string(text_), std::move(hint)});
  }
  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  bool take(std::string_view symbol) {
    skip();
    if (text_.substr(at_, symbol.size()) != symbol) return false;
    at_ += symbol.size();
    return true;
  }
  static NodePtr node(Op op, std::vector<NodePtr> operands) {
    return std::make_shared<Expression::Node>(Expression::Node{op, {}, {}, std::move(operands)});
  }

  Expected<NodePtr> binary(std::size_t level) {
    if (level == kLevels.size()) return unary();
    auto left = binary(level + 1);
    while (left) {
      const auto& symbols = kLevels[level];
      const auto found = std::find_if(symbols.begin(), symbols.end(), [&](const Symbol& s) { return take(s.text); });
      if (found == symbols.end()) return left;
      auto right = binary(level + 1);
      if (!right) return right;
      left = node(found->op, {*left, *right});
    }
    return left;
  }

  Expected<NodePtr> unary() {
    if (++depth_ > kDeepest) return wrong(at_, "the expression is nested too deeply");
    auto out = [&]() -> Expected<NodePtr> {
      for (const auto& [symbol, op] : {std::pair{"-", Op::negate}, {"!", Op::not_}}) {
        if (!take(symbol)) continue;
        auto operand = unary();
        if (!operand) return operand;
        return node(op, {*operand});
      }
      return primary();
    }();
    --depth_;
    return out;
  }

  Expected<NodePtr> primary() {
    if (take("(")) {
      const std::size_t open = at_ - 1;
      auto inner = binary(0);
      if (!inner) return inner;
      if (!take(")")) return wrong(open, "this parenthesis is not closed");
      return inner;
    }
    skip();
    if (at_ == text_.size()) return wrong(at_, "a number, a name or a parenthesis is missing at the end");
    if (is_digit(text_[at_]) || text_[at_] == '.') return number();
    if (is_letter(text_[at_])) return word();
    return wrong(at_, fmt::format("a number, a name or a parenthesis is expected, not '{}'", text_.substr(at_, 1)));
  }

  Expected<NodePtr> number() {
    const std::size_t begin = at_;
    const bool hex = text_.substr(at_, 2) == "0x";
    bool real = false;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      const bool exponent = !hex && (c == 'e' || c == 'E');
      const bool sign =
          (c == '+' || c == '-') && at_ > begin && real && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
      if (!is_digit(c) && !is_letter(c) && c != '.' && !sign) break;
      real = real || exponent || c == '.';
      ++at_;
    }
    const std::string_view digits = text_.substr(begin, at_ - begin);
    const char* end = digits.data() + digits.size();
    Expression::Node out;
    if (real) {
      double value = 0;
      const auto [stop, error] = std::from_chars(digits.data(), end, value);
      if (error != std::errc() || stop != end) return wrong(begin, fmt::format("'{}' is no number", digits));
      out.number = Number::of_real(value);
    } else {
      std::int64_t value = 0;
      const auto [stop, error] = std::from_chars(digits.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
      if (error != std::errc() || stop != end)
        return wrong(begin, fmt::format("'{}' is no whole number of 64 bits", digits));
      out.number = Number::of(value);
    }
    return std::make_shared<Expression::Node>(std::move(out));
  }

  Expected<NodePtr> word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
    const std::string_view name = text_.substr(begin, at_ - begin);
    const auto function =
        std::find_if(kFunctions.begin(), kFunctions.end(), [&](const Function& f) { return f.name == name; });
    if (take("(")) {
      if (function == kFunctions.end()) {
        std::vector<std::string> known;
        for (const Function& f : kFunctions) known.emplace_back(f.name);
        const std::string near = did_you_mean(name, known);
        return wrong(begin, fmt::format("no function is called '{}'", name),
                     near.empty() ? fmt::format("there are {}", fmt::join(known, ", ")) : near);
      }
      return call(begin, *function);
    }
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) {
      return wrong(begin, fmt::format("nothing is called '{}'", name), did_you_mean(name, names_));
    }
    return std::make_shared<Expression::Node>(Expression::Node{Op::name, {}, std::string(name), {}});
  }

  Expected<NodePtr> call(std::size_t begin, const Function& function) {
    std::vector<NodePtr> arguments;
    do {
      auto argument = binary(0);
      if (!argument) return argument;
      arguments.push_back(std::move(*argument));
    } while (take(","));
    if (!take(")")) return wrong(begin, fmt::format("the parenthesis of {} is not closed", function.name));
    if (arguments.size() < 2 || (!function.any_number && arguments.size() > 2)) {
      return wrong(begin, fmt::format("{} takes {} arguments, not {}", function.name,
                                      function.any_number ? "two or more" : "two", arguments.size()));
    }
    return node(function.op, std::move(arguments));
  }

  std::string_view text_;
  const std::vector<std::string>& names_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

Expected<Number> divided(Op op, std::int64_t a, std::int64_t b) {
  if (b == 0) return input_error("division by zero");
  if (a == std::numeric_limits<std::int64_t>::min() && b == -1) return input_error("a number needs more than 64 bits");
  if (op == Op::divide) return Number::of(a / b);
  if (op == Op::remainder) return Number::of(a % b);
  if (a < 0 || b < 0) return input_error("ceil_div and round_up are of positive numbers");
  const std::int64_t up = a / b + (a % b != 0 ? 1 : 0);
  std::int64_t out = up;
  if (op == Op::round_up && __builtin_mul_overflow(up, b, &out)) return input_error("a number needs more than 64 bits");
  return Number::of(out);
}

template <class T>
bool holds(Op op, T a, T b) {
  switch (op) {
    case Op::equal:
      return a == b;
    case Op::unequal:
      return a != b;
    case Op::less:
      return a < b;
    case Op::less_equal:
      return a <= b;
    case Op::greater:
      return a > b;
    default:
      return a >= b;
  }
}

Expected<Number> of_integers(Op op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  bool overflow = false;
  switch (op) {
    case Op::add:
      overflow = __builtin_add_overflow(a, b, &out);
      break;
    case Op::subtract:
      overflow = __builtin_sub_overflow(a, b, &out);
      break;
    case Op::multiply:
      overflow = __builtin_mul_overflow(a, b, &out);
      break;
    case Op::min:
      out = std::min(a, b);
      break;
    case Op::max:
      out = std::max(a, b);
      break;
    case Op::divide:
    case Op::remainder:
    case Op::ceil_div:
    case Op::round_up:
      return divided(op, a, b);
    default:
      out = holds(op, a, b) ? 1 : 0;
  }
  if (overflow) return input_error("a number needs more than 64 bits");
  return Number::of(out);
}

Expected<Number> of_reals(Op op, double a, double b) {
  switch (op) {
    case Op::add:
      return Number::of_real(a + b);
    case Op::subtract:
      return Number::of_real(a - b);
    case Op::multiply:
      return Number::of_real(a * b);
    case Op::divide:
      if (b == 0) return input_error("division by zero");
      return Number::of_real(a / b);
    case Op::min:
      return Number::of_real(std::min(a, b));
    case Op::max:
      return Number::of_real(std::max(a, b));
    case Op::remainder:
    case Op::ceil_div:
    case Op::round_up:
      return input_error("%, ceil_div and round_up are of whole numbers");
    default:
      return Number::of(holds(op, a, b) ? 1 : 0);
  }
}

Expected<Number> value_of(const Expression::Node& n, const Numbers& numbers) {
  if (n.op == Op::number) return n.number;
  if (n.op == Op::name) {
    const auto found = numbers.find(n.name);
    if (found == numbers.end()) return input_error(fmt::format("'{}' is not known here", n.name));
    return found->second;
  }
  auto left = value_of(*n.operands[0], numbers);
  if (!left) return left;
  if (n.op == Op::not_) return Number::of(left->truth() ? 0 : 1);
  if (n.op == Op::negate)
    return left->real ? Number::of_real(-left->value) : of_integers(Op::subtract, 0, left->integer);
  if (n.op == Op::and_ && !left->truth()) return Number::of(0);
  if (n.op == Op::or_ && left->truth()) return Number::of(1);
  for (std::size_t i = 1; i < n.operands.size(); ++i) {
    const auto right = value_of(*n.operands[i], numbers);
    if (!right) return right;
    if (n.op == Op::and_ || n.op == Op::or_) return Number::of(right->truth() ? 1 : 0);
    left = left->real || right->real ? of_reals(n.op, left->value, right->value)
                                     : of_integers(n.op, left->integer, right->integer);
    if (!left) return left;
  }
  return left;
}

}  // namespace

Expected<Expression> Expression::parse(std::string_view text, const std::vector<std::string>& names) {
  auto root = Parser(text, names).whole();
  if (!root) return Unexpected(root.error());
  Expression out;
  out.text_ = text;
  out.root_ = std::move(*root);
  return out;
}

Expression Expression::constant(std::int64_t value) {
  Expression out;
  out.text_ = std::to_string(value);
  out.root_ = std::make_shared<Node>(Node{Op::number, Number::of(value), {}, {}});
  return out;
}

Expected<Number> Expression::evaluate(const Numbers& numbers) const {
  if (!root_) return Number::of(0);
  auto value = value_of(*root_, numbers);
  if (!value) value.error().message = fmt::format("'{}': {}", text_, value.error().message);
  return value;
}

Expected<std::int64_t> Expression::count(const Numbers& numbers, std::int64_t low, std::int64_t high) const {
  const auto value = evaluate(numbers);
  if (!value) return Unexpected(value.error());
  if (value->real || value->integer < low || value->integer > high) {
    return input_error(fmt::format("'{}' is {}, no whole number from {} to {}", text_,
                                   value->real ? fmt::format("{}", value->value) : std::to_string(value->integer), low,
                                   high));
  }
  return value->integer;
}

}  // namespace attest::metal
