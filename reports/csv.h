// A run as CSV (RFC 4180): one line per verdict, the columns of the record that are single values.
#pragma once

#include <string>

#include "reports/record_file.h"

namespace attest {

std::string csv_table(const RecordFile& file);

}  // namespace attest
