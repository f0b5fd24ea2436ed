#include "backends/metal/sim/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "backends/metal/sim/mentions.h"
#include "backends/metal/sim/refuse.h"
#include "backends/metal/sim/tokens.h"

namespace attest::metal {
namespace {

// Attributes of kernel parameters; the narrower spellings mean the same here.
const std::map<std::string_view, std::string_view>& positions() {
  static const std::map<std::string_view, std::string_view> table{
      {"thread_position_in_grid", "thread_position_in_grid"},
      {"thread_position_in_threadgroup", "thread_position_in_threadgroup"},
      {"thread_index_in_threadgroup", "thread_index_in_threadgroup"},
      {"thread_index_in_simdgroup", "thread_index_in_simdgroup"},
      {"thread_index_in_quadgroup", "thread_index_in_quadgroup"},
      {"simdgroup_index_in_threadgroup", "simdgroup_index_in_threadgroup"},
      {"quadgroup_index_in_threadgroup", "quadgroup_index_in_threadgroup"},
      {"simdgroups_per_threadgroup", "simdgroups_per_threadgroup"},
      {"dispatch_simdgroups_per_threadgroup", "simdgroups_per_threadgroup"},
      {"threads_per_simdgroup", "threads_per_simdgroup"},
      {"thread_execution_width", "threads_per_simdgroup"},
      {"threadgroup_position_in_grid", "threadgroup_position_in_grid"},
      {"threadgroups_per_grid", "threadgroups_per_grid"},
      {"threads_per_threadgroup", "threads_per_threadgroup"},
      {"dispatch_threads_per_threadgroup", "threads_per_threadgroup"},
      {"threads_per_grid", "threads_per_grid"},
  };
  return table;
}

class Preparation {
 public:
  explicit Preparation(std::string_view source) : source_(source), tokens_(tokens_of(source)) {}

  Expected<std::string> run() {
    if (auto fine = refuse_foreign(tokens_); !fine) return Unexpected(fine.error());
    bool statement = true;  // at the start of a statement
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const Token& t = tokens_[i];
      const bool starts = statement;
      statement = t.is(";") || t.is("{") || t.is("}");
      if (t.is("{")) ++depth_;
      if (t.is("}")) --depth_;
      Expected<std::size_t> next = i;
      if (starts && depth_ == 0 && t.is("constant")) next = file_constant(i);
      if (starts && depth_ == 0 && t.is("template")) next = instance(i);
      if (t.is("kernel") && depth_ == 0) next = kernel(i);
      if (starts && depth_ > 0 && t.is("threadgroup")) next = threadgroup_objects(i);
      if (!next) return Unexpected(next.error());
      if (*next != i) {
        i = *next;
        statement = tokens_[std::min(i, tokens_.size() - 1)].is(";");
      }
    }
    return assembled();
  }

