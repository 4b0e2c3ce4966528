// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <optional>
#include <utility>

#include "bench/calibrate.h"
#include "bench/echo.h"
#include "bench/report.h"
#include "client/core.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/random.h"
#include "protocol/messages.h"
#include "server/core.h"
#include "transport/sim/fabric.h"

// The server's and the client's code over the `sim` fabric, by a real clock, each turn by itself;
// less what the fabric takes, which programs show that only echo the same messages.

namespace silurus::bench {
namespace {

namespace sim = transport::sim;

constexpr std::size_t kTogether = 16;  ///< messages that a turn finds
constexpr std::size_t kTurns = 100;
constexpr Nanoseconds kDelivery = kMillisecond;
constexpr std::uint32_t kReadsInFlight = 256;

/// CPU time that passes between begin() and end(), in all.
class Stopwatch {
 public:
  void begin() { began_ = clock_.now(); }
  void end() { total_ += static_cast<double>(clock_.now() - began_); }
  double total() const { return total_; }

 private:
  ThreadClock clock_;
  Nanoseconds began_ = 0;
  double total_ = 0;
};

/// What a message costs at either side, in ns.
struct Sides {
  double server = 0;
  double client = 0;
};

/// Searches that are offloaded at once: as many as have room in what may be in flight.
std::size_t searches_together(double leaves) {
  const double room = (kReadsInFlight - 1) / (1.2 * leaves + 1);
  return static_cast<std::size_t>(std::clamp(room, 1.0, static_cast<double>(kTogether)));
}

/// Two hosts.
struct Bench {
  sim::World world{1};
  sim::Host& server_host = world.add_host("server");
  sim::Host& client_host = world.add_host("client");
  sim::FabricOptions options = lossless();
  sim::SimFabric server_fabric{world, server_host, options};
  sim::SimFabric client_fabric{world, client_host, options};
  transport::Address address{"sim", "server", "1", ""};

  static sim::FabricOptions lossless() {
    sim::FabricOptions options;
    options.is_lossless = true;
    options.max_reads_in_flight = kReadsInFlight;
    return options;
  }
};

/// Messages of these sizes to and fro between programs that look at nothing.
class EchoBench {
 public:
  EchoBench() {
    auto poller = bench_.server_fabric.create_poller();
    server_poller_ = std::move(*poller);
    transport::Poller* pollers[] = {server_poller_.get()};
    listener_ = std::move(*bench_.server_fabric.listen(bench_.address, {}, pollers, server_));
    memory_.resize(4096 * kReadsInFlight);
    SILURUS_CHECK(listener_->expose({.bytes = memory_}).has_value());
    client_poller_ = std::move(*bench_.client_fabric.create_poller());
    {
      const auto process =
          bench_.server_host.spawn("set-up", [this](sim::Process&) { server_poller_->progress(); });
      process->watch(*server_poller_);
      SILURUS_CHECK(
          client_.connect(bench_.client_fabric, *client_poller_, bench_.address).has_value());
      bench_.world.run_for(kDelivery);
    }
    buffer_ = std::move(*client_poller_->allocate_buffer(2048 * kReadsInFlight));
  }

  Sides messages(std::size_t request_bytes, std::size_t answer_bytes) {
    server_.set_answer_bytes(answer_bytes);
    Stopwatch server, client;
    for (std::size_t turn = 0; turn < kTurns; ++turn) {
      client.begin();
      for (std::size_t i = 0; i < kTogether; ++i) SILURUS_CHECK(client_.send(request_bytes));
      client_.connection().flush();
      client.end();
      bench_.world.run_for(kDelivery);
      server.begin();
      server_poller_->progress();
      server_.flush();
      server.end();
      bench_.world.run_for(kDelivery);
      client.begin();
      client_poller_->progress();
      client.end();
    }
    return {server.total() / (kTurns * kTogether), client.total() / (kTurns * kTogether)};
  }

