#include "harness/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace attest {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Case parsed(std::string_view line) {
  auto c = parse_case(line);
  EXPECT_TRUE(c) << c.error().text();
  return c ? *c : Case{};
}

bool holds(std::string_view pattern, std::string_view line) {
  const auto p = CasePattern::parse(pattern);
  EXPECT_TRUE(p) << p.error().text();
  return p && p->matches(parsed(line));
}

constexpr std::string_view kLine =
    "flash_attn_ext d=128 n_head=16 n_head_kv=8 n_q=64 n_kv=512 k=q8_0 v=f16 mask=causal+used:300 softcap=0.1 seed=7";

TEST(CasePattern, EachRelationHoldsAndBreaks) {
  for (const char* pattern : {"d=128",         "d=64|128",
                              "d!=64",         "n_q>=64",
                              "n_q<=64",       "v=f16",
                              "v=f16|bf16",    "v!=f32",
                              "mask~used",     "mask!~dead",
                              "softcap=0.1",   "seed=7",
                              "layout=0123",   "data=normal",
                              "poison=none",   "sinks=none",
                              "prec=default",  "threads=0",
                              "n_head_v=8",    "n_seq_kv=1",
                              "max_bias=0",    "v=f16 n_q>=64 mask~used",
                              "mask~dead|used"}) {
    EXPECT_TRUE(holds(pattern, kLine)) << pattern;
  }
  for (const char* pattern :
       {"d=64", "d=64|96", "d!=64|128", "n_q>=65", "n_q<=63", "v=f32", "v=bf16|q8_0", "v!=f16", "mask~dead",
        "mask!~used", "softcap=0.2", "kv=f16", "layout~0213", "mask!~dead|used", "d=128 v=f16 n_q>=65"}) {
    EXPECT_FALSE(holds(pattern, kLine)) << pattern;
  }
}

TEST(CasePattern, KeysThatNeedTwoEqualValuesHoldOnlyThen) {
  EXPECT_FALSE(holds("d>=1", "flash_attn_ext d_k=192 d_v=128"));
  EXPECT_TRUE(holds("d!=192", "flash_attn_ext d_k=192 d_v=128"));
  EXPECT_TRUE(holds("kv=q8_0", "flash_attn_ext d=64 kv=q8_0"));
  EXPECT_TRUE(holds("k=q8_0 v=q8_0", "flash_attn_ext d=64 kv=q8_0"));
}

TEST(CasePattern, BadPatternsSayWhereAndWhatWasMeant) {
  struct Bad {
    const char *pattern, *message, *hint;
    int column;
  };
  for (const auto& [pattern, message, hint, column] :
       {Bad{"v=f16 nq>=64", "unknown key 'nq'", "did you mean 'n_q'?", 7},
        Bad{"n_q>64", "'n_q>64' is no constraint", ">=", 4}, Bad{"n_q", "'n_q' is no constraint", "=", 4},
        Bad{"v>=f16", "v is a text", "~", 2}, Bad{"n_q~4", "n_q is a number", ">=", 4}, Bad{"n_q=many", "n_q", "", 5},
        Bad{"mask=", "lacks a value", "", 6}, Bad{"v=f16|", "lacks a value", "", 7}, Bad{"n_q>=1|2", "n_q", "", 6},
        Bad{"", "every case", "", 1}, Bad{"   ", "every case", "", 1}}) {
    const auto p = CasePattern::parse(pattern);
    ASSERT_FALSE(p) << pattern;
    EXPECT_THAT(p.error().message, HasSubstr(message)) << pattern;
    EXPECT_THAT(p.error().hint, HasSubstr(hint)) << pattern;
    EXPECT_EQ(p.error().column, column) << pattern;
  }
}

