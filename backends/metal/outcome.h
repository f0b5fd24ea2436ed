// What running dispatches on a device comes to, as a backend's answer: times, errors, findings.
#pragma once

#include <functional>
#include <string>

#include "backends/backend.h"
#include "backends/metal/device.h"
#include "cases/error.h"

namespace attest::metal {

// Calls `work` and tells of it; `who` stands before errors. Out of memory is one.
Outcome outcome_of(const std::string& who, const std::function<Expected<DispatchResult>()>& work);

}  // namespace attest::metal
