// SPDX-License-Identifier: Apache-2.0

#include "bench/plan_xstore.h"

#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "bench/echo.h"
#include "bench/plan_hosts.h"
#include "transport/sim/fabric.h"

namespace silurus::bench {
namespace {

namespace sim = transport::sim;

// XStore's code at the time of the paper (github.com/SJTU-IPADS/xstore, commit 2dd0d01), and the
// paper, section 7.1: 100 million pairs, "a 7-level tree-based index and a leaf level".
/// src/stores/node.hpp, InnerNode: a count, 17 keys and 17 children of 8 bytes, rounded up to
/// lines.
constexpr std::uint32_t kInnerBytes = 320;
constexpr unsigned kInnerLevels = 7;
/// src/stores/node.hpp, LeafNode: a client reads what lies before the values of a leaf
/// (value_offset(0)): 16 keys, a count, a sequence number, a pointer.
constexpr std::uint32_t kLeafKeysBytes = 141;
/// The value at the position found, which takes one more read: "two RDMA operations per request
/// (one for lookup and one for read)" are the least that there can be (section 2).
constexpr std::uint32_t kValueBytes = 8;
// ae_scripts/ycsbc.toml.
constexpr unsigned kMachines = 8;
constexpr unsigned kThreads = 24;
constexpr unsigned kInFlight = 8;
/// A key or a value, and a header as small as can be thought.
constexpr std::size_t kMessageBytes = 16;

constexpr Nanoseconds kWarmUp = 200 * kMicrosecond;
constexpr Nanoseconds kCounted = kMillisecond;

/// Bytes of the reads of a request, one after the other, with some levels cached.
std::vector<std::uint32_t> reads_of(unsigned cached_levels) {
  std::vector<std::uint32_t> reads(kInnerLevels - cached_levels, kInnerBytes);
  reads.push_back(kLeafKeysBytes);
  reads.push_back(kValueBytes);
  return reads;
}

/// A thread of a client machine.
class LookupClient final : public transport::ConnectionHandler {
 public:
  LookupClient(sim::World& world, sim::Host& host, const PlanModel& model, const PlanCosts& costs,
               std::vector<std::uint32_t> reads)
      : host_(host),
        reads_(std::move(reads)),
        node_ns_(on_core(model, costs.btree.node_ns)),
        fabric_(world, host, fabric_options(model)),
        poller_(std::move(*fabric_.create_poller())) {}
  ~LookupClient() override { process_.reset(); }

  Status connect() {
    auto connection = fabric_.connect({"sim", "server", "1", ""}, {}, *poller_, {}, *this);
    if (!connection) return fail(connection.error());
    connection_ = std::move(*connection);
    buffer_ = std::move(*poller_->allocate_buffer(std::size_t{kInFlight} * kInnerBytes));
    process_ = host_.spawn("client", [this](sim::Process&) { step(); });
    process_->watch(*poller_);
    return {};
  }
  std::uint64_t completed() const { return completed_; }

  void on_message(transport::Connection&, std::span<const std::byte>) override { end(); }
  void on_read(transport::Connection&, std::uint64_t cookie, bool) override {
    host_.charge(node_ns_);
    if (++at_[cookie] == reads_.size()) {
      at_[cookie] = 0;
      ++completed_;
    }
    read(cookie);
  }
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}

 private:
  void step() {
    if (!std::exchange(has_begun_, true)) {
      for (unsigned i = 0; i < kInFlight; ++i) reads_.empty() ? ask() : read(i);
    }
    poller_->progress();
    connection_->flush();
  }
  void ask() {
    if (!connection_->reserve(kMessageBytes).empty()) connection_->commit(kMessageBytes);
  }
  void end() {
    ++completed_;
    ask();
  }
  void read(std::uint64_t cookie) {
    const transport::ReadRequest request = {.region = 0,
                                            .offset = 0,
                                            .length = reads_[at_[cookie]],
                                            .buffer = buffer_.get(),
                                            .buffer_offset = cookie * kInnerBytes,
                                            .cookie = cookie};
    (void)connection_->post_reads({&request, 1});
  }

  sim::Host& host_;
  const std::vector<std::uint32_t> reads_;  ///< none: by message
  const Nanoseconds node_ns_;
  sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
  std::unique_ptr<transport::Connection> connection_;
  std::unique_ptr<transport::Buffer> buffer_;
  std::unique_ptr<sim::Process> process_;
  bool has_begun_ = false;
  std::size_t at_[kInFlight] = {};
  std::uint64_t completed_ = 0;
};

/// Server and clients of one figure.
class LookupWorld {
 public:
  LookupWorld(const PlanModel& model, const PlanCosts& costs,
              const std::vector<std::uint32_t>& reads)
      : server_(world_.add_host("server", host_options(model, costs, model.card.cards, 0))),
        fabric_(world_, server_, fabric_options(model)) {
    world_.set_default_link(link_model(model));
    server_.set_work([ns = on_core(model, costs.btree.lookup_ns)](auto) { return ns; });
    for (unsigned i = 0; i < static_cast<unsigned>(model.host.server_cores); ++i) {
      pollers_.push_back(std::move(*fabric_.create_poller()));
    }
    for (unsigned i = 0; i < kMachines; ++i) {
      sim::Host& machine = world_.add_host("machine" + std::to_string(i),
                                           host_options(model, costs, model.card.cards, 0));
      for (unsigned thread = 0; thread < kThreads; ++thread) {
        clients_.push_back(std::make_unique<LookupClient>(world_, machine, model, costs, reads));
      }
    }
  }

