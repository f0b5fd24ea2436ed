# Run with cmake -P: writes OUTPUT, a header with a fingerprint of SOURCES, so that keys worked out by other code are
# never taken from the cache.
set(all "")
foreach(source IN LISTS SOURCES)
  file(SHA256 ${source} one)
  string(APPEND all ${one})
endforeach()
string(SHA256 version "${all}")
string(SUBSTRING ${version} 0 16 version)
file(WRITE ${OUTPUT}
"// Generated: a fingerprint of the sources of cases/ and oracles/.
#pragma once

namespace attest {

inline constexpr const char* kKeyVersion = \"${version}\";

}  // namespace attest
")
