// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "common/random.h"
#include "replication/data_directory.h"
#include "replication/store.h"
#include "tests/fake_pmem/fake_pmem.h"
#include "tests/support/log_insert.h"
#include "tests/support/seed.h"

// A data directory and a device as they ship, over persistent memory that loses what is not
// flushed: a flush that is missing anywhere loses something that was acknowledged.

namespace silurus::replication {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kTreeBytes = std::uint64_t{4} << 20;
constexpr DirectoryOptions kOptions{.log_bytes = kMinLogBytes, .tree_bytes = kTreeBytes};
constexpr rtree::Box<2> kAll = {{-1, -1}, {1e6, 1e6}};

rtree::Box<2> place_of(std::uint64_t id) {
  const auto at = static_cast<double>(id);
  return {{at, at}, {at, at}};
}

class PersistentMemoryTest : public testing::TestWithParam<bool> {
 protected:
  PersistentMemoryTest() {
    const char* shm = fs::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    std::string name = std::string(shm) + "/silurus-test-XXXXXX";
    parent_ = ::mkdtemp(name.data());
    path_ = parent_ + "/data";
    if (!GetParam()) return;
    std::ofstream(path_).close();
    fs::resize_file(path_, kMinDeviceBytes);
  }
  ~PersistentMemoryTest() override { fs::remove_all(parent_); }

  struct Server {
    DirectoryLock lock;
    Store<2>::Opened opened;
  };
  std::optional<Server> start() {
    auto directory = open_directory<2>(path_, kOptions);
    EXPECT_TRUE(directory) << directory.error().message;
    if (!directory) return {};
    auto opened =
        Store<2>::open(std::move(directory->volume),
                       {{.memory_budget_bytes = kTreeBytes}, slabs_, clock_}, {.threads = 1}, 1, 2);
    EXPECT_TRUE(opened) << opened.error().message;
    if (!opened) return {};
    EXPECT_TRUE(opened->store->is_pmem());
    return Server{std::move(directory->lock), std::move(*opened)};
  }
  void insert(Server& server, std::uint64_t id) {
    ASSERT_TRUE(server.opened.tree->insert({id, place_of(id)}));
    ASSERT_TRUE(testing_support::log_insert<2>(server.opened.store->log(), id, place_of(id)));
    ASSERT_TRUE(server.opened.store->log().commit());
    server.opened.tree->publish();
    if (!pmem_.is_off()) acknowledged_ = id;
  }
  void checkpoint(Server& server) {
    const auto snapshot = server.opened.tree->snapshot();
    ASSERT_TRUE(server.opened.store->checkpoint(*server.opened.tree,
                                                only_tree(*server.opened.tree, snapshot.root().ref),
                                                server.opened.store->log().end(), 1));
  }
  /// Entries 1 to N are there, each once; N is what was acknowledged, or one more that was on its
  /// way.
  void expect_all(const Server& server) {
    rtree::RangeResult<2> found;
    ASSERT_TRUE(server.opened.tree->snapshot().range({.window = kAll}, found));
    std::vector<std::uint64_t> ids(found.ids.begin(), found.ids.end());
    std::ranges::sort(ids);
    for (std::size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], i + 1);
    EXPECT_GE(ids.size(), acknowledged_);
    EXPECT_LE(ids.size(), acknowledged_ + 1);
    acknowledged_ = ids.size();
  }

  testing_support::FakePmem pmem_{testing_support::seed(31)};
  std::string parent_;
  std::string path_;
  rtree::AnonymousSlabs slabs_;
  SystemClock clock_;
  std::uint64_t acknowledged_ = 0;
};

TEST_P(PersistentMemoryTest, KeepsWhatWasAcknowledgedThroughPowerCuts) {
  Random random(testing_support::seed(32));
  constexpr int kCuts = 20;
  for (int cut = 0; cut < kCuts; ++cut) {
    auto server = start();
    ASSERT_TRUE(server);
    expect_all(*server);
    if (HasFailure()) return;
    pmem_.cut_after(random.below(300));
    while (!pmem_.is_off()) {
      if (random.below(40) == 0) checkpoint(*server);
      insert(*server, acknowledged_ + 1);
      if (HasFatalFailure()) return;
    }
    server.reset();
    pmem_.reboot();
  }
  EXPECT_GT(acknowledged_, 2u * kCuts);
}

TEST_P(PersistentMemoryTest, IsFlushedOnceForEachBatch) {
  auto server = start();
  ASSERT_TRUE(server);
  insert(*server, 1);
  const std::uint64_t before = pmem_.steps();
  constexpr std::uint64_t kInserts = 10;
  for (std::uint64_t id = 2; id < 2 + kInserts; ++id) insert(*server, id);
  EXPECT_EQ(pmem_.steps() - before, 3 * kInserts) << "a store, a flush and a drain each";
  server.reset();
  pmem_.reboot();
}

INSTANTIATE_TEST_SUITE_P(Kinds, PersistentMemoryTest, testing::Bool(),
                         [](const auto& kind) { return kind.param ? "Device" : "Directory"; });

}  // namespace
}  // namespace silurus::replication
