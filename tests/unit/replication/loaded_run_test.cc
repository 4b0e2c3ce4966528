// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "replication/group/loaded_runs.h"
#include "replication/group/tree_machine.h"
#include "replication/store.h"

// The tree of a bulk load in a member's store: durable beside the last checkpoint, found again by
// the record of the log that makes it the tree, and part of the next checkpoint.

namespace silurus::replication {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLoadedTreeBytes = std::uint64_t{8} << 20;
constexpr std::size_t kEntries = 5'000;

class LoadedRunTest : public testing::Test {
 protected:
  LoadedRunTest() {
    std::string name = "/tmp/silurus-test-XXXXXX";
    parent_ = ::mkdtemp(name.data());
    EXPECT_TRUE(open());
  }
  ~LoadedRunTest() override { fs::remove_all(parent_); }

  Status open() {
    opened_.reset();
    directory_.reset();
    auto directory = open_directory<2>(parent_ + "/data", options_);
    if (!directory) return fail(directory.error());
    directory_.emplace(std::move(*directory));
    auto opened = Store<2>::open_member(std::move(directory_->volume),
                                        {{.memory_budget_bytes = kLoadedTreeBytes}, slabs_, clock_},
                                        {.threads = 1});
    if (!opened) return fail(opened.error());
    opened_.emplace(std::move(*opened));
    runs_.emplace(*opened_->tree, opened_->loads);
    machine_.emplace(*opened_->tree, group::MachineState(), 0, [](const group::AppliedBatch&) {});
    machine_->take_loads_from(*runs_);
    return {};
  }
  Store<2>& store() { return *opened_->store; }
  rtree::Tree<2>& tree() { return *opened_->tree; }

  /// Builds a tree in a run, and makes its nodes durable.
  void stage() {
    std::vector<rtree::Entry<2>> entries;
    for (std::size_t i = 0; i < kEntries; ++i) {
      const auto x = static_cast<double>(i);
      entries.push_back({i, {{x, 0}, {x, 1}}});
    }
    const rtree::NodeCounts nodes = rtree::Tree<2>::nodes_of(kEntries, {});
    load_ = {.id = 42,
             .first = tree().unused_chunk() + 7,
             .chunks = rtree::Tree<2>::chunks_for(nodes),
             .inners = nodes.inners,
             .version = tree().next_version(),
             .entries = kEntries};
    for (auto more = runs_->reserve(load_); !*more; more = runs_->reserve(load_)) {
      ASSERT_TRUE(more);
    }
    const rtree::Run run = run_of(load_);
    tree().build_run(run, entries, {.threads = 1});
    ASSERT_TRUE(store().begin_run(run));
    const rtree::RunLayout layout(run, rtree::kChunkShape<2>);
    for (std::uint64_t i = 0; i < layout.nodes(); ++i) {
      const rtree::NodeRef ref(layout.node(i), run.birth);
      ASSERT_TRUE(store().take_of_run(ref, tree().batch_node(ref)));
    }
    ASSERT_TRUE(store().keep_run(run));
    runs_->keep(load_.id);
  }
  void log_it() {
    ASSERT_TRUE(store().log().append({.checksum = 0,
                                      .lsn = 0,
                                      .stamp = 9,
                                      .epoch = 1,
                                      .length = 0,
                                      .type = RecordType::kLoad,
                                      .flags = 0},
                                     std::as_bytes(std::span(&load_, 1))));
    store().log().end_batch();
    ASSERT_TRUE(store().log().commit());
  }
  LogPosition apply() {
    auto reached = machine_->apply(store().log(), opened_->applied, store().log().end().lsn);
    EXPECT_TRUE(reached) << reached.error().message;
    return reached.value_or(LogPosition());
  }
  void expect_loaded() {
    EXPECT_EQ(tree().snapshot().size(), kEntries);
    EXPECT_EQ(tree().snapshot().version(), load_.version);
    EXPECT_TRUE(tree().snapshot().validate());
  }

