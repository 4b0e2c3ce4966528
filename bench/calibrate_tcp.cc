// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "bench/calibrate.h"
#include "bench/echo.h"
#include "common/clock.h"
#include "common/random.h"
#include "transport/tcp/fabric.h"

namespace silurus::bench {
namespace {

constexpr std::size_t kConnections = 16;
constexpr std::size_t kRounds = 400;
constexpr std::size_t kSmall = 64;
constexpr std::size_t kLarge = 4096;

/// Both ends in one thread, which therefore never sleeps.
class TcpBench {
 public:
  Status start() {
    auto fabric = transport::tcp::make_fabric();
    if (!fabric) return fail(fabric.error());
    fabric_ = std::move(*fabric);
    for (auto* poller : {&server_poller_, &client_poller_}) {
      auto made = fabric_->create_poller();
      if (!made) return fail(made.error());
      *poller = std::move(*made);
    }
    transport::Poller* pollers[] = {server_poller_.get()};
    auto listener = fabric_->listen({"tcp", "127.0.0.1", "0", ""}, {}, pollers, server_);
    if (!listener) return fail(listener.error());
    listener_ = std::move(*listener);
    return {};
  }

  /// A connect() waits for the server, whose poller another thread drives meanwhile: see connect().
  transport::Poller& server_poller() { return *server_poller_; }
  Status connect() {
    clients_.push_back(std::make_unique<EchoClient>());
    return clients_.back()->connect(*fabric_, *client_poller_, listener_->address());
  }

  /// ns of a message to and fro, both ends together.
  double round_trip(std::size_t request_bytes, std::size_t answer_bytes) {
    server_.set_answer_bytes(answer_bytes);
    const ThreadClock clock;
    const Nanoseconds start = clock.now();
    for (std::size_t turn = 0; turn < kRounds; ++turn) {
      std::uint64_t due = 0;
      for (const auto& client : clients_) {
        client->send(request_bytes);
        client->connection().flush();
        due += client->received() + 1;
      }
      for (std::uint64_t got = 0; got < due;) {
        server_poller_->progress();
        server_.flush();
        client_poller_->progress();
        got = 0;
        for (const auto& client : clients_) got += client->received();
      }
    }
    return static_cast<double>(clock.now() - start) / (kRounds * kConnections);
  }

 private:
  std::unique_ptr<transport::Fabric> fabric_;
  std::unique_ptr<transport::Poller> server_poller_, client_poller_;
  EchoServer server_;
  std::unique_ptr<transport::Listener> listener_;
  std::vector<std::unique_ptr<EchoClient>> clients_;
};

}  // namespace

Result<PlanCosts::Tcp> calibrate_tcp(unsigned rounds) {
  TcpBench bench;
  if (auto ok = bench.start(); !ok) return fail(ok.error());
  for (std::size_t i = 0; i < kConnections; ++i) {
    std::jthread server([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) bench.server_poller().progress();
    });
    const Status connected = bench.connect();
    server.request_stop();
    server.join();
    if (!connected) return fail(connected.error());
  }
  const double small = median_of(rounds, [&] { return bench.round_trip(kSmall, kSmall); });
  const double large = median_of(rounds, [&] { return bench.round_trip(kSmall, kLarge); });
  // Two messages sent and two received; over loopback the sender's call does most of the
  // receiver's work in the kernel too, so that only the sum says anything: it is halved.
  return PlanCosts::Tcp{.send_ns = small / 4,
                        .receive_ns = small / 4,
                        .byte_ns = std::max(0.0, (large - small) / (kLarge - kSmall) / 2)};
}

namespace {

/// A node as XStore lays it out: up to 16 keys and what they lead to, 320 bytes.
struct alignas(64) BTreeNode {
  std::uint64_t count;
  std::uint64_t keys[17];
  std::uint64_t children[17];
};
static_assert(sizeof(BTreeNode) == 320);

/// Nodes of random inserts are ln 2 full (Yao: "On random 2-3 trees", 1978): 11 of 16.
constexpr std::uint64_t kFill = 11;

/// Where a key's slot in a node begins: the tree of keys 0, 1, 2... packed `kFill` to a node.
std::uint64_t slot_in(const BTreeNode& node, std::uint64_t key) {
  std::uint64_t at = 1;
  while (at < node.count && node.keys[at] <= key) ++at;
  return at - 1;
}

}  // namespace

PlanCosts::BTree calibrate_btree(std::uint64_t keys, unsigned rounds) {
  // Level by level, leaves first: node i of a level leads to nodes kFill * i... of the one below.
  std::vector<std::uint64_t> first, count;
  std::uint64_t nodes = 0;
  for (std::uint64_t below = keys; below > 1;) {
    below = (below + kFill - 1) / kFill;
    first.push_back(nodes);
    count.push_back(below);
    nodes += below;
  }
  std::vector<BTreeNode> tree(nodes);
  std::uint64_t span = 1;  // keys below one slot
  for (std::size_t level = 0; level < count.size(); ++level, span *= kFill) {
    for (std::uint64_t i = 0; i < count[level]; ++i) {
      BTreeNode& node = tree[first[level] + i];
      const std::uint64_t below = level == 0 ? keys : count[level - 1];
      node.count = std::min(kFill, below - i * kFill);
      for (std::uint64_t k = 0; k < node.count; ++k) {
        node.keys[k] = (i * kFill + k) * span;
        node.children[k] = level == 0 ? i * kFill + k : first[level - 1] + i * kFill + k;
      }
    }
  }
  constexpr std::size_t kLookups = 1 << 17;
  std::uint64_t sum = 0;
  const auto look_up = [&](std::uint64_t key) {
    std::uint64_t at = nodes - 1;
    for (std::size_t level = count.size(); level-- > 0;) {
      at = tree[at].children[slot_in(tree[at], key)];
    }
    return at;
  };
  Random random(4);
  const auto time = [&](std::uint64_t range) {
    const ThreadClock clock;
    const Nanoseconds start = clock.now();
    // The next key depends on what was found, as a lone request's look-up waits for each node.
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < kLookups; ++i) {
      found = look_up(random.below(range) ^ (found & 0));
      sum += found;
    }
    return static_cast<double>(clock.now() - start) / kLookups;
  };
  PlanCosts::BTree costs;
  costs.lookup_ns = median_of(rounds, [&] { return time(keys); });
  // Few keys: all of their nodes are near at hand.
  costs.node_ns = median_of(rounds, [&] { return time(64); }) / static_cast<double>(count.size());
  if (sum == 1) costs.node_ns += 1;  // never: keeps the look-ups
  return costs;
}

}  // namespace silurus::bench