  Status start() {
    std::vector<transport::Poller*> pollers;
    for (const auto& poller : pollers_) pollers.push_back(poller.get());
    auto listener = fabric_.listen({"sim", "server", "1", ""}, {}, pollers, echo_);
    if (!listener) return fail(listener.error());
    listener_ = std::move(*listener);
    memory_.resize(kInnerBytes);
    if (auto ok = listener_->expose({.bytes = memory_}); !ok) return ok;
    echo_.set_answer_bytes(kMessageBytes);
    for (const auto& poller : pollers_) {
      processes_.push_back(
          server_.spawn("worker", [&poller](sim::Process&) { poller->progress(); }));
      processes_.back()->watch(*poller);
    }
    for (const auto& client : clients_) {
      if (auto ok = client->connect(); !ok) return ok;
    }
    return {};
  }

  void run(XStoreFigure& figure) {
    world_.run_for(kWarmUp);
    const std::uint64_t before = completed();
    const sim::CardUse use = server_.card_use();
    world_.run_for(kCounted);
    const double seconds = static_cast<double>(kCounted) / 1e9;
    figure.predicted = static_cast<double>(completed() - before) / seconds;
    const sim::CardUse& after = server_.card_use();
    const auto bytes =
        static_cast<double>(after.bytes_in - use.bytes_in + after.bytes_out - use.bytes_out);
    figure.network = bytes / seconds / server_.options().nic.link_bytes_per_second;
  }

 private:
  std::uint64_t completed() const {
    std::uint64_t sum = 0;
    for (const auto& client : clients_) sum += client->completed();
    return sum;
  }

  sim::World world_{1};
  sim::Host& server_;
  sim::SimFabric fabric_;
  std::vector<std::unique_ptr<transport::Poller>> pollers_;
  EchoServer echo_;
  std::unique_ptr<transport::Listener> listener_;
  std::vector<std::byte> memory_;
  std::vector<std::unique_ptr<sim::Process>> processes_;
  std::vector<std::unique_ptr<LookupClient>> clients_;
};

}  // namespace

Result<std::vector<XStoreFigure>> run_xstore(const PlanModel& model, const PlanCosts& costs) {
  // Section 3 in words, and figure 2(c), of which two bars are read off.
  std::vector<XStoreFigure> figures = {
      {.name = "rpc", .published = 24e6},
      {.name = "one-sided", .reads = reads_of(0), .published = 7e6},
      {.name = "one-sided-top-4-levels-cached", .reads = reads_of(4), .published = 14.5e6},
      {.name = "one-sided-top-5-levels-cached", .reads = reads_of(5), .published = 20e6},
      {.name = "one-sided-top-6-levels-cached", .reads = reads_of(6), .published = 31e6},
      {.name = "one-sided-all-cached", .reads = reads_of(kInnerLevels), .published = 78e6},
  };
  for (XStoreFigure& figure : figures) {
    LookupWorld world(model, costs, figure.reads);
    if (auto ok = world.start(); !ok) return fail(ok.error());
    world.run(figure);
  }
  return figures;
}

Status report_xstore(const PlanModel& model, const PlanCosts& costs, Report& report) {
  const auto figures = run_xstore(model, costs);
  if (!figures) return fail(figures.error());
  std::printf("%-32s %6s %12s %12s %8s %9s\n", "XStore (OSDI 2020)", "reads", "published",
              "predicted", "error", "network");
  for (const XStoreFigure& figure : *figures) {
    std::printf("%-32s %6zu %10.1f M %10.1f M %+7.1f%% %8.1f%%\n", figure.name.c_str(),
                figure.reads.size(), figure.published / 1e6, figure.predicted / 1e6,
                100 * figure.error(), 100 * figure.network);
    const std::string name = "plan/xstore/" + figure.name;
    report.record({.name = name,
                   .value = figure.predicted,
                   .unit = "ops/s",
                   .baseline = "published",
                   .ratio = figure.predicted / figure.published});
    report.record({.name = name + "/error",
                   .value = 100 * std::abs(figure.error()),
                   .unit = "%",
                   .bar = 15,
                   .bar_is_upper = true});
  }
  // The paper's figure for RPC: "11 % of the network".
  const double network = 100 * figures->front().network;
  report.record({.name = "plan/xstore/rpc/network",
                 .value = network,
                 .unit = "%",
                 .baseline = "published",
                 .ratio = network / 11});
  return {};
}

}  // namespace silurus::bench
