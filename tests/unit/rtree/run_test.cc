// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "rtree/tree.h"

// Trees that are made in a run of chunks beside the one that is published.

namespace silurus::rtree {
namespace {

std::vector<Entry<2>> entries(std::size_t count) {
  std::vector<Entry<2>> made;
  for (std::size_t i = 0; i < count; ++i) {
    const auto x = static_cast<double>(i);
    made.push_back({i, {{x, 0}, {x, 1}}});
  }
  return made;
}

class RunTest : public testing::Test {
 protected:
  std::unique_ptr<Tree<2>> make(std::uint64_t budget = std::uint64_t{64} << 20) {
    return std::move(*Tree<2>::create({.memory_budget_bytes = budget}, slabs_, clock_));
  }
  static rtree::Run run_for(const Tree<2>& tree, std::size_t count, std::uint32_t first) {
    const NodeCounts nodes = Tree<2>::nodes_of(count, {});
    return {first, static_cast<std::uint32_t>(Tree<2>::chunks_for(nodes)),
            static_cast<std::uint32_t>(nodes.inners), tree.next_version()};
  }
  static std::uint64_t nodes_in(const rtree::Run& run) {
    return RunLayout(run, kChunkShape<2>).nodes();
  }
  static Status reserve(Tree<2>& tree, const rtree::Run& run) {
    for (;;) {
      const auto reserved = tree.reserve_run(run);
      if (!reserved) return fail(reserved.error());
      if (*reserved) return {};
    }
  }
  static std::uint64_t found(const Tree<2>& tree) {
    RangeResult<2> result;
    EXPECT_TRUE(tree.snapshot().range({.window = {{-1, -1}, {1e9, 1e9}}}, result));
    return result.count;
  }

  AnonymousSlabs slabs_;
  SystemClock clock_;
};

TEST_F(RunTest, BecomesTheTreeWhenItIsAdoptedAndPublished) {
  const auto tree = make();
  const rtree::Run run = run_for(*tree, 10'000, tree->unused_chunk() + 100);
  ASSERT_TRUE(reserve(*tree, run));
  tree->build_run(run, entries(10'000), {});
  EXPECT_EQ(found(*tree), 0u) << "not before";
  ASSERT_TRUE(tree->adopt_run(run));
  EXPECT_EQ(tree->publish(), run.birth);
  EXPECT_EQ(tree->snapshot().root().ref, run.root());
  EXPECT_EQ(found(*tree), 10'000u);
  EXPECT_TRUE(tree->snapshot().validate());
  ASSERT_TRUE(tree->insert({77'777, {{0, 0}, {1, 1}}}));
  tree->publish();
  EXPECT_TRUE(tree->snapshot().validate());
}

TEST_F(RunTest, CopiedNodeByNodeIsTheSameTreeUnderTheSameNames) {
  const auto source = make();
  const auto copy = make();
  for (std::uint64_t id = 0; id < 500; ++id) {  // which makes their chunks differ
    ASSERT_TRUE(copy->insert({id, {{0, 0}, {1, 1}}}));
  }
  copy->publish();
  for (std::uint64_t id = 0; id < 500; ++id) ASSERT_TRUE(copy->erase({id, {{0, 0}, {1, 1}}}));
  copy->publish();
  source->skip_to(copy->next_version());
  const rtree::Run run =
      run_for(*source, 5'000, std::max(source->unused_chunk(), copy->unused_chunk()));
  ASSERT_TRUE(reserve(*source, run));
  ASSERT_TRUE(reserve(*copy, run));
  source->build_run(run, entries(5'000), {});
  const RunLayout layout(run, kChunkShape<2>);
  for (std::uint64_t i = layout.nodes(); i-- > 0;) {
    const NodeRef ref(layout.node(i), run.birth);
    copy->put_node(ref, source->batch_node(ref));
  }
  for (const auto& tree : {source.get(), copy.get()}) {
    ASSERT_TRUE(tree->adopt_run(run));
    tree->publish();
    EXPECT_EQ(found(*tree), 5'000u);
    EXPECT_TRUE(tree->snapshot().validate());
  }
  EXPECT_EQ(source->snapshot().root().ref, copy->snapshot().root().ref);
}

TEST_F(RunTest, IsRefusedWhereOthersHaveItsChunksOrThereIsNoRoom) {
  const auto tree = make(std::uint64_t{4} << 20);
  EXPECT_EQ(reserve(*tree, run_for(*tree, 1'000, tree->unused_chunk() - 1)).error().code,
            ErrorCode::kConflict);
  EXPECT_EQ(reserve(*tree, run_for(*tree, 1'000'000, tree->unused_chunk())).error().code,
            ErrorCode::kOutOfMemory);
  rtree::Run unsound = run_for(*tree, 1'000, tree->unused_chunk());
  unsound.inners = unsound.chunks;
  EXPECT_EQ(reserve(*tree, unsound).error().code, ErrorCode::kInvalidArgument) << "without leaves";
  const std::uint64_t before = tree->stats().nodes;
  const std::uint64_t bytes = tree->stats().bytes_used;
  const rtree::Run run = run_for(*tree, 1'000, tree->unused_chunk());
  ASSERT_TRUE(reserve(*tree, run));
  EXPECT_EQ(tree->stats().nodes, before + nodes_in(run)) << "they count as in use";
  EXPECT_EQ(tree->stats().bytes_used, bytes + run.chunks * kChunkBytes<2>);
}

TEST_F(RunTest, LeavesItsChunksToOthersWhenItIsReleased) {
  const auto tree = make();
  const std::uint32_t unused = tree->unused_chunk();
  const rtree::Run run = run_for(*tree, 10'000, unused);
  ASSERT_TRUE(reserve(*tree, run));
  tree->release_run(run);
  EXPECT_EQ(tree->unused_chunk(), unused);
  ASSERT_TRUE(reserve(*tree, run)) << "the same ones";
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();  // which took a chunk behind it
  const std::uint64_t nodes = tree->stats().nodes;
  tree->release_run(run);
  EXPECT_EQ(tree->stats().nodes, nodes - nodes_in(run));
  for (const auto& entry : entries(20'000)) ASSERT_TRUE(tree->insert(entry));
  tree->publish();
  EXPECT_TRUE(tree->snapshot().validate());
}

TEST_F(RunTest, IsNotAdoptedByATreeWithEntriesOrOfAnotherVersion) {
  const auto tree = make();
  const rtree::Run run = run_for(*tree, 100, tree->unused_chunk());
  ASSERT_TRUE(reserve(*tree, run));
  tree->build_run(run, entries(100), {});
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  EXPECT_EQ(tree->adopt_run(run).error().code, ErrorCode::kConflict) << "a batch has begun";
  tree->publish();
  EXPECT_EQ(tree->adopt_run(run).error().code, ErrorCode::kConflict) << "there are entries";
  ASSERT_TRUE(tree->erase({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  EXPECT_EQ(tree->adopt_run(run).error().code, ErrorCode::kConflict) << "its version has passed";
  EXPECT_EQ(found(*tree), 0u);
}

}  // namespace
}  // namespace silurus::rtree
