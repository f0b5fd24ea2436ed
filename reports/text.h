// Small pieces of text for people: quoting for a shell, wrapping, numbers of readable length.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace attest {

// One word for a POSIX shell, always in single quotes: it's -> 'it'\''s'.
std::string shell_quoted(std::string_view text);

// The text with control characters (a crashing library's newlines, escapes) turned into spaces.
std::string printable(std::string_view text);

// Words of `text` in lines of at most `width` columns, each after the first indented by `indent` spaces; the first
// starts in column `indent`. A word longer than a line is cut. No trailing newline.
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent);

// At most `width` columns: the middle gives way to "...".
std::string shortened(std::string_view text, std::size_t width);

std::string count_of(std::int64_t n, std::string_view singular, std::string_view plural);  // "1 case", "3 cases"
std::string duration(double seconds);  // "0.41 s", "12.3 s", "4 min 05 s"

}  // namespace attest
