#include "reports/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <regex>
#include <set>

#include "reports/synthetic_run.h"

namespace attest {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Verdicts, NamesAreUniqueAndFindTheirWayBack) {
  std::set<std::string_view> names;
  for (const Verdict verdict : all_verdicts()) {
    EXPECT_TRUE(names.insert(info(verdict).name).second) << info(verdict).name;
    EXPECT_EQ(verdict_from_name(info(verdict).name), verdict);
  }
  EXPECT_EQ(names.size(), all_verdicts().size());
  EXPECT_EQ(info(Verdict::NAN_).name, "NAN");
  EXPECT_TRUE(info(Verdict::FAIL).bad);
  EXPECT_FALSE(info(Verdict::XFAIL).bad);
}

TEST(Verdicts, MisspelledNameGetsTheNearestOne) {
  const auto verdict = verdict_from_name("CRUSH");
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().hint, "did you mean 'CRASH'?");
}

TEST(Record, EveryRecordOfARunSurvivesTheRoundTrip) {
  for (const auto& record : synthetic_run().records) {
    const std::string json = to_json(record);
    const auto back = record_from_json(json);
    ASSERT_TRUE(back) << back.error().text();
    EXPECT_EQ(to_json(*back), json);
    EXPECT_EQ(json.find('\n'), std::string::npos) << "a newline would cut the record in two: " << json;
  }
}

TEST(Record, NanAndInfinityAreStrings) {
  VerdictRecord r;
  r.err_over_b = std::numeric_limits<double>::quiet_NaN();
  r.nmse = std::numeric_limits<double>::infinity();
  r.worst.got = -std::numeric_limits<double>::infinity();
  const std::string json = to_json(r);
  EXPECT_THAT(json, HasSubstr(R"("err_over_b":"nan")"));
  EXPECT_THAT(json, HasSubstr(R"("nmse":"inf")"));
  EXPECT_THAT(json, HasSubstr(R"("got":"-inf")"));
  const auto back = record_from_json(json);
  ASSERT_TRUE(back);
  EXPECT_TRUE(std::isnan(back->err_over_b));
  EXPECT_EQ(back->nmse, r.nmse);
  EXPECT_EQ(back->worst.got, r.worst.got);
}

TEST(Record, BytesThatAreNotUtf8DoNotLoseTheRecord) {
  VerdictRecord r;
  r.detail = "abort: \xff\xfe, then a newline\n";
  const auto back = record_from_json(to_json(r));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->detail, "abort: \xEF\xBF\xBD\xEF\xBF\xBD, then a newline\n");
}

TEST(Record, MissingRequiredKeyIsNamed) {
  for (const std::string key : {"verdict", "case_id", "line", "backend"}) {
    std::string json = R"({"verdict":"PASS","case_id":"0","line":"x","backend":"cpu:vec"})";
    EXPECT_TRUE(record_from_json(json)) << "the four keys must be enough";
    json.replace(json.find('"' + key + '"'), key.size() + 2, "\"other\"");
    const auto record = record_from_json(json);
    ASSERT_FALSE(record) << key;
    EXPECT_THAT(record.error().message, HasSubstr("missing key '" + key + "'"));
  }
  const auto nested =
      record_from_json(R"({"verdict":"PASS","case_id":"0","line":"x","backend":"b","parties":[{"nmse":1}]})");
  ASSERT_FALSE(nested);
  EXPECT_THAT(nested.error().message, HasSubstr("missing key 'parties.party'"));
}

TEST(Record, WrongTypesAreNamed) {
  const auto with = [](const std::string& more) {
    return record_from_json(R"({"verdict":"PASS","case_id":"0","line":"x","backend":"b",)" + more + "}");
  };
  for (const auto& [more, message] : std::vector<std::pair<std::string, std::string>>{
           {R"("rows":"many")", "key 'rows' must be an integer"},
           {R"("rows":1.5)", "key 'rows' must be an integer"},
           {R"("nmse":"big")", "key 'nmse' must be a number"},
           {R"("suspect":1)", "key 'suspect' must be true or false"},
           {R"("detail":null)", "key 'detail' must be a string"},
           {R"("tags":"decode")", "key 'tags' must be an array of strings"},
           {R"("worst":{"head":"x"})", "key 'worst.head' must be an integer"},
           {R"("worst":3)", "key 'worst' must be an object"}}) {
    const auto record = with(more);
    ASSERT_FALSE(record) << more;
    EXPECT_THAT(record.error().message, HasSubstr(message));
  }
}

TEST(Record, UnknownKeysOfNewerVersionsAreIgnored) {
  const auto record = record_from_json(
      R"({"verdict":"FAIL","case_id":"0","line":"x","backend":"b","new":{"a":[1]},"worst":{"head":3,"lane":9}})");
  ASSERT_TRUE(record) << record.error().text();
  EXPECT_EQ(record->verdict, Verdict::FAIL);
  EXPECT_EQ(record->worst.head, 3);
}

TEST(Record, TextThatIsNoRecordIsAnInputError) {
  for (const char* json : {"", "{", "[]", "nonsense", R"({"verdict":"PASS")"}) {
    const auto record = record_from_json(json);
    ASSERT_FALSE(record) << json;
    EXPECT_EQ(record.error().kind, ErrorKind::input);
  }
}

TEST(Record, OnlyVerdictRecordsHaveTheKeyVerdict) {
  const SyntheticRun run = synthetic_run();
  EXPECT_THAT(to_json(run.header), Not(HasSubstr("\"verdict\"")));
  EXPECT_THAT(to_json(run.summary), Not(HasSubstr("\"verdict\"")));
  EXPECT_THAT(started_json("line", "id", "cpu:vec"), Not(HasSubstr("\"verdict\"")));
  EXPECT_FALSE(record_from_json(started_json("line", "id", "cpu:vec")));
}

// schema.md lists a key as `key`, or `worst.key` the first time and `.key` after it.
TEST(Record, EveryKeyWrittenIsInTheSchema) {
  std::ifstream file(std::string(ATTEST_SOURCE_DIR) + "/reports/schema.md");
  const std::string schema{std::istreambuf_iterator<char>(file), {}};
  SyntheticRun run = synthetic_run();
  run.summary.counts.clear();  // its keys, and those of the ratios, are names of backends
  run.summary.max_err_over_b.clear();
  const std::regex key("\"([a-z0-9_]+)\":");
  for (const std::string& json :
       {to_json(run.header), started_json("l", "i", "b"), to_json(run.records.front()), to_json(run.summary)}) {
    for (std::sregex_iterator it(json.begin(), json.end(), key), end; it != end; ++it) {
      const std::string name = (*it)[1];
      EXPECT_TRUE(schema.find("`" + name + "`") != std::string::npos ||
                  schema.find("." + name + "`") != std::string::npos)
          << name << " is not documented";
    }
  }
}

TEST(Record, HeaderSurvivesTheRoundTrip) {
  RunHeader header = synthetic_run().header;
  header.seed = std::numeric_limits<std::uint64_t>::max();
  const auto back = header_from_json(to_json(header));
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_EQ(*back, header);
}

TEST(Record, HeaderOfANewerSchemaIsRefused) {
  RunHeader header;
  header.schema = kRecordSchema + 1;
  const auto back = header_from_json(to_json(header));
  ASSERT_FALSE(back);
  EXPECT_THAT(back.error().message, HasSubstr("newer"));
  EXPECT_THAT(header_from_json(R"({"run":{"schema":1}})").error().message, HasSubstr("missing key 'run.version'"));
}

}  // namespace
}  // namespace attest
