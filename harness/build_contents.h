// What a build is, told by its bytes: its names and versions are what it says of itself.
#pragma once

#include <filesystem>
#include <string>

namespace attest {

// A line with name and hash for every library that attest may load from a ggml build directory, or for the file that
// `path` names. Empty where there is none.
std::string contents_of(const std::filesystem::path& path);

// 16 hexadecimal digits that tell texts apart.
std::string fingerprint_of_text(const std::string& text);

}  // namespace attest
