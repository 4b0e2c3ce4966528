// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "common/random.h"
#include "replication/state_transfer/fetch_thread.h"
#include "replication/state_transfer/source.h"
#include "tests/support/etcd_process.h"
#include "tests/support/received_tree.h"
#include "transport/shm/memory.h"
#include "transport/waiter.h"

// A tree copied between threads over the fabrics of one machine.

namespace silurus::replication {
namespace {

constexpr group::GroupId kGroup = 0x717;
constexpr std::size_t kEntries = 20'000;

class SharedSlabs final : public rtree::SlabSource {
 public:
  Result<std::span<std::byte>> allocate(std::size_t bytes) override {
    auto slab = transport::shm::SharedSlab::create(bytes, "tree-copy-test", false);
    if (!slab) return fail(slab.error());
    slabs.push_back(std::move(*slab));
    return slabs.back().bytes();
  }
  std::vector<transport::shm::SharedSlab> slabs;
};

/// Has room for two nodes.
class SmallSink final : public StateSink<2> {
 public:
  int taken = 0;
  Status begin() override { return {}; }
  Status take(rtree::NodeRef, const rtree::Node<2>&) override {
    return ++taken < 3 ? Status{} : fail(ErrorCode::kTooLarge, "no room");
  }
  Status finish(const TreeFacts&) override { return {}; }
};

class TreeCopy : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_));
    Random random(3);
    std::vector<rtree::Entry<2>> entries;
    for (std::uint64_t id = 1; id <= kEntries; ++id) {
      const double x = random.uniform(0, 1000);
      const double y = random.uniform(0, 1000);
      entries.push_back({id, {{x, y}, {x + 1, y + 1}}});
    }
    ASSERT_TRUE(tree_->bulk_load(entries, {}));
    fabric_ = std::move(*transport::make_fabric(GetParam()));
    poller_ = std::move(*fabric_->create_poller());
    source_ = std::make_unique<TransferSource<2>>(kGroup, TransferSource<2>::Options{}, [this] {
      return Result<PinnedTree<2>>(
          PinnedTree<2>{.tree = tree_->snapshot(),
                        .log = {.lsn = 800, .chain = 7},
                        .stamp = 9,
                        .epoch = 4,
                        .extra = std::vector<std::byte>(10'000, std::byte{5})});
    });
    const std::string address =
        std::string(GetParam()) == "shm" ? "shm://" + (folder_ / "copy.sock") : "tcp://127.0.0.1:0";
    transport::Poller* const poller = poller_.get();
    auto listener = fabric_->listen(transport::Address::parse(address).value(), {},
                                    std::span(&poller, 1), *source_);
    ASSERT_TRUE(listener) << listener.error().message;
    listener_ = std::move(*listener);
    if (is_one_sided()) {
      for (const auto& slab : slabs_.slabs) ASSERT_TRUE(listener_->expose(slab.region()));
    }
    thread_ = std::thread([this] {
      auto waiter =
          transport::Waiter::create({.policy = transport::WaitPolicy::kSleep}, {poller_.get()});
      while (!is_over_.load(std::memory_order_acquire)) {  // pairs with the release in TearDown
        (*waiter)->wait(kMillisecond);
        source_->tick(clock_.now());
      }
    });
  }
  void TearDown() override {
    is_over_.store(true, std::memory_order_release);
    if (thread_.joinable()) thread_.join();
    if (source_ == nullptr) return;
    source_messages_ = source_->counters().messages;
    listener_.reset();
    source_.reset();
  }
  Status copy(const TransferOptions& options) {
    return receive_tree<2>(*fabric_, listener_->address(), options, copied_);
  }
  bool is_one_sided() const {
    return has(fabric_->capabilities(), transport::Capability::kOneSidedRead);
  }

  testing_support::TemporaryFolder folder_;
  SystemClock clock_;
  SharedSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::unique_ptr<transport::Fabric> fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<TransferSource<2>> source_;
  std::unique_ptr<transport::Listener> listener_;
  std::thread thread_;
  std::uint64_t source_messages_ = 0;
  testing_support::ReceivedTree<2> copied_;
  std::atomic<bool> is_over_ = false;
};

TEST_P(TreeCopy, IsTheTreeNodeByNode) {
  const Status copied = copy({.group = kGroup, .epoch = 4, .at_least = 800});
  ASSERT_TRUE(copied) << copied.error().message;
  TearDown();  // so that its counters are ours
  if (is_one_sided()) {
    EXPECT_EQ(source_messages_, 1u + 3u)
        << "to hold a version, and three pieces of what belongs to it";
  }
  EXPECT_EQ(copied_.facts.log, (LogPosition{.lsn = 800, .chain = 7}));
  EXPECT_EQ(copied_.facts.stamp, 9u);
  EXPECT_EQ(copied_.facts.epoch, 4u);
  EXPECT_EQ(copied_.facts.extra, std::vector<std::byte>(10'000, std::byte{5}));
  rtree::AnonymousSlabs slabs;
  const auto restored =
      rtree::Tree<2>::restore({}, slabs, clock_, copied_.facts.root, copied_, {.threads = 1});
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ((*restored)->snapshot().version(), tree_->snapshot().version());
  EXPECT_EQ((*restored)->snapshot().size(), kEntries);
  EXPECT_TRUE((*restored)->snapshot().validate());
}

TEST_P(TreeCopy, IsRefusedToAnotherGroup) {
  EXPECT_FALSE(copy({.group = kGroup + 1}));
  testing_support::ReceivedTree<3> of_others;
  const Status other =
      receive_tree<3>(*fabric_, listener_->address(), {.group = kGroup}, of_others);
  EXPECT_FALSE(other) << "a tree of other nodes";
}

TEST_P(TreeCopy, IsNotTakenOfAMemberThatIsBehind) {
  EXPECT_FALSE(copy({.group = kGroup, .epoch = 5})) << "it has not heard of the view";
  EXPECT_FALSE(copy({.group = kGroup, .at_least = 808})) << "it has less of the log than we";
}

TEST_P(TreeCopy, EndsWithTheErrorOfWhoTakesTheNodes) {
  SmallSink sink;
  const Status full = receive_tree<2>(*fabric_, listener_->address(), {.group = kGroup}, sink);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(sink.taken, 3);
}

INSTANTIATE_TEST_SUITE_P(Fabrics, TreeCopy, testing::Values("shm", "tcp"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace silurus::replication
