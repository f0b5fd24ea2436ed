// What makes two runs parts of one: the same question, asked of the same builds in the same way.
#pragma once

#include <string>
#include <vector>

#include "cases/error.h"
#include "reports/record_file.h"

namespace attest {

// "seed is 7, was 0"; one phrase per way in which `now` asks something else than `then`. Shard, build ids, machine,
// time and command line are not looked at.
std::vector<std::string> differences(const RunHeader& then, const RunHeader& now);

// An input error that says what differs unless every run of `earlier` is a part of the run that `now` opens: no
// differences, the same shard, the same builds. A file without runs fits every run.
Expected<void> fits(const RecordFile& earlier, const RunHeader& now);

// What tells verdicts apart.
inline std::string pair_key(const std::string& case_id, const std::string& backend) { return case_id + ' ' + backend; }

}  // namespace attest
