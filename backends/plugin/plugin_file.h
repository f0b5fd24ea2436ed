// Opens a plug-in's file and holds what it exports against attest_plugin.h.
#pragma once

#include <filesystem>
#include <string>

#include "backends/plugin/attest_plugin.h"
#include "cases/error.h"

namespace attest::plugin {

// Runs foreign code: only in a subject process. The library stays loaded. Errors (harness): no such file, not a library
// for this machine, no attest_plugin_entry, another ABI version, a struct that is too small, a function or name
// missing.
Expected<const attest_plugin*> open_plugin(const std::filesystem::path& file);

// Text of a plug-in that people will read: one line, single blanks, cut where it is too long.
std::string clean_text(const char* text);

}  // namespace attest::plugin
