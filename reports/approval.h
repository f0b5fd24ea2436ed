// Approval tests: text must equal the file in reports/baselines, to the byte. ATTEST_APPROVE=1 rewrites the file.
#pragma once

#include <string>
#include <string_view>

namespace attest {

// Empty when `text` is what reports/baselines/<name> holds; else the difference and how to accept it.
std::string unapproved(std::string_view name, std::string_view text);

}  // namespace attest