  SystemClock clock_;
  rtree::AnonymousSlabs slabs_;
  std::string parent_;
  const DirectoryOptions options_{
      .log_bytes = kMinLogBytes,
      .tree_bytes = kLoadedTreeBytes,
      .member = MemberStore{.cluster = "test", .shard = 0, .log_chain = 5}};
  std::optional<OpenDirectory> directory_;
  std::optional<Store<2>::OpenedMember> opened_;
  std::optional<group::LoadedRuns<2>> runs_;
  std::optional<group::TreeMachine<2>> machine_;
  LoadPayload load_{};
};

TEST_F(LoadedRunTest, IsTheTreeOnceItsRecordIsApplied) {
  stage();
  log_it();
  EXPECT_EQ(tree().snapshot().size(), 0u);
  apply();
  expect_loaded();
}

TEST_F(LoadedRunTest, IsFoundAgainByItsRecord) {
  stage();
  log_it();
  ASSERT_TRUE(open());
  EXPECT_EQ(tree().snapshot().size(), 0u) << "it is not known to be committed yet";
  ASSERT_TRUE(runs_->is_whole(load_.id));
  apply();
  expect_loaded();
}

/// A member that starts again reads offers from before once more, behind its checkpoint.
TEST_F(LoadedRunTest, IsNotGivenUpForAnOfferFromBeforeItsRecord) {
  stage();
  log_it();
  ASSERT_TRUE(open());
  LoadPayload earlier = load_;
  earlier.id = 41;
  runs_->drop_others(earlier);
  ASSERT_TRUE(runs_->is_whole(load_.id));
  apply();
  expect_loaded();
}

TEST_F(LoadedRunTest, IsForgottenIfNoRecordSpeaksOfIt) {
  stage();
  ASSERT_TRUE(open());
  EXPECT_FALSE(runs_->has(load_.id));
  EXPECT_EQ(apply(), opened_->applied);
  EXPECT_EQ(tree().snapshot().size(), 0u);
  stage();  // in the same chunks
  log_it();
  apply();
  expect_loaded();
}

TEST_F(LoadedRunTest, IsNotWrittenAgainByTheNextCheckpoint) {
  stage();
  log_it();
  const LogPosition end = apply();
  const auto write = [&] {
    return store().checkpoint(tree(), only_tree(tree(), tree().snapshot().root().ref), end, 9, {},
                              {}, run_of(load_));
  };
  ASSERT_TRUE(write());
  EXPECT_EQ(store().checkpointer().figures().nodes, 0u);
  ASSERT_TRUE(open());
  EXPECT_EQ(opened_->report.checkpoint_entries, kEntries);
  EXPECT_TRUE(opened_->loads.empty());
  expect_loaded();
}

TEST_F(LoadedRunTest, ThatIsDamagedIsNoTree) {
  stage();
  log_it();
  const std::uint64_t chunk = load_.first + load_.chunks / 2;
  opened_.reset();
  directory_.reset();
  for (const char* name : {"nodes.0", "nodes.1"}) {
    const std::string path = parent_ + "/data/" + name;
    if (fs::file_size(path) <= chunk * rtree::kChunkBytes<2>) continue;
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(chunk * rtree::kChunkBytes<2> + 100));
    file.write("damage", 6);
  }
  const Status opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, ErrorCode::kProtocol) << opened.error().message;
}

TEST_F(LoadedRunTest, IsDroppedWhenAnotherVersionComesInstead) {
  stage();
  const std::uint64_t used = tree().stats().bytes_used;
  ASSERT_TRUE(tree().insert({1, {{0, 0}, {1, 1}}}));
  tree().publish();
  runs_->drop_stale();
  EXPECT_FALSE(runs_->has(load_.id));
  EXPECT_EQ(tree().stats().nodes, 1u);
  EXPECT_EQ(tree().stats().bytes_used, used - load_.chunks * rtree::kChunkBytes<2>);
}

TEST_F(LoadedRunTest, TheRecordOfOneThatIsNotHereIsNotTakenFromAnotherLog) {
  // Another member's log, of the same group.
  stage();
  log_it();
  const Log& theirs = store().log();
  std::vector<std::byte> batch(
      theirs.bytes().begin(),
      theirs.bytes().begin() + static_cast<std::ptrdiff_t>(theirs.end().lsn));
  const std::string first = std::exchange(parent_, parent_ + "/other");
  fs::create_directory(parent_);
  ASSERT_TRUE(open());
  store().log().admit_copied([&](const Record& record) {
    return record.header.type != RecordType::kLoad || runs_->is_whole(load_.id);
  });
  const Status refused = store().log().append_copied(batch);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store().log().end().lsn, 0u);
  EXPECT_EQ(store().log().refused(), batch.size());
  stage();
  ASSERT_TRUE(store().log().append_copied(batch));
  ASSERT_TRUE(store().log().commit());
  apply();
  expect_loaded();
  opened_.reset();
  parent_ = first;
}

}  // namespace
}  // namespace silurus::replication
