// What Linux can check of the Metal.framework device: the shared checks and regions, and that device_apple.mm is
// Objective-C++ whose selectors exist, as far as our stub of declarations says.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "backends/metal/backend.h"
#include "backends/metal/device_apple.h"
#include "backends/metal/sim/toolchain.h"

namespace attest::metal {
namespace {

Dispatch plain() {
  Dispatch d;
  d.function = "f";
  d.threadgroup_memory = {16384, 16384};
  d.threads = {32, 32, 1};
  return d;
}

TEST(Device, RefusesWhatApplesApiWould) {
  EXPECT_TRUE(check_dispatch(plain()));
  Dispatch d = plain();
  d.threadgroups.y = 0;
  EXPECT_FALSE(check_dispatch(d));
  d = plain();
  d.threads.x = 33;
  EXPECT_FALSE(check_dispatch(d));
  d = plain();
  d.threadgroup_memory = {8};
  EXPECT_FALSE(check_dispatch(d));
  d = plain();
  d.threadgroup_memory.push_back(16);
  EXPECT_FALSE(check_dispatch(d));
}

TEST(Device, OverlappingMemoryIsOneRegionAndKeepsItsAlignment) {
  alignas(64) static std::byte memory[4096];
  Dispatch a, b;
  a.arguments = {Argument::of(0, memory + 100, 200), Argument::of(1, memory + 1024, 64), Argument::of(2, nullptr, 0),
                 Argument::value(3, 7)};
  b.arguments = {Argument::output(0, memory + 250, 300), Argument::of(1, memory + 3000, 10)};
  const auto regions = regions_of({a, b});
  ASSERT_EQ(regions.size(), 3U);
  EXPECT_EQ(regions[0].begin, memory + 64);
  EXPECT_EQ(regions[0].bytes, 550U - 64U);
  EXPECT_EQ(regions[1].begin, memory + 1024);
  EXPECT_EQ(regions[1].bytes, 64U);
  EXPECT_EQ(regions[2].begin, memory + 2944);
  EXPECT_EQ(regions[2].bytes, 66U);
}

#ifndef __APPLE__
TEST(Device, MetalIsListedHereAndSaysWhyItCannotBeHad) {
  const auto device = make_apple_device();
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind, ErrorKind::harness);
  EXPECT_NE(device.error().text().find("no Apple machine"), std::string::npos);
  EXPECT_FALSE(make_metal_backend(*BackendSpec::parse("metal"), {}));
  bool listed = false;
  for (const BackendListing& l : metal_listings())
    listed = listed || (l.name == "metal" && !l.available && !l.reason.empty());
  EXPECT_TRUE(listed);
}
#endif

// ---- the syntax of device_apple.mm

const std::string kSource = ATTEST_SOURCE_DIR "/backends/metal/device_apple.mm";

class DeviceApple : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto toolchain = find_toolchain();
    ASSERT_TRUE(toolchain) << toolchain.error().text();
    clang_ = toolchain->clang.string();
    std::string pattern = (std::filesystem::temp_directory_path() / "attest-apple-XXXXXX").string();
    dir_ = mkdtemp(pattern.data());
    std::ifstream in(kSource);
    text_ = {std::istreambuf_iterator<char>(in), {}};
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  bool compiles(const std::string& text) const {
    const auto file = dir_ / "device.mm";
    std::ofstream(file) << text;
    const std::string command =
        clang_ +
        " -x objective-c++ -std=c++20 -fsyntax-only -fobjc-arc -fobjc-runtime=gnustep-2.0 -Wall -Wextra "
        "-Werror -I" ATTEST_SOURCE_DIR "/backends/metal/testing/apple_stub -I" ATTEST_SOURCE_DIR " " +
        file.string() + " > " + (dir_ / "log").string() + " 2>&1";
    return system(command.c_str()) == 0;
  }
  std::string log() const {
    std::ifstream in(dir_ / "log");
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string clang_, text_;
  std::filesystem::path dir_;
};

TEST_F(DeviceApple, IsObjectiveCWithSelectorsThatExist) { EXPECT_TRUE(compiles(text_)) << log(); }

TEST_F(DeviceApple, AMisspeltSelectorPropertyOrClassIsSeen) {
  for (const auto& [right, wrong] : {std::pair{"dispatchThreadgroups:", "dispatchThreadgroup:"},
                                     {"setThreadgroupMemoryLength:", "setThreadgroupMemory:"},
                                     {"options.fastMathEnabled", "options.fastMath"}}) {
    std::string text = text_;
    const auto at = text.find(right);
    ASSERT_NE(at, std::string::npos) << right;
    EXPECT_FALSE(compiles(text.replace(at, std::string_view(right).size(), wrong))) << wrong;
  }
}

TEST_F(DeviceApple, TheStubSaysThatItIsOne) {
  for (const char* header : {"Foundation/Foundation.h", "Metal/Metal.h"}) {
    std::ifstream in(std::string(ATTEST_SOURCE_DIR "/backends/metal/testing/apple_stub/") + header);
    std::string line;
    ASSERT_TRUE(std::getline(in, line)) << header;
    EXPECT_EQ(line.rfind("// A stub: ", 0), 0U) << header;
  }
}

}  // namespace
}  // namespace attest::metal