TEST(Glob, StarsAndQuestionMarks) {
  for (const auto& [glob, text] : std::vector<std::pair<const char*, const char*>>{{"ggml:CPU*", "ggml:CPU,ref"},
                                                                                   {"ggml*:CPU", "ggml@v5:CPU"},
                                                                                   {"*", ""},
                                                                                   {"c?u:*c", "cpu:vec"},
                                                                                   {"**", "x"}}) {
    EXPECT_TRUE(glob_matches(glob, text)) << glob;
  }
  for (const auto& [glob, text] : std::vector<std::pair<const char*, const char*>>{
           {"ggml:CPU", "ggml:CPU,ref"}, {"?", ""}, {"*vec", "cpu:vectors"}, {"", "x"}}) {
    EXPECT_FALSE(glob_matches(glob, text)) << glob;
  }
}

constexpr std::string_view kLedger = R"(# known
[[entry]]
backend = "ggml:CPU*"
match = "v=f16 n_q>=64"
path = "tiled"
verdict = ["FAIL", "NAN"]
mode = "tolerated"
reason = "f16 accumulator"
link = "https://example.org/1"
repro = "flash_attn_ext d=128 n_q=64 v=f16 k=q8_0"

[[entry]]
backend = "ggml:CPU"
tag = "mla"
verdict = "CRASH"
mode = "quarantined"
reason = "aborts"
repro = "flash_attn_ext d=64"

[[entry]]
backend = "*"
line = "flash_attn_ext n_kv=96 d=64"
verdict = "FAIL"
mode = "tolerated"
sometimes = true
reason = "now and then"
repro = "flash_attn_ext d=64 n_kv=96"
)";

Ledger good() {
  auto ledger = Ledger::parse(kLedger, "known.toml");
  EXPECT_TRUE(ledger) << ledger.error().text();
  return ledger ? *ledger : Ledger{};
}

VerdictRecord record(Verdict verdict) {
  VerdictRecord r;
  r.verdict = verdict;
  r.detail = "as the judge wrote it";
  return r;
}

TEST(Ledger, MatchesByPatternTagAndLine) {
  const Ledger ledger = good();
  const auto& entries = ledger.entries();
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(ledger.match(parsed(kLine), "ggml:CPU", "tiled"), &entries[0]);
  EXPECT_EQ(ledger.match(parsed(kLine), "ggml:CPU,ref", "tiled"), &entries[0]);
  EXPECT_EQ(ledger.match(parsed(kLine), "ggml:CPU", "vec"), nullptr) << "another path";
  EXPECT_EQ(ledger.match(parsed(kLine), "cpu:vec", "tiled"), nullptr) << "another backend";
  Case mla = parsed("flash_attn_ext d=64 n_q=3");
  EXPECT_EQ(ledger.match(mla, "ggml:CPU", "vec"), nullptr);
  mla.tags = {"decode", "mla"};
  EXPECT_EQ(ledger.match(mla, "ggml:CPU", "vec"), &entries[1]);
  EXPECT_EQ(ledger.match(parsed("flash_attn_ext d=64 n_kv=96"), "cpu:vec", ""), &entries[2]);
  EXPECT_EQ(ledger.match(parsed("flash_attn_ext d=64 n_kv=96 seed=1"), "cpu:vec", ""), nullptr);
  EXPECT_THAT(entries[0].verdicts, ElementsAre(Verdict::FAIL, Verdict::NAN_));
  EXPECT_EQ(entries[0].file_line, 2);
}

TEST(Ledger, ToleratedFailureIsXfailWithTheVerdictBehindIt) {
  Ledger ledger = good();
  for (const Verdict verdict : {Verdict::FAIL, Verdict::NAN_}) {
    VerdictRecord r = record(verdict);
    ledger.apply(r, ledger.entries()[0]);
    EXPECT_EQ(r.verdict, Verdict::XFAIL);
    EXPECT_EQ(r.underlying, info(verdict).name);
    EXPECT_EQ(r.detail, "f16 accumulator");
  }
}

TEST(Ledger, ToleratedPassIsXpassThatNamesTheEntry) {
  Ledger ledger = good();
  VerdictRecord r = record(Verdict::PASS);
  ledger.apply(r, ledger.entries()[0]);
  EXPECT_EQ(r.verdict, Verdict::XPASS);
  EXPECT_EQ(r.underlying, "PASS");
  EXPECT_THAT(r.detail, HasSubstr("known.toml:2"));
}

