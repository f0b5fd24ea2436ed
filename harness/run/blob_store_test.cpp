#include "harness/run/blob_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace attest {
namespace {

namespace fs = std::filesystem;

class BlobStoreTest : public ::testing::Test {
 protected:
  BlobStoreTest() : directory_(fs::path(::testing::TempDir()) / ("blobs." + std::to_string(::getpid()))) {
    fs::remove_all(directory_);
  }
  ~BlobStoreTest() override { fs::remove_all(directory_); }

  static std::vector<std::byte> blob(std::size_t n, int value) {
    return std::vector<std::byte>(n, static_cast<std::byte>(value));
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    if (!fs::exists(directory_)) return found;
    for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
      if (entry.is_regular_file() && entry.path().parent_path() != directory_) found.push_back(entry.path());
    }
    return found;
  }
  fs::path directory_;
};

TEST_F(BlobStoreTest, GivesBackWhatWasStoredAndNothingElse) {
  BlobStore store(directory_, 1 << 20);
  EXPECT_FALSE(store.load("a"));
  store.store("a", blob(100, 1));
  store.store("b", blob(0, 0));
  EXPECT_EQ(store.load("a"), blob(100, 1));
  EXPECT_EQ(store.load("b"), blob(0, 0));
  store.store("a", blob(7, 2));
  EXPECT_EQ(store.load("a"), blob(7, 2));
  EXPECT_FALSE(store.load("c"));
}

TEST_F(BlobStoreTest, ATruncatedOrDamagedFileIsAbsentAndRemoved) {
  BlobStore store(directory_, 1 << 20);
  for (const bool truncate : {true, false}) {
    store.store("a", blob(1000, 1));
    ASSERT_EQ(files().size(), 1U);
    if (truncate) {
      fs::resize_file(files()[0], 500);
    } else {
      std::fstream f(files()[0], std::ios::in | std::ios::out | std::ios::binary);
      f.seekp(600);
      f.put('\x55');
    }
    EXPECT_FALSE(store.load("a"));
    EXPECT_TRUE(files().empty());
  }
}

TEST_F(BlobStoreTest, StaysUnderItsCapAndKeepsWhatWasUsedLast) {
  BlobStore store(directory_, 10000);
  for (int i = 0; i < 30; ++i) {
    store.store("k" + std::to_string(i), blob(1000, i));
    for (const auto& file : files()) fs::last_write_time(file, fs::last_write_time(file) - std::chrono::seconds(1));
  }
  store.trim();
  std::uintmax_t total = 0;
  for (const auto& file : files()) total += fs::file_size(file);
  EXPECT_LE(total, 10000U);
  EXPECT_TRUE(store.load("k29"));
  EXPECT_FALSE(store.load("k0"));
}

TEST_F(BlobStoreTest, ManyProcessesThatStoreLittleStayUnderTheCapToo) {
  for (int i = 0; i < 100; ++i) BlobStore(directory_, 1 << 20).store("k" + std::to_string(i), blob(50000, i));
  std::uintmax_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory_)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  EXPECT_LE(total, 1U << 20);
  EXPECT_GE(total, 1U << 19);
  EXPECT_TRUE(BlobStore(directory_, 1 << 20).load("k99"));
}

TEST_F(BlobStoreTest, TrimmingLeavesAloneWhatIsNotABlob) {
  BlobStore store(directory_, 3000);
  fs::create_directories(directory_ / "npm" / "ab");
  for (const char* name : {"npm/ab/libggml.so", "readme"}) std::ofstream(directory_ / name) << std::string(9000, 'x');
  for (int i = 0; i < 6; ++i) store.store("k" + std::to_string(i), blob(700, i));
  store.trim();
  EXPECT_TRUE(fs::exists(directory_ / "npm/ab/libggml.so"));
  EXPECT_TRUE(fs::exists(directory_ / "readme"));
  EXPECT_TRUE(store.load("k5")) << "they do not count as blobs either";
}

TEST_F(BlobStoreTest, ManyWritersOfOneKeyLeaveOneWholeBlob) {
  std::vector<std::jthread> writers;
  for (int w = 0; w < 8; ++w) {
    writers.emplace_back([this, w] {
      BlobStore store(directory_, 1 << 20);
      for (int i = 0; i < 50; ++i) {
        store.store("shared", blob(5000, w));
        const auto seen = store.load("shared");
        if (!seen) continue;
        EXPECT_EQ(*seen, blob(5000, std::to_integer<int>((*seen)[0])));
      }
    });
  }
  writers.clear();
  EXPECT_EQ(files().size(), 1U);
}

TEST_F(BlobStoreTest, ADirectoryThatCannotBeWrittenIsNoError) {
  BlobStore store("/proc/no/such/place", 1 << 20);
  store.store("a", blob(10, 1));
  EXPECT_FALSE(store.load("a"));
}

}  // namespace
}  // namespace attest