  /// One-sided reads of one search, when several that are sent together share one read of the root
  /// word and read that many leaves each.
  double reads(double leaves) {
    const std::size_t together = searches_together(leaves);
    const auto count = static_cast<std::size_t>(leaves * static_cast<double>(together) + 0.5);
    std::vector<transport::ReadRequest> requests;
    const auto add = [&](std::size_t bytes) {
      requests.push_back({.region = 0,
                          .offset = 4096 * requests.size(),
                          .length = static_cast<std::uint32_t>(bytes),
                          .buffer = buffer_.get(),
                          .buffer_offset = 2048 * requests.size(),
                          .cookie = 1});
    };
    add(8);
    for (std::size_t i = 0; i < count; ++i) add(rtree::node_bytes<2>(0));
    Stopwatch client;
    for (std::size_t turn = 0; turn < kTurns; ++turn) {
      client.begin();
      SILURUS_CHECK(client_.connection().post_reads(requests).posted == requests.size());
      client.end();
      bench_.world.run_for(kDelivery);
      client.begin();
      client_poller_->progress();
      client.end();
    }
    return client.total() / static_cast<double>(kTurns * together);
  }

 private:
  Bench bench_;
  std::vector<std::byte> memory_;
  std::unique_ptr<transport::Poller> server_poller_, client_poller_;
  EchoServer server_;
  std::unique_ptr<transport::Listener> listener_;
  std::unique_ptr<transport::Buffer> buffer_;
  EchoClient client_;
};

/// A server that ships with one worker, and a client.
class CoreBench {
 public:
  static Result<std::unique_ptr<CoreBench>> create(const PlanEntries& entries, Mode mode) {
    std::unique_ptr<CoreBench> made(new CoreBench);
    if (auto ok = made->start(entries, mode); !ok) return fail(ok.error());
    return made;
  }

  /// Searches by message.
  Sides searches(const CalibrationWindows& windows) {
    return run([&] {
      const auto& query = windows.queries[next_++ % windows.queries.size()];
      return client_->submit(client::request::Range<2>{query},
                             [](const Result<RangeAnswer<2>*>&) {});
    });
  }

  Sides inserts() {
    return run([&] {
      protocol::Operation<2> operation{};
      operation.id = random_();
      operation.kind = protocol::OperationKind::kInsert;
      for (int d = 0; d < 2; ++d) {
        operation.box.min[d] = random_.uniform();
        operation.box.max[d] = operation.box.min[d] + 0.0001 * random_.uniform();
      }
      return client_->submit(client::request::Write<2>{{&operation, 1}},
                             [](const Result<WriteAnswer*>&) {});
    });
  }

  /// Time of one search by one-sided reads, of several that are sent together.
  double offloaded(const CalibrationWindows& windows) {
    const std::size_t together = searches_together(windows.leaves);
    Stopwatch client;
    for (std::size_t turn = 0; turn < kTurns; ++turn) {
      client.begin();
      for (std::size_t i = 0; i < together; ++i) {
        const auto& query = windows.queries[next_++ % windows.queries.size()];
        SILURUS_CHECK(
            client_->submit(client::request::Range<2>{query}, [](const Result<RangeAnswer<2>*>&) {})
                .has_value());
      }
      client_->flush();
      client.end();
      while (client_->in_flight() > 0) {
        bench_.world.run_for(kDelivery);
        client.begin();
        client_poller_->progress();
        client_->settle();
        client_->flush();
        client.end();
      }
    }
    return client.total() / static_cast<double>(kTurns * together);
  }

  double empty_sweep() {
    Stopwatch server;
    server.begin();
    for (std::size_t i = 0; i < 10 * kTurns; ++i) core_->worker(0).sweep();
    server.end();
    return server.total() / (10 * kTurns);
  }

 private:
  Status start(const PlanEntries& entries, Mode mode) {
    auto core = server::Core<2>::create({}, bench_.server_host.clock(), executor_);
    if (!core) return fail(core.error());
    core_ = std::move(*core);
    if (auto ok = core_->load(entries); !ok) return fail(ok.error());
    if (auto ok = core_->listen(bench_.server_fabric, bench_.address, {}); !ok) {
      return fail(ok.error());
    }
    client_poller_ = std::move(*bench_.client_fabric.create_poller());
    network_.emplace(bench_.client_fabric, *client_poller_);
    auto& worker = core_->worker(0);
    const auto process =
        bench_.server_host.spawn("set-up", [&worker](sim::Process&) { worker.sweep(); });
    process->watch(*worker.pollers()[0]);
    auto client = client::ClientCore<2>::connect(bench_.address.to_string(), *network_,
                                                 bench_.client_host.clock(), {.mode = mode});
    if (!client) return fail(client.error());
    client_ = std::move(*client);
    bench_.world.run_for(kDelivery);
    return {};
  }