TEST(Ledger, OtherVerdictsStayAsTheyAre) {
  Ledger ledger = good();
  for (const Verdict verdict : {Verdict::CRASH, Verdict::HANG, Verdict::ORACLE, Verdict::UNSUPPORTED, Verdict::RANGE}) {
    VerdictRecord r = record(verdict), before = r;
    ledger.apply(r, ledger.entries()[0]);
    EXPECT_EQ(r, before) << info(verdict).name;
  }
}

TEST(Ledger, AnEntryForALesserVerdictExcusesNoWrongAnswerBehindIt) {
  Ledger ledger = good();
  for (const auto& [also, verdict] : {std::pair{"NAN", Verdict::XFAIL}, {"CRASH", Verdict::FAIL}}) {
    VerdictRecord r = record(Verdict::FAIL);
    r.also = {also};
    ledger.apply(r, ledger.entries()[0]);
    EXPECT_EQ(r.verdict, verdict) << also;
    EXPECT_THAT(r.also, ElementsAre(also));
  }
}

// The tolerated entry before it, which lets the case run, is about another class of failure.
TEST(Ledger, AQuarantinedEntryIsNotAboutACaseThatRan) {
  constexpr std::string_view toml =
      "[[entry]]\nbackend = \"*\"\nmatch = \"d=64\"\nmode = \"tolerated\"\nverdict = \"FAIL\"\nsuspect = \"tail\"\n"
      "reason = \"known\"\nrepro = \"flash_attn_ext d=64\"\n"
      "[[entry]]\nbackend = \"*\"\nmatch = \"d=64\"\nmode = \"quarantined\"\n"
      "reason = \"hangs\"\nrepro = \"flash_attn_ext d=64\"\n";
  const auto ledger = Ledger::parse(toml, "l.toml");
  ASSERT_TRUE(ledger) << ledger.error().text();
  EXPECT_EQ(ledger->match(parsed("flash_attn_ext d=64"), record(Verdict::FAIL)), nullptr);
}

TEST(Ledger, QuarantinedCaseSaysWhy) {
  Ledger ledger = good();
  VerdictRecord r = record(Verdict::PASS);
  ledger.apply(r, ledger.entries()[1]);
  EXPECT_EQ(r.verdict, Verdict::QUARANTINED);
  EXPECT_EQ(r.detail, "aborts");
}

TEST(Ledger, SometimesForgivesPassesUnlessNothingFailed) {
  Ledger ledger = good();
  const LedgerEntry& entry = ledger.entries()[2];
  EXPECT_TRUE(ledger.finish().never_failed.empty()) << "an entry that matched nothing is unused, not passed";
  VerdictRecord pass = record(Verdict::PASS);
  ledger.apply(pass, entry);
  EXPECT_EQ(pass.verdict, Verdict::PASS);
  EXPECT_THAT(ledger.finish().never_failed, ElementsAre(&entry));
  VerdictRecord fail = record(Verdict::FAIL);
  ledger.apply(fail, entry);
  EXPECT_EQ(fail.verdict, Verdict::XFAIL);
  EXPECT_TRUE(ledger.finish().never_failed.empty());
}

TEST(Ledger, CasesThatCouldNotRunAreNoProofThatAnEntryIsOutdated) {
  Ledger ledger = good();
  VerdictRecord r = record(Verdict::UNSUPPORTED);
  ledger.apply(r, ledger.entries()[2]);
  EXPECT_TRUE(ledger.finish().never_failed.empty());
}

TEST(Ledger, EntriesThatMatchNothingAreListed) {
  Ledger ledger = good();
  VerdictRecord r = record(Verdict::FAIL);
  ledger.apply(r, ledger.entries()[0]);
  EXPECT_THAT(ledger.finish().unused, ElementsAre(&ledger.entries()[1], &ledger.entries()[2]));
}

