// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "tests/unit/client/offload_world.h"

namespace silurus::client::offload_tests {

/// A keyed tree beside the first one of a World, and an Offloader that reads it.
class KeyedWorld {
 public:
  static constexpr std::uint64_t kNumber = 7;

  explicit KeyedWorld(std::uint64_t seed, const OffloadOptions& options = {})
      : world(seed, options), tree(std::move(*world.tree->add_tree(kNumber, {.is_keyed = true}))) {
    world.tree->publish();
    protocol::ServerHello hello = hello_of_tree();
    hello.collection = kNumber;
    hello.root_region = tree->root_chunk() / rtree::kChunksPerSlab;
    hello.root_offset = rtree::offset_in_slab<2>(tree->root_chunk());
    auto made = Offloader<2>::create(options, hello, world.connection, world.poller, world.clock);
    EXPECT_TRUE(made);
    world.offloader = std::move(*made);
  }

  rtree::Box<2> some_place() {
    const double x = world.random.uniform();
    const double y = world.random.uniform();
    return {{x, y}, {x, y}};
  }
  /// Ids that follow each other by threes, from 0 on.
  void load(std::size_t count) {
    std::vector<rtree::Entry<2>> loaded;
    for (std::size_t i = 0; i < count; ++i) loaded.push_back({3 * i, some_place()});
    ASSERT_TRUE(tree->bulk_load(std::move(loaded), {.threads = 1}));
    bound = 3 * count;
    world.tree->publish();
    note_version();
    for (std::size_t i = 0; i < count; ++i) entries[3 * i] = *tree->snapshot().find_id(3 * i);
  }
  /// Inserts an entry or gives it another box, or erases it, and publishes.
  void put(std::uint64_t id) {
    const rtree::Box<2> box = some_place();
    const auto there = entries.find(id);
    if (there == entries.end()) {
      ASSERT_TRUE(tree->insert({id, box}));
    } else {
      ASSERT_TRUE(tree->update(id, there->second.box, box));
    }
    world.tree->publish();
    note_version();
    entries[id] = {id, box, version};
  }
  void erase(std::uint64_t id) {
    ASSERT_TRUE(tree->erase({id, entries.at(id).box}));
    entries.erase(id);
    world.tree->publish();
    note_version();
  }
  /// Puts or erases one at random, and returns its id.
  std::uint64_t change_one() {
    const std::uint64_t id = world.random.below(bound);
    if (entries.contains(id) && world.random.below(3) == 0) {
      erase(id);
    } else {
      put(id);
    }
    return id;
  }

  std::vector<std::uint64_t> some_ids(std::size_t count) {
    std::vector<std::uint64_t> ids(count);
    for (std::uint64_t& id : ids) id = world.random.below(bound);
    return ids;
  }
  /// What there is of these ids.
  std::vector<KeyedEntry<2>> expected(const std::vector<std::uint64_t>& ids) const {
    std::vector<KeyedEntry<2>> there;
    for (const std::uint64_t id : ids) {
      if (const auto at = entries.find(id); at != entries.end()) there.push_back(at->second);
    }
    return there;
  }
  Offloader<2>::Finished get(const std::vector<std::uint64_t>& ids) {
    world.offloader->start_get(0, ids, found);
    return world.finish();
  }
  /// Whether it finds what there is, of the version that is the current one.
  bool is_right(const std::vector<std::uint64_t>& ids) {
    const auto done = get(ids);
    return !done.given_back && done.version == version && found == expected(ids);
  }
  /// Until all inner nodes of the index are cached, and the root is seen not to change.
  void warm_up() {
    std::vector<std::uint64_t> ids;
    for (std::uint64_t id = 0; id < bound; id += 60) ids.push_back(id);
    for (std::size_t first = 0; first < ids.size(); first += 1024) {
      const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(first);
      const auto end =
          ids.begin() + static_cast<std::ptrdiff_t>(std::min(first + 1024, ids.size()));
      ASSERT_TRUE(is_right({begin, end}));
    }
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(is_right(some_ids(1)));
  }
  rtree::RootBlock<2>& block() {
    const std::uint32_t chunk = tree->root_chunk();
    const std::span<std::byte> region = world.slabs.regions()[chunk / rtree::kChunksPerSlab];
    return *reinterpret_cast<rtree::RootBlock<2>*>(region.data() + rtree::offset_in_slab<2>(chunk));
  }

  World world;
  std::unique_ptr<rtree::Tree<2>> tree;
  std::map<std::uint64_t, KeyedEntry<2>> entries;
  rtree::Version version = 0;
  std::uint64_t bound = 1;  ///< above all ids
  std::vector<KeyedEntry<2>> found;

 private:
  void note_version() { version = tree->snapshot().version(); }
};

}  // namespace silurus::client::offload_tests
