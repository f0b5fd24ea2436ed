// What is said when a directory holds no usable ggml build, without any ggml at hand.
#include "backends/ggml/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "backends/ggml/backend.h"
#include "backends/ggml/files.h"

namespace attest::ggml {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class GgmlDirectory : public ::testing::Test {
 protected:
  GgmlDirectory() {
    std::string name = (fs::temp_directory_path() / "attest-ggml-XXXXXX").string();
    dir_ = mkdtemp(name.data());
  }
  ~GgmlDirectory() override { fs::remove_all(dir_); }
  fs::path write(const fs::path& name, const std::string& bytes) {
    fs::create_directories((dir_ / name).parent_path());
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
    return dir_ / name;
  }
  Error open_error() {
    const auto library = Library::open(dir_);
    EXPECT_FALSE(library);
    return library ? Error{} : library.error();
  }
  fs::path dir_;
};

// The first 64 bytes of a 64-bit little-endian shared library for `machine`.
std::string elf_header(unsigned char machine) {
  std::string head(64, '\0');
  head.replace(0, 7,
               "\x7f"
               "ELF\x02\x01\x01");
  head[16] = 3;
  head[18] = static_cast<char>(machine);
  return head;
}

TEST_F(GgmlDirectory, ThatIsNotThereIsNamed) {
  const auto files = find_build(dir_ / "nowhere");
  ASSERT_FALSE(files);
  EXPECT_EQ(files.error().kind, ErrorKind::harness);
  EXPECT_THAT(files.error().message, AllOf(HasSubstr("nowhere"), EndsWith("does not exist")));
}

TEST_F(GgmlDirectory, ThatIsALibraryIsCalledNoDirectory) {
  const auto files = find_build(write("libggml-base.so", "x"));
  ASSERT_FALSE(files);
  EXPECT_THAT(files.error().message, EndsWith("is not a directory"));
}

TEST_F(GgmlDirectory, WithoutGgmlIsToldWhatWasLookedFor) {
  write("libother.so", "x");
  const Error error = open_error();
  EXPECT_EQ(error.kind, ErrorKind::harness);
  EXPECT_THAT(error.message, AllOf(HasSubstr("no ggml in"), HasSubstr("libggml-base.so"), HasSubstr("bins/*")));
}

TEST_F(GgmlDirectory, OfStaticLibrariesIsToldHowToBuild) {
  write("src/libggml-base.a", "!<arch>\n");
  const Error error = open_error();
  EXPECT_THAT(error.message, HasSubstr("static libraries"));
  EXPECT_THAT(error.hint, HasSubstr("BUILD_SHARED_LIBS"));
}

TEST_F(GgmlDirectory, WithATextFileForALibraryIsTold) {
  write("libggml-base.so", "not a library at all, just some text\n");
  EXPECT_THAT(open_error().message, EndsWith("libggml-base.so is not a shared library"));
}

TEST_F(GgmlDirectory, WithAnEmptyLibraryIsTold) {
  write("libggml-base.so", "");
  EXPECT_THAT(open_error().message, HasSubstr("is empty or cannot be read"));
}

#if defined(__x86_64__) && !defined(__APPLE__)
TEST_F(GgmlDirectory, OfAnotherArchitectureNamesBoth) {
  write("libggml-base.so", elf_header(0xb7));
  EXPECT_THAT(open_error().message, EndsWith("is built for AArch64, this machine is x86-64"));
}

TEST_F(GgmlDirectory, OfMacLibrariesNamesTheSystem) {
  write("libggml-base.dylib", std::string("\xcf\xfa\xed\xfe\x0c\x00\x00\x01", 8) + std::string(24, '\0'));
  EXPECT_THAT(open_error().message, HasSubstr("built for AArch64 (macOS)"));
}

TEST_F(GgmlDirectory, WithATruncatedLibraryGivesTheLoadersWords) {
  write("libggml-base.so", elf_header(0x3e));
  EXPECT_THAT(open_error().message, AllOf(HasSubstr("cannot load"), HasSubstr("libggml-base.so")));
}
#endif

TEST_F(GgmlDirectory, LackingAFunctionNamesTheFirstOne) {
  fs::copy_file(ATTEST_LACKING_LIBRARY, dir_ / "libggml-base.so");
  const Error error = open_error();
  EXPECT_EQ(error.kind, ErrorKind::harness);
  EXPECT_THAT(error.message, EndsWith("libggml-base.so has no function ggml_free"));
}

TEST_F(GgmlDirectory, ListsAsUnavailableWithTheReason) {
  const auto listings = ggml_listings({"broken", dir_});
  ASSERT_EQ(listings.size(), 1U);
  EXPECT_EQ(listings[0].name, "ggml@broken:CPU");
  EXPECT_FALSE(listings[0].available);
  EXPECT_THAT(listings[0].reason, HasSubstr("no ggml in"));
}

TEST_F(GgmlDirectory, KnowsEachFileByItsName) {
  for (const char* name : {"libggml-base.so.0", "libggml-base.so", "libggml.v0.5.0.so", "libggml-cpu-haswell.so",
                           "libggml-vulkan.so", "libggml-cpu.so", "libllama.so", "libggml-notes.txt"}) {
    write(fs::path("pkg/bins/linux") / name, "x");
  }
  const auto files = find_build(dir_ / "pkg");
  ASSERT_TRUE(files) << files.error().text();
  EXPECT_EQ(files->dir, dir_ / "pkg/bins/linux");
  EXPECT_EQ(files->base.filename(), "libggml-base.so");
  EXPECT_EQ(files->registry.filename(), "libggml.v0.5.0.so");
  std::vector<std::string> backends;
  for (const BackendFile& file : files->backends) backends.push_back(file.family + "/" + file.variant);
  EXPECT_THAT(backends, ::testing::UnorderedElementsAre("cpu/haswell", "cpu/", "vulkan/"));
}

TEST_F(GgmlDirectory, IsFoundInTheUsualPlacesOfABuild) {
  for (const char* place : {"bin", "lib", "src", "ggml/src", "build/bin", "src/ggml-base"}) {
    fs::remove_all(dir_);
    write(fs::path(place) / "libggml-base.so", "x");
    const auto files = find_build(dir_);
    ASSERT_TRUE(files) << place;
    EXPECT_EQ(files->dir, dir_ / place);
  }
}

struct BadSpec {
  const char* spec;
  ErrorKind kind;
  const char* says;
};

class GgmlSpec : public ::testing::TestWithParam<BadSpec> {};

TEST_P(GgmlSpec, ThatIsWrongIsExplained) {
  const auto spec = BackendSpec::parse(GetParam().spec);
  ASSERT_TRUE(spec) << spec.error().text();
  const BackendEnvironment two{{{"old", "/nowhere/old"}, {"new", "/nowhere/new"}}};
  const auto backend = make_ggml_backend(*spec, two);
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().kind, GetParam().kind) << backend.error().text();
  EXPECT_THAT(backend.error().text(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    All, GgmlSpec,
    ::testing::Values(BadSpec{"ggml@new:CPU,unfusd", ErrorKind::input, "did you mean 'unfused'?"},
                      BadSpec{"ggml@new:CPU,variant", ErrorKind::input, "'variant' of ggml needs a value"},
                      BadSpec{"ggml@new:CPU,ref=1", ErrorKind::input, "'ref' of ggml takes no value"},
                      BadSpec{"ggml@new:CPU,ref,unfused", ErrorKind::input, "does not go with unfused"},
                      BadSpec{"ggml@nwe:CPU", ErrorKind::input, "no ggml build is called 'nwe'"},
                      BadSpec{"ggml:CPU", ErrorKind::input, "ggml@old:CPU"},
                      BadSpec{"ggml@new:CPU", ErrorKind::harness, "/nowhere/new does not exist"}));

TEST(GgmlSpec, WithoutABuildSaysHowToGetOne) {
  const auto backend = make_ggml_backend(*BackendSpec::parse("ggml:CPU"), {});
  ASSERT_FALSE(backend);
  EXPECT_EQ(backend.error().kind, ErrorKind::harness);
  EXPECT_THAT(backend.error().text(), HasSubstr("ci/fetch-ggml"));
}

}  // namespace
}  // namespace attest::ggml
