// A GoogleMock listener: tests state which events they expect, and in which order.
#pragma once

#include <gmock/gmock.h>

#include "reports/reporter.h"

namespace attest {

class MockRunListener : public RunListener {
 public:
  MOCK_METHOD(void, on_start, (const RunHeader& header), (override));
  MOCK_METHOD(void, on_case_start, (std::string_view line, std::string_view case_id, std::string_view backend),
              (override));
  MOCK_METHOD(void, on_verdict, (const VerdictRecord& record), (override));
  MOCK_METHOD(void, on_finish, (const RunSummary& summary), (override));
  MOCK_METHOD(Expected<void>, failed, (), (const, override));
};

}  // namespace attest