TEST(Ledger, AnEntryAboutRelationsIsForCasesThatBreakNoOther) {
  const auto parsed = Ledger::parse(std::string(kLedger) + R"(
[[entry]]
backend = "*"
match = "v=f16"
relation = "gqa,hidden"
mode = "tolerated"
reason = "heads"
repro = "flash_attn_ext n_q=64"
)",
                                    "known.toml");
  ASSERT_TRUE(parsed) << parsed.error().text();
  Ledger ledger = *parsed;
  const LedgerEntry& entry = ledger.entries()[3];
  const Case c = *parse_case("flash_attn_ext n_q=64");
  VerdictRecord r = record(Verdict::RELATION);
  r.backend = "cpu:vec";
  EXPECT_EQ(ledger.match(c, r), nullptr) << "nothing is broken: not about this record";
  r.relations_broken = {"gqa", "hidden"};
  ASSERT_EQ(ledger.match(c, r), &entry);
  ledger.apply(r, entry);
  EXPECT_EQ(r.verdict, Verdict::XFAIL);
  EXPECT_EQ(r.underlying, "RELATION");
  VerdictRecord crash = record(Verdict::CRASH);
  crash.relations_broken = {"gqa"};
  EXPECT_EQ(ledger.match(c, crash), nullptr) << "a variant that crashes is more than a relation";
  crash.verdict = Verdict::RELATION;
  crash.also = {"CRASH"};
  EXPECT_EQ(ledger.match(c, crash), nullptr) << "another variant crashes";
  EXPECT_EQ(ledger.match(c, r), &entry) << "a resumed run counts it again";
  VerdictRecord more = record(Verdict::RELATION);
  more.relations_broken = {"gqa", "threads"};
  EXPECT_EQ(ledger.match(c, more), nullptr) << "one of them is not known";
  EXPECT_TRUE(ledger.finish().never_failed.empty());
}

std::string error_of(std::string toml) {
  const auto ledger = Ledger::parse(toml, "known.toml");
  EXPECT_FALSE(ledger) << toml;
  if (ledger) return "";
  EXPECT_EQ(ledger.error().kind, ErrorKind::input);
  return ledger.error().text();
}

// The good entry with one line put in the place of another.
std::string with(std::string_view old_text, std::string_view new_text) {
  std::string toml(kLedger.substr(0, kLedger.find("\n[[entry]]", 10)));
  const auto at = toml.find(old_text);
  EXPECT_NE(at, std::string::npos) << old_text;
  return toml.replace(at, old_text.size(), new_text);
}

TEST(LedgerFile, UnknownKeysGetTheNearestOne) {
  EXPECT_EQ(
      error_of(with("reason =", "raeson =")),
      "known.toml:8:1: unknown key 'raeson' in an entry (did you mean 'reason'?)\n  raeson = \"f16 accumulator\"\n  ^");
  EXPECT_THAT(error_of(with("[[entry]]", "[[entries]]")), HasSubstr("known.toml:2:3: unknown key 'entries'"));
  EXPECT_THAT(error_of(with("[[entry]]", "[entry]")), HasSubstr("must be a list of tables"));
}

TEST(LedgerFile, ARelationThatIsNoneGetsTheNearestOne) {
  EXPECT_THAT(error_of(with("verdict = [\"FAIL\", \"NAN\"]", "relation = \"gqaa\"")),
              AllOf(HasSubstr("known.toml:6:"), HasSubstr("did you mean 'gqa'?")));
  EXPECT_THAT(error_of(with("verdict = [\"FAIL\", \"NAN\"]", "relation = \"none\"")), HasSubstr("names none"));
}

