// The suite files as the binary carries them.
#pragma once

#include <span>
#include <string_view>

namespace attest {

struct EmbeddedFile {
  std::string_view name;                // "quick.toml"
  std::span<const char* const> chunks;  // the text is their concatenation
};

std::span<const EmbeddedFile> embedded_suite_files();

}  // namespace attest
