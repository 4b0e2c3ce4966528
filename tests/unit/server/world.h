// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/json.h"
#include "protocol/encode.h"
#include "rtree/root_block.h"
#include "server/executor.h"
#include "server/worker.h"
#include "tests/support/visible_slabs.h"
#include "tests/unit/server/loopback.h"

namespace silurus::server::test {

/// Unit boxes in a row: the one of id i at x = 2 i.
inline rtree::Box<2> box_of(std::uint64_t id) {
  const double x = 2.0 * static_cast<double>(id);
  return {{x, 0}, {x + 1, 1}};
}
inline std::vector<rtree::Entry<2>> row(std::uint64_t count) {
  std::vector<rtree::Entry<2>> entries;
  for (std::uint64_t id = 0; id < count; ++id) entries.push_back({id, box_of(id)});
  return entries;
}
/// A window that holds the boxes of the ids first, ..., first + count - 1.
inline rtree::Box<2> window_of(std::uint64_t first, std::uint64_t count) {
  return {box_of(first).min, box_of(first + count - 1).max};
}

/// A shard and some workers, with time that stands still and connections that end in the test.
class World {
 public:
  explicit World(std::size_t workers = 1, std::uint64_t memory = std::uint64_t{256} << 20,
                 Nanoseconds grace = 0, const HistoryOptions& history = {}) {
    auto made = Shard<2>::create(
        {.grace = grace, .memory_budget_bytes = memory, .build_threads = 1, .history = history},
        slabs_, clock, executor_);
    SILURUS_CHECK(made.has_value());
    shard = std::move(*made);
    team.shard = shard.get();
    team.served = shard->served();
    team.heartbeat = 10 * kMillisecond;
    team.stats = [] { return std::string("{\"entries\":0}"); };
    team.cluster = [] { return std::string("{\"members\":[]}"); };
    for (std::size_t i = 0; i < workers; ++i) {
      team.workers.push_back(std::make_unique<Worker<2>>(team, i));
    }
  }
  ~World() {
    for (auto& one : team.workers) one->drop_sessions();
  }

  Loopback& connect(std::size_t worker_index = 0, std::uint32_t max_message_bytes = 4096,
                    std::string_view collection = {}) {
    const protocol::ClientHello hello{.dimensions = 2,
                                      .collection = protocol::collection_key(collection)};
    const auto bytes = std::as_bytes(std::span(&hello, 1));
    auto connection = std::make_unique<Loopback>(
        max_message_bytes, std::vector<std::byte>(bytes.begin(), bytes.end()));
    Loopback& made = *connection;
    worker(worker_index).adopt(std::move(connection), 0);
    return made;
  }
  Worker<2>& worker(std::size_t index = 0) { return *team.workers[index]; }
  /// The root as one-sided readers find it; null: they find none.
  rtree::NodeRef shown_root() const {
    const auto bytes = std::span(slabs_.slabs.front()).first(rtree::kRootWordBytes);
    rtree::Node<2> room;
    return rtree::read_root_block<2>(bytes, rtree::NodeRef::kMaxChunks, room).root;
  }
  /// Until no worker has anything to do.
  void run() {
    for (bool any = true; any;) {
      any = false;
      for (auto& one : team.workers) any = one->sweep() || any;
    }
  }

 private:
  testing_support::VisibleSlabs slabs_;
  InlineExecutor executor_;

 public:
  ManualClock clock;
  std::unique_ptr<Shard<2>> shard;
  Team<2> team;
};

inline void ask_range(Loopback& client, std::uint32_t id, const rtree::RangeQuery<2>& query,
                      std::uint8_t flags = 0) {
  client.request(sizeof(protocol::RangeRequest<2>), [&](std::span<std::byte> out) {
    protocol::encode_range<2>(out, id, query, flags);
  });
}
inline void ask_nearest(Loopback& client, std::uint32_t id, const rtree::NearestQuery<2>& query,
                        std::uint8_t flags = 0) {
  client.request(protocol::nearest_bytes(query), [&](std::span<std::byte> out) {
    protocol::encode_nearest<2>(out, id, query, flags);
  });
}
inline void ask_write(Loopback& client, std::uint32_t id,
                      const std::vector<protocol::Operation<2>>& operations) {
  client.request(protocol::write_bytes<2>(operations.size()), [&](std::span<std::byte> out) {
    protocol::encode_write<2>(out, id, id, operations);
  });
}
inline void ask_bare(Loopback& client, std::uint32_t id, protocol::MessageType type) {
  client.request(sizeof(protocol::Header),
                 [&](std::span<std::byte> out) { protocol::encode_bare(out, type, id); });
}
inline void ask_task(Loopback& client, std::uint32_t id, protocol::TaskKind kind,
                     std::uint64_t from, std::uint64_t to, std::string_view text = {}) {
  client.request(sizeof(protocol::TaskRequest) + text.size(), [&](std::span<std::byte> out) {
    protocol::encode_task(out, id, kind, from, to, text);
  });
}
inline void ask_load_entries(Loopback& client, std::uint32_t id,
                             const std::vector<rtree::Entry<2>>& entries) {
  client.request(protocol::load_entries_bytes<2>(entries.size()), [&](std::span<std::byte> out) {
    protocol::encode_load_entries<2>(out, id, entries);
  });
}
inline void ask_load_commit(Loopback& client, std::uint32_t id, std::uint64_t entries) {
  client.request(sizeof(protocol::LoadCommit), [&](std::span<std::byte> out) {
    protocol::encode_load_commit(out, id, 0, entries);
  });
}
inline protocol::Operation<2> insert_of(std::uint64_t id) {
  return {.id = id,
          .kind = protocol::OperationKind::kInsert,
          .record_bytes = 0,
          .box = box_of(id),
          .to = {}};
}
inline protocol::Operation<2> erase_of(std::uint64_t id) {
  protocol::Operation<2> operation = insert_of(id);
  operation.kind = protocol::OperationKind::kErase;
  return operation;
}
inline nlohmann::json json_of(const Loopback::Received& received) {
  const auto bytes = protocol::answer_array<char>(received.answer);
  std::string text;
  for (std::size_t i = 0; i < bytes->size(); ++i) text += (*bytes)[i];
  return parse_json(text);
}
inline ErrorCode code_of(const Loopback::Received& received) {
  return static_cast<ErrorCode>(received.answer.header.code);
}

}  // namespace silurus::server::test