TEST(LedgerFile, MissingKeysAreNamedAtTheirEntry) {
  for (const auto& [line, key] : std::vector<std::pair<std::string, std::string>>{
           {"reason = \"f16 accumulator\"\n", "reason"},
           {"backend = \"ggml:CPU*\"\n", "backend"},
           {"mode = \"tolerated\"\n", "mode"},
           {"verdict = [\"FAIL\", \"NAN\"]\n", "verdict"},
           {"repro = \"flash_attn_ext d=128 n_q=64 v=f16 k=q8_0\"\n", "repro"}}) {
    EXPECT_THAT(error_of(with(line, "")), HasSubstr("known.toml:2:1: entry without '" + key + "'"));
  }
  EXPECT_THAT(error_of(with("match = \"v=f16 n_q>=64\"\n", "")), HasSubstr("exactly one of 'match', 'tag' and 'line'"));
  EXPECT_THAT(error_of(with("path =", "tag = \"x\"\npath =")), HasSubstr("exactly one of"));
}

TEST(LedgerFile, BadValuesPointAtTheWord) {
  EXPECT_THAT(error_of(with("\"NAN\"", "\"NAM\"")),
              HasSubstr("known.toml:6:20: 'NAM' is not a verdict (did you mean 'NAN'?)"));
  EXPECT_THAT(error_of(with("\"NAN\"", "\"PASS\"")), HasSubstr("PASS is no failure to expect"));
  EXPECT_THAT(error_of(with("\"NAN\"", "\"XPASS\"")), HasSubstr("XPASS is no failure to expect"));
  EXPECT_THAT(error_of(with("\"NAN\"", "\"ORACLE\"")), HasSubstr("a bug of attest"));
  EXPECT_THAT(error_of(with("[\"FAIL\", \"NAN\"]", "[]")), HasSubstr("'verdict' is empty"));
  EXPECT_THAT(error_of(with("\"tolerated\"", "\"tolerate\"")),
              HasSubstr("known.toml:7:8: 'tolerate' is no mode (did you mean 'tolerated'?)"));
  EXPECT_THAT(error_of(with("\"f16 accumulator\"", "7")), HasSubstr("known.toml:8:10: 'reason' must be a string"));
  EXPECT_THAT(error_of(with("\"f16 accumulator\"", "\"\"")), HasSubstr("'reason' is empty"));
  EXPECT_EQ(
      error_of(with("n_q>=64\"", "nq>=64\"")),
      "known.toml:4:16: match: unknown key 'nq' (did you mean 'n_q'?)\n  match = \"v=f16 nq>=64\"\n                 ^");
}

TEST(LedgerFile, StrictAndSometimesAgreeOrAreRefused) {
  const auto mode = [](const std::string& more) {
    return with("mode = \"tolerated\"", "mode = \"tolerated\"\n" + more);
  };
  const auto sometimes = [&](const std::string& more) {
    const auto ledger = Ledger::parse(mode(more), "known.toml");
    EXPECT_TRUE(ledger) << ledger.error().text();
    return ledger && ledger->entries().at(0).sometimes;
  };
  EXPECT_FALSE(sometimes(""));
  EXPECT_FALSE(sometimes("strict = true"));
  EXPECT_TRUE(sometimes("strict = false"));
  EXPECT_TRUE(sometimes("sometimes = true\nstrict = false"));
  EXPECT_THAT(error_of(mode("sometimes = true\nstrict = true")), HasSubstr("contradict"));
  EXPECT_THAT(error_of(mode("strict = \"yes\"")), HasSubstr("must be true or false"));
  EXPECT_THAT(error_of(with("mode = \"tolerated\"", "mode = \"quarantined\"\nstrict = true")), HasSubstr("never runs"));
}

TEST(LedgerFile, WhatOnlyARunTellsIsNotForQuarantinedEntries) {
  for (const std::string key : {"path", "suspect", "fingerprint"}) {
    const std::string toml =
        "[[entry]]\nbackend = \"*\"\nmatch = \"d=64\"\n" + key +
        " = \"tail\"\nmode = \"quarantined\"\nreason = \"hangs\"\nrepro = \"flash_attn_ext d=64\"\n";
    EXPECT_THAT(error_of(toml), HasSubstr("known.toml:4:" + std::to_string(key.size() + 4) + ": '" + key +
                                          "' is for tolerated entries: a quarantined case never runs"));
  }
}

