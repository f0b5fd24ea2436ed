// Where this user's caches lie: keys of cases, compiled kernels.
#pragma once

#include <filesystem>

namespace attest {

// ATTEST_CACHE_DIR, else XDG_CACHE_HOME/attest, else ~/.cache/attest (~/Library/Caches/attest on a Mac). Empty where
// none of these is known.
std::filesystem::path default_cache_dir();

}  // namespace attest
