// The Eigen reference behind the backend interface.
#pragma once

#include <memory>

#include "backends/registry.h"

namespace attest {

// eigen:f32, eigen:f64.
Expected<std::unique_ptr<Backend>> make_eigen_party(const BackendSpec& spec);

}  // namespace attest
