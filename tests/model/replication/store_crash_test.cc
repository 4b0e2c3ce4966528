// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "common/random.h"
#include "replication/store.h"
#include "tests/support/crash_memory.h"
#include "tests/support/seed.h"

// Log, checkpoints and recovery together, against a model, through thousands of power failures and
// killed processes at any store, flush or drain, those of recovery included.

namespace silurus::replication {
namespace {

using rtree::Box;
using rtree::Entry;
using rtree::Tree;
using testing_support::CrashMemory;
using testing_support::Power;

using Entries = std::map<std::uint64_t, Box<2>>;

/// A version: what the writer sent, as the entries that it must give.
struct SentVersion {
  rtree::Version version;
  Entries entries;
};

/// One machine over several lives.
class StoreLives {
 public:
  explicit StoreLives(std::uint64_t seed) : random_(seed), max_steps_(100 + random_.below(3000)) {}

  void run(int lives) {
    for (int life = 0; life < lives && !testing::Test::HasFatalFailure(); ++life) {
      Power power(random_(), random_.below(max_steps_), kind());
      live(power);
      for (CrashMemory::Content* content : {&super_, &log_, &nodes_[0], &nodes_[1]}) {
        CrashMemory::end_life(power, *content);
      }
    }
  }

 private:
  Power::Failure kind() {
    return random_.below(3) == 0 ? Power::Failure::kProcessDies : Power::Failure::kPowerCut;
  }

  static constexpr std::uint64_t kChunks = 1024;
  static constexpr std::uint64_t kMapBytes = kChunks / 8;

  Volume make_volume(Power& power) {
    Volume volume;
    volume.name = "double";
    volume.super = std::make_unique<CrashMemory>(power, super_);
    volume.log = std::make_unique<CrashMemory>(power, log_);
    for (int i = 0; i < 2; ++i) {
      volume.nodes[i] = std::make_unique<CrashMemory>(power, nodes_[i]);
    }
    return volume;
  }

  void live(Power& power) {
    rtree::AnonymousSlabs slabs;
    power_ = &power;
    Volume volume = make_volume(power);
    if (is_blank(volume.super->bytes().first(kMapsOffset))) {
      ASSERT_TRUE(acknowledged_ <= 1) << "the store is gone";
      fail_soon(2, 16);
      const std::uint64_t id = random_();
      if (!format_store<2>(volume, id, 0, id)) return;
    }
    const TreePlace place{{.memory_budget_bytes = kChunks * rtree::kChunkBytes<2>}, slabs, clock_};
    auto opened = Store<2>::open(std::move(volume), place, {.threads = 1}, 1, random_());
    if (!opened) {
      ASSERT_TRUE(power.is_off()) << opened.error().message;
      return;
    }
    store_ = opened->store.get();
    tree_ = opened->tree.get();
    stamp_ = opened->stamp;
    compare();
    fail_soon(8, 400);
    while (!power.is_off() && !testing::Test::HasFatalFailure()) {
      if (random_.below(300) == 0) return;
      step();
    }
  }

  /// One time in `share`, the life ends within that number of steps: where few of them are
  /// dangerous, lives of any length would hardly ever end there.
  void fail_soon(std::uint64_t share, std::uint64_t steps) {
    if (random_.below(share) == 0) power_->cut_after(random_.below(steps));
  }

  void step() {
    if (tree_->snapshot().size() == 0 && random_.below(2) == 0) return bulk_load();
    if (random_.below(25) == 0) return checkpoint_of_the_past();
    write_batch();
  }

  void write_batch() {
    Entries entries = sent_.back().entries;
    const std::uint64_t operations = 1 + random_.below(6);
    if (!store_->log().has_room(operations * kMaxRecordBytes)) return checkpoint_of_the_past();
    ++stamp_;
    for (std::uint64_t i = 0; i < operations; ++i) change_one(entries);
    store_->log().end_batch();
    sent_.push_back({tree_->next_version(), std::move(entries)});
    if (random_.below(3) == 0) {  // asynchronous: published before it is durable
      tree_->publish();
      return;
    }
    if (!store_->log().commit()) return;
    ASSERT_EQ(tree_->publish(), sent_.back().version);
    acknowledged_ = sent_.back().version;
  }

  void change_one(Entries& entries) {
    const std::uint64_t choice = entries.empty() ? 0 : random_.below(10);
    if (choice < 5 && entries.size() < 300) {
      const Entry<2> entry{random_(), random_box()};
      ASSERT_TRUE(tree_->insert(entry));
      entries[entry.id] = entry.box;
      return append(RecordType::kInsert, EntryPayload<2>{entry.id, entry.box});
    }
    auto victim = entries.lower_bound(random_());
    if (victim == entries.end()) victim = entries.begin();
    if (choice < 8) {
      const Box<2> to = random_box();
      ASSERT_TRUE(tree_->update(victim->first, victim->second, to));
      append(RecordType::kUpdate, UpdatePayload<2>{victim->first, victim->second, to});
      victim->second = to;
      return;
    }
    ASSERT_TRUE(tree_->erase({victim->first, victim->second}));
    append(RecordType::kErase, EntryPayload<2>{victim->first, victim->second});
    entries.erase(victim);
  }