TEST(LedgerFile, ReproMustParseAndBeOneOfTheEntrysCases) {
  EXPECT_THAT(error_of(with("d=128 n_q=64", "d=128 nq=64")),
              HasSubstr("known.toml:10:31: repro: unknown key 'nq' (did you mean 'n_q'?)"));
  EXPECT_THAT(error_of(with("d=128 n_q=64", "d=128 n_q=63")),
              HasSubstr("repro is not one of the entry's own cases: 'n_q>=64' does not hold"));
  EXPECT_THAT(error_of(with("match = \"v=f16 n_q>=64\"", "line = \"flash_attn_ext d=128 n_q=65\"")),
              HasSubstr("repro is not the entry's own line"));
}

TEST(LedgerFile, TextThatIsNoTomlHasItsPlace) {
  EXPECT_THAT(error_of("[[entry]]\nbackend = \n"), HasSubstr("known.toml:2:"));
}

TEST(LedgerFile, EmptyLedgerIsALedger) {
  const auto ledger = Ledger::parse("", "empty.toml");
  ASSERT_TRUE(ledger);
  EXPECT_EQ(ledger->match(parsed(kLine), "ggml:CPU", ""), nullptr);
}

TEST(LedgerFile, FileThatCannotBeReadIsNamed) {
  for (const auto& path : {std::filesystem::path("/no/such/ledger.toml"), std::filesystem::temp_directory_path()}) {
    const auto ledger = load_ledger(path);
    ASSERT_FALSE(ledger);
    EXPECT_EQ(ledger.error().kind, ErrorKind::input);
    EXPECT_THAT(ledger.error().text(), HasSubstr(path.string()));
  }
}

TEST(Ledger, AnEntryThatNamesAClassExpectsNoOtherFailure) {
  constexpr std::string_view toml =
      "[[entry]]\nbackend = \"*\"\nmatch = \"d=64\"\nmode = \"tolerated\"\nverdict = [\"FAIL\", \"CONTRACT\"]\n"
      "reason = \"known\"\nrepro = \"flash_attn_ext d=64\"\n";
  const Case c = parsed("flash_attn_ext d=64");
  const auto judged = [&](const std::string& key, Verdict verdict, const char* suspect, const char* print) {
    auto ledger = Ledger::parse(std::string(toml) + key, "l.toml");
    EXPECT_TRUE(ledger) << ledger.error().text();
    VerdictRecord record;
    record.verdict = verdict;
    record.triage.suspect = suspect;
    record.triage.fingerprint = print;
    if (const LedgerEntry* entry = ledger->match(c, record)) ledger->apply(record, *entry);
    return record.verdict;
  };
  EXPECT_EQ(judged("suspect = \"tail\"\n", Verdict::FAIL, "tail", ""), Verdict::XFAIL);
  EXPECT_EQ(judged("suspect = \"tail\"\n", Verdict::FAIL, "mask", ""), Verdict::FAIL);
  EXPECT_EQ(judged("suspect = \"tail\"\n", Verdict::FAIL, "", ""), Verdict::FAIL);
  EXPECT_EQ(judged("suspect = \"tail\"\n", Verdict::PASS, "", ""), Verdict::XPASS);
  const std::string print = "fingerprint = \"*f16 accumulator\"\n";
  EXPECT_EQ(judged(print, Verdict::CONTRACT, "precision", "Q rounded to f16 and an f16 accumulator"), Verdict::XFAIL);
  EXPECT_EQ(judged(print, Verdict::CONTRACT, "precision", "P rounded to f16"), Verdict::CONTRACT);
  const auto unknown = Ledger::parse(std::string(toml) + "suspect = \"tial\"\n", "l.toml");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().text(), AllOf(HasSubstr("l.toml:8"), HasSubstr("did you mean 'tail'")));
}

}  // namespace
}  // namespace attest
