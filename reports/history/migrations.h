// The schema of a history file, as the steps that lead from each version to the next.
#pragma once

#include <span>

#include "reports/history/sqlite.h"

namespace attest {

// PRAGMA user_version counts the steps a file has taken. A step that was released never changes; new ones follow.
std::span<const char* const> history_steps();

// Takes the steps that are missing, all or none of them. Several processes may do so at once. An input error where the
// file is of a newer version, or a database of something else.
Expected<void> migrate(sqlite::Connection& connection);

}  // namespace attest
