// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/incoming_store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "replication/group/tree_machine.h"
#include "replication/store.h"

namespace silurus::replication {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBytesOfTree = std::uint64_t{8} << 20;
constexpr LogPosition kThere{.lsn = 80'000, .chain = 7};

/// A member's directory, and a tree that it lacks.
class IncomingStoreTest : public testing::Test {
 protected:
  IncomingStoreTest() {
    std::string name = "/tmp/silurus-test-XXXXXX";
    parent_ = ::mkdtemp(name.data());
    path_ = parent_ + "/data";
    tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_));
    std::vector<rtree::Entry<2>> entries;
    for (std::uint64_t id = 0; id < 1'000; ++id) entries.push_back({id, {{0, 0}, {1, 1}}});
    EXPECT_TRUE(tree_->bulk_load(entries, {.threads = 1}));
  }
  ~IncomingStoreTest() override { fs::remove_all(parent_); }

  Result<Store<2>::OpenedMember> open() {
    auto directory = open_directory<2>(path_, options_);
    if (!directory) return fail(directory.error());
    return Store<2>::open_member(std::move(directory->volume),
                                 {{.memory_budget_bytes = kBytesOfTree}, slabs_, clock_},
                                 {.threads = 1});
  }
  std::unique_ptr<IncomingStore<2>> begin(const DirectoryOptions& options) {
    auto incoming =
        std::make_unique<IncomingStore<2>>(std::make_unique<IncomingDirectory<2>>(path_, options));
    const Status begun = incoming->begin();
    EXPECT_TRUE(begun) << begun.error().message;
    return incoming;
  }
  /// Makes what the directory lacks, for the store of that id.
  std::unique_ptr<IncomingStore<2>> make(std::uint64_t id) {
    DirectoryOptions options = options_;
    options.id = id;
    auto incoming = begin(options);
    const rtree::Snapshot<2> snapshot = tree_->snapshot();
    std::vector<rtree::NodeRef> names{snapshot.root().ref};
    while (!names.empty()) {
      const rtree::NodeRef ref = names.back();
      names.pop_back();
      const rtree::Node<2>& node = snapshot.node(ref);
      EXPECT_TRUE(incoming->take(ref, node));
      for (std::uint32_t i = 0; !node.is_leaf() && i < node.count(); ++i) {
        names.push_back(node.child(i));
      }
    }
    EXPECT_TRUE(incoming->finish(
        {.root = snapshot.root().ref, .log = kThere, .stamp = 9, .epoch = 0, .extra = extra_}));
    return incoming;
  }
  void expect_arrived(std::uint64_t id) {
    const auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(opened->id, id) << "it is the same member";
    EXPECT_EQ(opened->applied, kThere);
    EXPECT_EQ(opened->stamp, 9u);
    EXPECT_EQ(opened->extra, extra_);
    EXPECT_EQ(opened->tree->snapshot().size(), 1'000u);
    EXPECT_TRUE(opened->tree->snapshot().validate());
    EXPECT_EQ(opened->store->log().end(), kThere) << "where it will go on";
    EXPECT_FALSE(fs::exists(path_ + "/" + kArrivedName));
  }

  SystemClock clock_;
  rtree::AnonymousSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  const std::vector<std::byte> extra_ = group::MachineState().encode();
  std::string parent_;
  std::string path_;
  const DirectoryOptions options_{
      .log_bytes = kMinLogBytes,
      .tree_bytes = kBytesOfTree,
      .member = MemberStore{.cluster = "test", .shard = 0, .log_chain = 5}};
};

TEST_F(IncomingStoreTest, TakesThePlaceOfTheOldOneAtTheNextOpeningOnceItHasArrived) {
  const std::uint64_t id = open()->id;
  auto incoming = make(id);
  EXPECT_EQ(open()->tree->snapshot().size(), 0u) << "not before";
  incoming.reset();  // and what had not arrived, that opening removed
  incoming = make(id);
  ASSERT_TRUE(incoming->arrive());
  incoming.reset();
  expect_arrived(id);
}

TEST_F(IncomingStoreTest, LeavesNothingIfItDoesNotArrive) {
  const std::uint64_t id = open()->id;
  make(id).reset();
  EXPECT_FALSE(fs::exists(path_ + "/" + kIncomingName));
  EXPECT_EQ(open()->tree->snapshot().size(), 0u);
}

TEST_F(IncomingStoreTest, ArrivesThoughTakingItOverWasCutShort) {
  const std::uint64_t id = open()->id;
  ASSERT_TRUE(make(id)->arrive());
  const std::string arrived = path_ + "/" + kArrivedName + "/";
  for (const char* name : {"log", "nodes.0"}) fs::rename(arrived + name, path_ + "/" + name);
  DirectoryOptions look = options_;
  look.read_only = true;
  EXPECT_FALSE(open_directory<2>(path_, look)) << "half of each is no store";
  expect_arrived(id);
}

TEST_F(IncomingStoreTest, WhatIsNamedLikeOneElsewhereIsNotTouched) {
  const std::string theirs[] = {path_ + "/" + kIncomingName + "/letter",
                                path_ + "/" + kArrivedName + "/log"};
  for (const std::string& file : theirs) {
    fs::create_directories(fs::path(file).parent_path());
    std::ofstream(file) << "mine";
  }
  EXPECT_FALSE(open()) << "it is not empty, and holds no tree";
  EXPECT_FALSE(open_directory<2>(path_, {.log_bytes = kMinLogBytes, .tree_bytes = kBytesOfTree}));
  for (const std::string& file : theirs) EXPECT_TRUE(fs::exists(file)) << file;
  EXPECT_FALSE(fs::exists(path_ + "/log"));
}

TEST_F(IncomingStoreTest, RefusesATreeThatIsLargerThanOursMayBe) {
  ASSERT_TRUE(open());
  const auto incoming = begin(options_);
  const rtree::Snapshot<2> snapshot = tree_->snapshot();
  const rtree::Node<2>& root = snapshot.node(snapshot.root().ref);
  ASSERT_TRUE(incoming->take(snapshot.root().ref, root));
  const auto far = rtree::NodeRef(kBytesOfTree / rtree::kChunkBytes<2> + 1, root.birth());
  const Status taken = incoming->take(far, root);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace silurus::replication
