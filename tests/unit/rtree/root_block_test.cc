// SPDX-License-Identifier: Apache-2.0

#include "rtree/root_block.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "rtree/tree.h"
#include "tests/support/visible_slabs.h"

namespace silurus::rtree {
namespace {

/// A reader's own copy of the block.
struct alignas(64) Copy {
  std::array<std::byte, sizeof(RootBlock<2>)> bytes;
};

class RootBlockTest : public testing::Test {
 protected:
  RootBlockTest() { tree_ = std::move(*Tree<2>::create({}, slabs_, clock_)); }

  void insert_and_publish(int count) {
    for (int i = 0; i < count; ++i) {
      const double x = 0.001 * static_cast<double>(next_++ % 1000);
      ASSERT_TRUE(tree_->insert({next_, {{x, x}, {x, x}}}).has_value());
    }
    tree_->publish();
  }
  std::unique_ptr<Copy> copy() const {
    auto made = std::make_unique<Copy>();
    std::memcpy(made->bytes.data(), slabs_.slabs[0].data(), made->bytes.size());
    return made;
  }
  RootView<2> look(const Copy& copy, std::size_t bytes = sizeof(RootBlock<2>)) {
    return read_root_block<2>(std::span(copy.bytes).first(bytes), 1000, room_);
  }
  static RootBlock<2>& block(Copy& copy) {
    return *reinterpret_cast<RootBlock<2>*>(copy.bytes.data());
  }

  testing_support::VisibleSlabs slabs_;
  SystemClock clock_;
  Node<2> room_;
  std::unique_ptr<Tree<2>> tree_;
  std::uint64_t next_ = 0;
};

TEST_F(RootBlockTest, GivesWordAndNodeInOneRead) {
  for (int round = 0; round < 30; ++round) {
    insert_and_publish(20);
    const auto seen = copy();
    const RootView<2> view = look(*seen);
    const auto snapshot = tree_->snapshot();
    EXPECT_EQ(view.root, snapshot.root().ref);
    ASSERT_NE(view.node, nullptr);
    EXPECT_EQ(view.node->birth(), snapshot.version());
    EXPECT_EQ(view.node->level(), snapshot.root().level);
    EXPECT_EQ(view.node->header.entries, snapshot.size());
  }
}

TEST_F(RootBlockTest, GivesTheWordAloneFromItsFirstLine) {
  const auto seen = copy();
  const RootView<2> view = look(*seen, kRootWordBytes);
  EXPECT_EQ(view.root, tree_->snapshot().root().ref);
  EXPECT_EQ(view.node, nullptr);
}

TEST_F(RootBlockTest, NeedsNoDirectoriesForARootThatHasNone) {
  insert_and_publish(500);
  ASSERT_EQ(tree_->snapshot().root().level, 1u);
  EXPECT_EQ(look(*copy(), kRootMirrorBytes<2>).node, nullptr);
  const auto seen = copy();
  block(*seen).directories[tree_->snapshot().version() & 1][100] ^= std::byte{1};
  EXPECT_EQ(look(*seen).node, nullptr) << "the checksum covers them, too";
  insert_and_publish(5000);
  ASSERT_EQ(tree_->snapshot().root().level, 2u);
  ASSERT_NE(look(*copy(), kRootMirrorBytes<2>).node, nullptr);
  EXPECT_EQ(look(*copy(), kRootMirrorBytes<2>).node->header.entries, 5500u);
}

TEST_F(RootBlockTest, GivesNoRootOfATreeThatIsRetired) {
  insert_and_publish(500);
  tree_->set_retired(true);
  EXPECT_EQ(look(*copy()).root, NodeRef());
  EXPECT_EQ(look(*copy()).node, nullptr);
  tree_->set_retired(false);
  EXPECT_EQ(look(*copy()).root, tree_->snapshot().root().ref);
}

TEST_F(RootBlockTest, DoesNotBelieveATornMirror) {
  insert_and_publish(500);
  const auto torn = [&](auto&& tear) {
    const auto seen = copy();
    RootMirror<2>& mirror = block(*seen).mirrors[tree_->snapshot().version() & 1];
    tear(mirror);
    const RootView<2> view = look(*seen);
    return view.root == tree_->snapshot().root().ref && view.node == nullptr;
  };
  using Mirror = RootMirror<2>;
  EXPECT_TRUE(torn([](Mirror& mirror) { mirror.version.store(0); }));
  EXPECT_TRUE(torn([](Mirror& mirror) { mirror.version_again.store(0); }));
  EXPECT_TRUE(torn([](Mirror& mirror) { mirror.version.store(mirror.version.load() - 2); }));
  EXPECT_TRUE(torn([](Mirror& mirror) { mirror.checksum ^= 1; }));
  EXPECT_TRUE(torn([](Mirror& mirror) { mirror.node[kMirroredBytes<2> / 2] ^= std::byte{1}; }));
  EXPECT_TRUE(torn([](Mirror& mirror) { reinterpret_cast<NodeHeader*>(mirror.node)->birth -= 2; }));
  // Both versions already those of the next but one, the word not yet: half a version ahead.
  EXPECT_TRUE(torn([](Mirror& mirror) {
    mirror.version.store(mirror.version.load() + 2);
    mirror.version_again.store(mirror.version_again.load() + 2);
  }));
}

TEST_F(RootBlockTest, KeepsTheMirrorOfTheVersionBefore) {
  insert_and_publish(10);
  const auto before = copy();
  insert_and_publish(10);
  const auto seen = copy();
  // A reader whose word came from before the publication, its mirrors from after it.
  block(*seen).root.store(block(*before).root.load());
  ASSERT_NE(look(*seen).node, nullptr);
  EXPECT_EQ(look(*seen).node->header.entries, 10u);
}

TEST_F(RootBlockTest, NamesNodesThatLieWhereTheReferenceSays) {
  insert_and_publish(5000);
  const auto snapshot = tree_->snapshot();
  const WantedNode root = snapshot.root();
  const auto slab = slabs_.slabs[root.ref.chunk() / kChunksPerSlab];
  const auto bytes =
      slab.subspan((root.ref.chunk() % kChunksPerSlab) * kChunkBytes<2>, node_bytes<2>(root.level));
  EXPECT_EQ(check_node<2>(bytes, {root.ref, kAnyLevel}, kChunksPerSlab, true),
            &snapshot.node(root.ref));
}

}  // namespace
}  // namespace silurus::rtree