  template <typename Begin>
  Sides run(Begin&& begin) {
    Stopwatch server, client;
    for (std::size_t turn = 0; turn < kTurns; ++turn) {
      client.begin();
      for (std::size_t i = 0; i < kTogether; ++i) SILURUS_CHECK(begin().has_value());
      client_->flush();
      client.end();
      while (client_->in_flight() > 0) {
        bench_.world.run_for(kDelivery);
        server.begin();
        core_->worker(0).sweep();
        server.end();
        bench_.world.run_for(kDelivery);
        client.begin();
        client_poller_->progress();
        client_->settle();
        client.end();
      }
    }
    return {server.total() / (kTurns * kTogether), client.total() / (kTurns * kTogether)};
  }

  Bench bench_;
  server::InlineExecutor executor_;
  std::unique_ptr<server::Core<2>> core_;
  std::unique_ptr<transport::Poller> client_poller_;
  std::optional<client::OneFabric> network_;
  std::unique_ptr<client::ClientCore<2>> client_;
  Random random_{3};
  std::size_t next_ = 0;  ///< index of the next window
};

std::size_t answer_bytes(double results) {
  return sizeof(protocol::AnswerHeader) + 8 * static_cast<std::size_t>(results + 0.5);
}

/// Medians of both sides, less what the fabric takes.
Sides net(unsigned rounds, const std::function<Sides()>& whole,
          const std::function<Sides()>& bare) {
  std::vector<double> server, client;
  for (unsigned i = 0; i < rounds; ++i) {
    const Sides all = whole(), fabric = bare();
    server.push_back(all.server - fabric.server);
    client.push_back(all.client - fabric.client);
  }
  return {median(server), median(client)};
}

}  // namespace

Result<MessageCosts> calibrate_messages(const PlanEntries& entries,
                                        const std::vector<CalibrationWindows>& windows,
                                        const TreeCosts& tree, unsigned rounds) {
  const auto with_messages = CoreBench::create(entries, Mode::kMessaging);
  if (!with_messages) return fail(with_messages.error());
  EchoBench echo;
  MessageCosts costs;
  costs.server.sweep_ns = median_of(rounds, [&] { return (*with_messages)->empty_sweep(); });
  std::vector<double> server_ns, client_ns;
  for (const auto& kind : {windows[0], windows[2]}) {
    const Sides sides = net(
        rounds, [&] { return (*with_messages)->searches(kind); },
        [&] {
          return echo.messages(sizeof(protocol::RangeRequest<2>), answer_bytes(kind.results));
        });
    const auto& search = tree.interleaved;
    server_ns.push_back(sides.server - search.search_ns - search.leaf_ns * kind.leaves -
                        search.result_ns * kind.results);
    client_ns.push_back(sides.client);
  }
  const double more = windows[2].results - windows[0].results;
  costs.server.request_ns = std::max(0.0, server_ns[0]);
  costs.server.result_ns = std::max(0.0, (server_ns[1] - server_ns[0]) / more);
  costs.client.request_ns = std::max(0.0, client_ns[0]);
  costs.client.result_ns = std::max(0.0, (client_ns[1] - client_ns[0]) / more);
  const Sides inserts = net(
      rounds, [&] { return (*with_messages)->inserts(); },
      [&] { return echo.messages(protocol::write_bytes<2>(1), answer_bytes(0)); });
  costs.server.write_ns =
      std::max(0.0, inserts.server - tree.writer.operation_ns - tree.writer.publish_ns / kTogether);

  const auto offloading = CoreBench::create(entries, Mode::kOffload);
  if (!offloading) return fail(offloading.error());
  std::vector<double> ns;
  for (const auto& kind : windows) {
    for (int i = 0; i < 4; ++i) (*offloading)->offloaded(kind);  // until inner nodes are cached
    ns.push_back(median_of(rounds, [&] {
      return std::max(1.0, (*offloading)->offloaded(kind) - echo.reads(kind.leaves));
    }));
  }
  costs.offload = fit_search(windows, ns);
  return costs;
}

}  // namespace silurus::bench