  template <typename Payload>
  void append(RecordType type, const Payload& payload) {
    ASSERT_TRUE(store_->log().append({.checksum = 0,
                                      .lsn = 0,
                                      .stamp = stamp_,
                                      .epoch = 1,
                                      .length = 0,
                                      .type = type,
                                      .flags = 0},
                                     std::as_bytes(std::span(&payload, 1))));
  }

  void bulk_load() {
    Entries entries;
    std::vector<Entry<2>> loaded;
    for (std::uint64_t i = random_.below(600) + 1; i > 0; --i) {
      loaded.push_back({random_(), random_box()});
      entries[loaded.back().id] = loaded.back().box;
    }
    ASSERT_TRUE(tree_->bulk_load_batch(std::move(loaded), {.threads = 1}));
    const rtree::WantedNode root = tree_->seal();
    if (!store_->log().commit()) return;
    acknowledged_ = sent_.back().version;
    sent_.push_back({tree_->next_version(), std::move(entries)});
    fail_soon(4, 200);
    if (!store_->checkpoint(*tree_, only_tree(*tree_, root.ref), store_->log().end(), ++stamp_))
      return;
    ASSERT_EQ(tree_->publish(), sent_.back().version);
    acknowledged_ = sent_.back().version;
  }

  /// A checkpoint of a version that further ones have been written after.
  void checkpoint_of_the_past() {
    if (!store_->log().commit()) return;
    acknowledged_ = sent_.back().version;
    const rtree::Snapshot<2> snapshot = tree_->snapshot();
    const LogPosition position = store_->log().end();
    const Stamp stamp = stamp_;
    for (std::uint64_t i = random_.below(10); i > 0 && !power_->is_off(); --i) {
      if (store_->log().has_room(6 * kMaxRecordBytes)) write_batch();
    }
    std::stop_source cancel;
    if (random_.below(10) == 0) cancel.request_stop();
    fail_soon(4, 120);
    if (store_->checkpoint(*tree_, only_tree(*tree_, snapshot.root().ref), position, stamp,
                           cancel.get_token())) {
      std::erase_if(sent_,
                    [&](const SentVersion& sent) { return sent.version < snapshot.version(); });
    }
  }

  /// What was recovered is a version that was sent, and none before the last acknowledged one.
  void compare() {
    const rtree::Snapshot<2> snapshot = tree_->snapshot();
    ASSERT_GE(snapshot.version(), acknowledged_) << "an acknowledged version is lost";
    std::optional<Entries> expected;
    for (const SentVersion& sent : sent_) {
      if (sent.version == snapshot.version()) expected = sent.entries;
    }
    ASSERT_TRUE(expected) << "version " << snapshot.version() << " was never sent";
    const Status valid = snapshot.validate();
    ASSERT_TRUE(valid) << valid.error().message;
    rtree::RangeResult<2> found;
    ASSERT_TRUE(snapshot.range(
        {.window = {{-1, -1}, {3, 3}}, .shape = rtree::ResultShape::kEntries}, found));
    Entries entries;
    for (std::size_t i = 0; i < found.count; ++i) entries[found.ids[i]] = found.boxes[i];
    ASSERT_EQ(entries, *expected);
    sent_ = {{snapshot.version(), std::move(entries)}};
    acknowledged_ = snapshot.version();  // it was read
  }

  Box<2> random_box() {
    const double x = random_.uniform();
    const double y = random_.uniform();
    return {{x, y}, {x + 0.1 * random_.uniform(), y + 0.1 * random_.uniform()}};
  }

  Random random_;
  std::uint64_t max_steps_;
  SystemClock clock_;
  CrashMemory::Content super_ = CrashMemory::fresh(super_bytes(kMapBytes));
  CrashMemory::Content log_ = CrashMemory::fresh(Log::kMinBytes);
  CrashMemory::Content nodes_[2] = {CrashMemory::fresh(kChunks * rtree::kChunkBytes<2>),
                                    CrashMemory::fresh(kChunks* rtree::kChunkBytes<2>)};
  std::vector<SentVersion> sent_ = {{1, {}}};
  rtree::Version acknowledged_ = 1;
  Stamp stamp_ = 0;
  Power* power_ = nullptr;
  Store<2>* store_ = nullptr;
  Tree<2>* tree_ = nullptr;
};

TEST(StoreCrash, RecoversEveryAcknowledgedWriteAndNothingElse) {
  const std::uint64_t seed = testing_support::fresh_seed();
  Random seeds(seed);
  for (int machine = 0; machine < 100; ++machine) {
    StoreLives(seeds()).run(40);
    ASSERT_FALSE(HasFatalFailure()) << "SEED=" << seed << " machine " << machine;
  }
}

}  // namespace
}  // namespace silurus::replication
