#include "harness/run/stack_text.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

namespace attest {

namespace {

std::string without(std::string text, std::string_view part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part)) text.erase(at, part.size());
  return text;
}

// double ns::f<int>(char) const -> ns::f
std::string bare_name(const std::string& symbol) {
  if (symbol.rfind("_Z", 0) != 0) return symbol;
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  if (status != 0 || text == nullptr) return symbol;
  std::string bare;
  int depth = 0;
  for (const char c : without(text.get(), "(anonymous namespace)::")) {
    if (depth == 0 && c == '(' && !bare.empty()) break;  // the arguments
    if (depth == 0 && c == ' ') bare.clear();            // what stood before was the return type
    if (c == '<') ++depth;
    if (depth == 0 && c != ' ') bare += c;
    if (c == '>') --depth;
  }
  return bare.empty() ? symbol : bare;
}

struct Frame {
  std::string_view object;  // file name of the library
  std::string name;         // function, or object+offset
};

// object(symbol+offset)[address]; no name: not understood.
Frame frame_of(std::string_view line) {
  const auto open = line.find('('), close = line.find(')', open);
  if (open == std::string_view::npos || close == std::string_view::npos) return {};
  Frame frame;
  const auto slash = line.substr(0, open).rfind('/');
  frame.object = line.substr(slash == std::string_view::npos ? 0 : slash + 1, open - (slash + 1));
  const std::string_view inside = line.substr(open + 1, close - open - 1);
  const auto plus = inside.rfind('+');
  const std::string symbol(inside.substr(0, plus));
  frame.name = symbol.empty() ? std::string(frame.object) + std::string(inside) : bare_name(symbol);
  return frame;
}

}  // namespace

std::string stack_text(std::string_view dump, int most) {
  std::string text;
  bool in_handler = true;  // the handler itself, the C library's trampoline, raise() and abort()
  for (int shown = 0, seen = 0; !dump.empty() && shown < most;) {
    const auto end = dump.find('\n');
    const Frame frame = frame_of(dump.substr(0, end));
    dump.remove_prefix(end == std::string_view::npos ? dump.size() : end + 1);
    if (frame.name.empty()) continue;
    if (frame.name.find("subject_main") != std::string::npos) break;
    const bool libc = frame.object.rfind("libc.", 0) == 0 || frame.object.rfind("libc-", 0) == 0;
    in_handler = in_handler && (seen++ == 0 || libc);
    if (in_handler) continue;
    text += (text.empty() ? "" : " < ") + frame.name;
    ++shown;
  }
  return text;
}

}  // namespace attest