 private:
  static Unexpected error(const Token& at, std::string message, std::string hint = {}) {
    return msl_error(at, std::move(message), std::move(hint));
  }
  std::string_view text_between(std::size_t first, std::size_t last) const {  // tokens [first, last]
    if (first > last) return {};
    return source_.substr(tokens_[first].at, tokens_[last].at + tokens_[last].text.size() - tokens_[first].at);
  }
  std::size_t find_semicolon(std::size_t i) const {
    for (int depth = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].is("(") || tokens_[i].is("{") || tokens_[i].is("[")) ++depth;
      if (tokens_[i].is(")") || tokens_[i].is("}") || tokens_[i].is("]")) --depth;
      if (depth == 0 && tokens_[i].is(";")) return i;
    }
    return tokens_.size();
  }
  // Tokens [first, last] become `text`; line breaks inside stay.
  void replace(std::size_t first, std::size_t last, std::string text) {
    const std::string_view old = text_between(first, last);
    text.append(static_cast<std::size_t>(std::count(old.begin(), old.end(), '\n')), '\n');
    edits_.push_back({tokens_[first].at, old.size(), std::move(text)});
  }

  // constant T name [[function_constant(n)]];     constant T name = <of function constants>;
  Expected<std::size_t> file_constant(std::size_t i) {
    const std::size_t end = find_semicolon(i);
    if (end == tokens_.size()) return i;
    for (std::size_t k = i; k < end; ++k) {
      if (!tokens_[k].is("function_constant")) continue;
      const std::size_t open = k + 1, close = closing(tokens_, open);
      std::size_t name = k;
      while (name > i && tokens_[name].kind != Token::Kind::sign) --name;
      while (name > i && tokens_[name].is("[")) --name;  // [[
      if (name <= i + 1 || close >= end)
        return error(tokens_[k], "a function constant is: constant T name [[function_constant(n)]]");
      function_constants_.insert(tokens_[name].text);
      replace(i, end,
              fmt::format("MSL_FUNCTION_CONSTANT({}, {}, {});", text_between(i + 1, name - 1), tokens_[name].text,
                          text_between(open + 1, close - 1)));
      return end;
    }
    std::size_t equals = i;
    while (equals < end && !tokens_[equals].is("=")) ++equals;
    const bool computed =
        equals < end && std::any_of(tokens_.begin() + static_cast<std::ptrdiff_t>(equals),
                                    tokens_.begin() + static_cast<std::ptrdiff_t>(end),
                                    [&](const Token& t) { return function_constants_.count(t.text) > 0; });
    if (!computed) return i;
    const Token& name = tokens_[equals - 1];
    if (name.kind != Token::Kind::word) return error(name, "an array of function constants is not simulated");
    std::size_t type = i + 1;
    while (tokens_[type].is("constexpr") || tokens_[type].is("const")) ++type;
    function_constants_.insert(name.text);
    replace(i, end,
            fmt::format("MSL_COMPUTED_CONSTANT({}, {}, {});", text_between(type, equals - 2), name.text,
                        text_between(equals + 1, end - 1)));
    return end;
  }

  // "buffer(0);threadgroup(1);thread_position_in_grid" from the parameters between the brackets.
  Expected<std::string> signature(std::size_t open, std::size_t close) {
    std::string out;
    std::size_t start = open + 1;
    int depth = 0;
    for (std::size_t i = open + 1; i <= close; ++i) {
      const Token& t = tokens_[i];
      if (t.is("(") || t.is("[") || t.is("{") || t.is("<")) ++depth;
      if (i != close && (t.is(")") || t.is("]") || t.is("}") || t.is(">"))) --depth;
      if (i != close && !(depth == 0 && t.is(","))) continue;
      if (i > start) {
        auto binding = binding_of(start, i);
        if (!binding) return binding;
        out += (out.empty() ? "" : ";") + *binding;
      }
      start = i + 1;
    }
    return out;
  }

  Expected<std::string> binding_of(std::size_t first, std::size_t end) {
    for (std::size_t i = first; i + 1 < end; ++i) {
      if (!tokens_[i].is("[") || !tokens_[i + 1].is("[")) continue;
      const Token& word = tokens_[i + 2];
      replace(i, closing(tokens_, i), "");  // 'threadgroup' in there would be taken for the address space
      if (word.is("buffer") || word.is("threadgroup")) {
        return fmt::format("{}({})", word.text, text_between(i + 4, closing(tokens_, i + 3) - 1));
      }
      const auto known = positions().find(word.text);
      if (known != positions().end()) return std::string(known->second);
      std::vector<std::string> names{"buffer", "threadgroup"};
      for (const auto& [name, meaning] : positions()) names.emplace_back(name);
      return error(word, fmt::format("attribute '{}' of a kernel parameter is not simulated", word.text),
                   did_you_mean(word.text, names));
    }
    return error(tokens_[end - 1], fmt::format("kernel parameter '{}' has no attribute", tokens_[end - 1].text),
                 "e.g. [[buffer(0)]]");
  }

  // kernel void name(...) {
  Expected<std::size_t> kernel(std::size_t i) {
    std::size_t open = i;
    while (open < tokens_.size() && !tokens_[open].is("(") && !tokens_[open].is(";") && !tokens_[open].is("{")) ++open;
    if (open >= tokens_.size() || !tokens_[open].is("("))
      return error(tokens_[i], "'kernel' is not followed by a function");
    const std::size_t close = closing(tokens_, open);
    if (close + 1 >= tokens_.size() || !tokens_[close + 1].is("{")) return i;  // a declaration
    auto text = signature(open, close);
    if (!text) return Unexpected(text.error());
    const Token& name = tokens_[open - 1];
    signatures_[name.text] = *text;
    const bool is_template = i > 0 && tokens_[i - 1].is(">");
    if (!is_template) register_kernel(name, std::string(name.text), name.text, *text);
    return i;
  }

  // template [[host_name("x")]] kernel <type> f<...>;   or with parameters
  Expected<std::size_t> instance(std::size_t i) {
    if (i + 1 >= tokens_.size() || !tokens_[i + 1].is("[")) return i;
    const std::size_t end = find_semicolon(i);
    std::string_view host_name;
    for (std::size_t k = i; k < end; ++k) {
      if (tokens_[k].is("host_name") && k + 2 < end) host_name = tokens_[k + 2].text;
      if (host_name.empty() || tokens_[k].kind != Token::Kind::word) continue;
      const auto found = signatures_.find(tokens_[k].text);
      if (found == signatures_.end() || !tokens_[k + 1].is("<")) continue;
      const std::size_t close = closing(tokens_, k + 1);
      const std::string function(text_between(k, close));
      replace(i, end, "");
      register_kernel(tokens_[k], function, host_name.substr(1, host_name.size() - 2), found->second);
      return end;
    }
    return error(tokens_[i], "this explicit instantiation names no kernel template defined above it");
  }

  void register_kernel(const Token& at, const std::string& function, std::string_view name,
                       const std::string& signature) {
    const std::string_view plain = std::string_view(function).substr(0, function.find('<'));
    appendix_ += fmt::format("MSL_KERNEL({}, \"{}\", {}, \"{}\", \"{}\", {})\n", kernels_++, name, at.line, signature,
                             constants_of(plain), function);
  }

  // The function constants that a kernel's text leads to, but for those that the file asks whether they are defined.
  std::string constants_of(std::string_view kernel) {
    if (mentions_.empty()) mentions_ = mentions_of(tokens_);
    const auto reached = reached_from(kernel, mentions_);
    std::set<std::string_view> asked;
    for (std::size_t i = 0; i + 2 < tokens_.size(); ++i) {
      if (tokens_[i].is("is_function_constant_defined")) asked.insert(tokens_[i + 2].text);
    }
    std::string out;
    for (const auto constant : function_constants_) {
      if (reached.count(constant) > 0 && asked.count(constant) == 0) out += fmt::format("{};", constant);
    }
    return out;
  }

  // threadgroup T a[8], b;    inside a kernel: one object per threadgroup, not per thread
  Expected<std::size_t> threadgroup_objects(std::size_t i) {
    const std::size_t end = find_semicolon(i);
    std::size_t name = i + 1;
    int depth = 0;
    for (std::size_t k = i + 1; k < end; ++k) {
      if (tokens_[k].is("<")) ++depth;
      if (tokens_[k].is(">")) --depth;
      if (depth == 0 && (tokens_[k].is("*") || tokens_[k].is("&") || tokens_[k].is("="))) return i;  // a pointer
      if (depth == 0 && (tokens_[k].is("[") || tokens_[k].is(","))) break;
      name = k;
    }
    if (name <= i + 1) return i;
    const std::string_view type = text_between(i + 1, name - 1);
    std::string out;
    for (std::size_t k = name; k < end;) {
      const Token& object = tokens_[k];
      std::size_t last = k;
      while (last + 1 < end && tokens_[last + 1].is("[")) last = closing(tokens_, last + 1);
      if (last + 1 < end && !tokens_[last + 1].is(","))
        return error(tokens_[last + 1], "a threadgroup declaration is: threadgroup T name[n];");
      out += fmt::format("MSL_THREADGROUP_OBJECT({}, {}, {}, {}, {}) ", objects_++, type, object.text,
                         text_between(k + 1, last), object.line);
      k = last + 2;
    }
    replace(i, end, out);
    return end;
  }

  std::string assembled() const {
    std::string out;
    std::size_t at = 0;
    for (const Edit& e : edits_) {
      out.append(source_.substr(at, e.at - at));
      out += e.text;
      at = e.at + e.length;
    }
    out.append(source_.substr(at));
    return out + "\n" + appendix_;
  }

  struct Edit {
    std::size_t at, length;
    std::string text;
  };
  std::string_view source_;
  std::vector<Token> tokens_;
  std::vector<Edit> edits_;  // in textual order
  std::set<std::string_view> function_constants_;
  std::map<std::string_view, std::string> signatures_;
  Mentions mentions_;
  std::string appendix_;
  int depth_ = 0, objects_ = 0, kernels_ = 0;
};

}  // namespace

Expected<std::string> prepare_msl(std::string_view preprocessed) { return Preparation(preprocessed).run(); }

}  // namespace attest::metal
