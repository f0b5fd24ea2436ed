#include "backends/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace attest {
namespace {

using testing::HasSubstr;

std::string parse_failure(std::string_view text) {
  const auto spec = BackendSpec::parse(text);
  return spec ? "parsed as " + spec->text() : spec.error().text();
}

std::string make_failure(std::string_view text) {
  const auto spec = BackendSpec::parse(text);
  if (!spec) return spec.error().text();
  const auto made = make_backend(*spec, {});
  return made ? "made " + (*made)->name() : made.error().text();
}

TEST(BackendSpec, ReadsFamilyBuildVariantAndOptions) {
  const auto spec = BackendSpec::parse("ggml@v5.1:CPU,ref,threads=2");
  ASSERT_TRUE(spec);
  EXPECT_EQ("ggml", spec->family);
  EXPECT_EQ("v5.1", spec->build);
  EXPECT_EQ("CPU", spec->variant);
  ASSERT_NE(nullptr, spec->option("ref"));
  EXPECT_EQ("", *spec->option("ref"));
  EXPECT_EQ(nullptr, spec->option("variant"));
  EXPECT_EQ(2, *spec->threads());
}

TEST(BackendSpec, PrintsWhatItRead) {
  for (const char* text : {"cpu", "cpu:vec", "cpu,threads=3", "ggml@NAME:CPU,ref,variant=haswell", "ggml:Vulkan0"}) {
    const auto spec = BackendSpec::parse(text);
    ASSERT_TRUE(spec) << text;
    EXPECT_EQ(text, spec->text());
  }
}

TEST(BackendSpec, PointsAtWhatItCannotRead) {
  EXPECT_THAT(parse_failure(""), HasSubstr("starts with its family"));
  EXPECT_THAT(parse_failure(":vec"), HasSubstr("starts with its family"));
  EXPECT_THAT(parse_failure("CPU:vec"), HasSubstr("CPU:vec\n  ^"));
  EXPECT_THAT(parse_failure("cpu:"), HasSubstr("variant is missing"));
  EXPECT_THAT(parse_failure("ggml@:CPU"), HasSubstr("build's name is missing"));
  EXPECT_THAT(parse_failure("cpu:vec,"), HasSubstr("cpu:vec,\n          ^"));
  EXPECT_THAT(parse_failure("cpu:vec,threads="), HasSubstr("has no value"));
  EXPECT_THAT(parse_failure("cpu,threads=1,threads=2"), HasSubstr("given twice"));
}

TEST(Registry, NamesTheNearestWord) {
  EXPECT_THAT(make_failure("cpi:vec"), HasSubstr("did you mean 'cpu'?"));
  EXPECT_THAT(make_failure("cpu:tield"), HasSubstr("did you mean 'tiled'?"));
  EXPECT_THAT(make_failure("cpu:vec,thread=2"), HasSubstr("did you mean 'threads'?"));
  EXPECT_THAT(make_failure("cpu@v5:vec"), HasSubstr("no builds"));
}

TEST(Registry, RefusesThreadsThatAreNoNumber) {
  for (const char* bad : {"0", "-1", "2x", "1.5", "99999", "many"}) {
    const std::string failure = make_failure(std::string("cpu:vec,threads=") + bad);
    EXPECT_THAT(failure, HasSubstr("not a number of threads")) << bad;
    EXPECT_THAT(failure, HasSubstr("\n          ^")) << bad;
  }
}

TEST(Registry, MistakesOfTheUserAreInputErrors) {
  for (const char* text : {"cpi", "cpu:tield", "cpu,threads=0", "cpu,fast"}) {
    const auto made = make_backend(*BackendSpec::parse(text), {});
    ASSERT_FALSE(made) << text;
    EXPECT_EQ(ErrorKind::input, made.error().kind) << text;
  }
}

TEST(Registry, MakesEveryBuiltinBackendUnderItsName) {
  const auto listings = builtin_listings();
  EXPECT_GE(listings.size(), 4U);
  for (const BackendListing& listing : listings) {
    if (listing.name.ends_with(":NAME") || listing.name.find(":FILE") != std::string::npos) continue;  // for many
    const auto made = make_backend(*BackendSpec::parse(listing.name), {});
    if (!listing.available) {  // says why, and says it again when asked for
      EXPECT_FALSE(listing.reason.empty()) << listing.name;
      ASSERT_FALSE(made) << listing.name;
      EXPECT_EQ(ErrorKind::harness, made.error().kind);
      continue;
    }
    ASSERT_TRUE(made) << made.error().text();
    EXPECT_EQ(listing.name, (*made)->name());
    EXPECT_EQ(listing.description, (*made)->description());
  }
  EXPECT_EQ("cpu:vec", (*make_backend(*BackendSpec::parse("cpu:vec,threads=1"), {}))->name());
}

TEST(Registry, KnowsItsFamilies) {
  ASSERT_GE(backend_families().size(), 2U);
  EXPECT_EQ("cpu", backend_families()[0].name);
  EXPECT_FALSE(backend_families()[0].own_process);
}

}  // namespace
}  // namespace attest
