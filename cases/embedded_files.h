// Text files that the binary carries: suites, and the parts of the HTML page.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace attest {

struct EmbeddedFile {
  std::string_view name;                // "quick.toml"
  std::span<const char* const> chunks;  // the text is their concatenation

  std::string text() const {
    std::string whole;
    for (const char* chunk : chunks) whole += chunk;
    return whole;
  }
};

std::span<const EmbeddedFile> embedded_suite_files();
std::span<const EmbeddedFile> embedded_page_files();
std::span<const EmbeddedFile> embedded_metal_kernels();  // backends/metal/kernels
std::span<const EmbeddedFile> embedded_metal_headers();  // the simulator's MSL: backends/metal/sim/abi.h and msl/*

}  // namespace attest
