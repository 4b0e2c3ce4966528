// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/cluster/cluster.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "datasets/generators.h"

namespace silurus::simulation {
namespace {

constexpr Nanoseconds kDeadline = 2 * kSecond;
constexpr std::uint64_t kIdsOfAClient = std::uint64_t{1} << 32;

Version load(server::Core<2>& core, std::vector<Entry> entries) {
  auto version = core.load(std::move(entries));
  SILURUS_CHECK(version.has_value());
  return *version;
}

std::unique_ptr<server::Core<2>> make_core(const ClusterOptions& options, const Clock& clock,
                                           server::Executor& executor, std::uint64_t instance) {
  auto core = server::Core<2>::create({.workers = options.workers,
                                       .grace = options.grace,
                                       .heartbeat = options.heartbeat,
                                       .memory_budget_bytes = options.memory_budget_bytes,
                                       .build_threads = 1,
                                       .history = {.age = options.retain,
                                                   .versions = options.retain_versions,
                                                   .hold_lease = options.hold_lease,
                                                   .unix_ns = [&clock] { return clock.now(); }},
                                       .slice = options.slice,
                                       .instance = instance},
                                      clock, executor);
  SILURUS_CHECK(core.has_value());
  return std::move(*core);
}

}  // namespace

ServerNode::ServerNode(sim::World& world, sim::Host& host, const ClusterOptions& options,
                       std::uint64_t instance, std::vector<Entry> entries)
    : oracle(2, entries),
      host_(host),
      options_(options),
      fabric_(world, host, options.fabric),
      core_(make_core(options, host.clock(), executor_, instance)) {
  SILURUS_CHECK(load(*core_, std::move(entries)) == 2);  // version 1 is the empty tree
  const auto bound = core_->listen(fabric_, {"sim", host.name(), "1", ""}, {});
  SILURUS_CHECK(bound.has_value());
  for (std::size_t i = 0; i < core_->worker_count(); ++i) {
    auto& worker = core_->worker(i);
    processes_.push_back(host.spawn("worker", [this, &worker](sim::Process& process) {
      const bool is_busy = worker.sweep();
      host_.charge(options_.server_turn);
      if (is_busy) return process.wake();
      if (const auto deadline = worker.deadline()) process.wake_at(*deadline);
    }));
    for (const auto& poller : worker.pollers()) processes_.back()->watch(*poller);
    worker.set_waker([process = processes_.back().get()] { process->wake(); });
  }
}

ServerNode::~ServerNode() { processes_.clear(); }

ClientNode::ClientNode(sim::World& world, sim::Host& host, const ClusterOptions& options,
                       const Workload& workload, std::uint64_t number)
    : host_(host),
      options_(options),
      workload_(workload),
      number_(number),
      random_(options.seed * 1000 + number),
      fabric_(world, host, options.fabric),
      poller_(std::move(*fabric_.create_poller())),
      network_(fabric_, *poller_) {
  process_ = host.spawn("client", [this](sim::Process& process) { step(process); });
  process_->watch(*poller_);
}

ClientNode::~ClientNode() {
  drop();
  process_.reset();
}

Status ClientNode::connect(ServerNode& server) {
  drop();
  own_.clear();
  const ClientOptions options = {.mode = workload_.mode,
                                 .policy = workload_.policy,
                                 .deadline = kDeadline,
                                 .connect_timeout = 200 * kMillisecond,
                                 .seed = random_(),
                                 // No checksums: the time lease alone must do.
                                 .offload = {.cache_bytes = workload_.cache_bytes}};
  auto core = client::ClientCore<2>::connect("sim://server:1", network_, host_.clock(), options);
  if (!core) return fail(core.error());
  server_ = &server;
  core_ = std::move(*core);
  go_on();
  return {};
}

void ClientNode::drop() {
  if (core_ == nullptr) return;
  past_ = statistics();
  core_.reset();  // calls what callbacks are left
}

void ClientNode::go_on() {
  is_stopping_ = false;
  process_->wake();
}

ClientStatistics ClientNode::statistics() const {
  ClientStatistics all = past_;
  if (core_ != nullptr) all.merge(core_->statistics());
  return all;
}

void ClientNode::step(sim::Process& process) {
  host_.charge(options_.client_turn);
  std::size_t events = poller_->progress();
  if (core_ == nullptr) return;
  events += core_->settle(true);
  if (core_->ready() && !is_stopping_) {
    while (in_flight() < workload_.in_flight) start_one();
  }
  core_->flush();
  if (events > 0) return process.wake();
  process.wake_at(host_.clock().now() + 5 * kMillisecond);  // to look at deadlines
}

void ClientNode::start_one() {
  const double dice = random_.uniform();
  if (dice < workload_.write_share) {
    start_write();
  } else if (dice < workload_.write_share + workload_.nearest_share) {
    start_nearest();
  } else {
    start_range();
  }
}

Box ClientNode::draw_box(double edge) {
  Box box;
  for (int d = 0; d < 2; ++d) {
    box.min[d] = random_.uniform() * (1 - edge);
    box.max[d] = box.min[d] + edge * random_.uniform();
  }
  return box;
}

void ClientNode::start_range() {
  rtree::RangeQuery<2> query;
  query.window = draw_box(workload_.window_edge);
  query.predicate = static_cast<rtree::Predicate>(random_.below(3));
  const auto asked =
      std::make_shared<std::pair<rtree::RangeQuery<2>, Version>>(query, server_->oracle.newest());
  const Version as_of = draw_past();
  ++started_;
  const auto status =
      core_->submit(client::request::Range<2>{.query = query, .as_of = as_of},
                    [this, asked, as_of](const Result<RangeAnswer<2>*>& answer) {
                      const Error* error = answer ? nullptr : &answer.error();
                      const std::string what = answer && (*answer)->access == Access::kOffload
                                                   ? "an offloaded range search"
                                                   : "a range search by message";
                      const Version version = answer ? (*answer)->version : 0;
                      if (as_of != 0 ? end_past(error, version, as_of, what)
                                     : end(error, version, asked->second, what)) {
                        server_->oracle.found(asked->first, (*answer)->ids, version, what);
                      }
                    });
  if (!status) end(&status.error(), 0, 0, "range");
}

void ClientNode::start_nearest() {
  rtree::NearestQuery<2> query;
  query.point = {{random_.uniform(), random_.uniform()}};
  query.k = 1 + static_cast<std::uint32_t>(random_.below(12));
  const auto asked =
      std::make_shared<std::pair<rtree::NearestQuery<2>, Version>>(query, server_->oracle.newest());
  const Version as_of = draw_past();
  ++started_;
  const auto status =
      core_->submit(client::request::Nearest<2>{.query = query, .as_of = as_of},
                    [this, asked, as_of](const Result<NearestAnswer*>& answer) {
                      const Error* error = answer ? nullptr : &answer.error();
                      const std::string what = answer && (*answer)->access == Access::kOffload
                                                   ? "an offloaded nearest search"
                                                   : "a nearest search by message";
                      const Version version = answer ? (*answer)->version : 0;
                      if (as_of != 0 ? end_past(error, version, as_of, what)
                                     : end(error, version, asked->second, what)) {
                        server_->oracle.found(asked->first, (*answer)->neighbors, version, what);
                      }
                    });
  if (!status) end(&status.error(), 0, 0, "nearest");
}

Version ClientNode::draw_past() {
  if (workload_.past_share == 0 || random_.uniform() >= workload_.past_share) return 0;
  const Version newest = std::max<Version>(server_->oracle.newest(), 2);
  return newest - random_.below(std::min<Version>(newest - 1, 3 * options_.retain_versions));
}

bool ClientNode::end_past(const Error* error, Version version, Version as_of,
                          const std::string& what) {
  if (error != nullptr && error->code == ErrorCode::kNotFound) {
    ++ended_;
    ++past_forgotten_;
    return false;
  }
  if (!end(error, version, 0, what + " of version " + std::to_string(as_of))) return false;
  ++past_answers_;
  if (version == as_of) return true;
  complaints_.push_back(what + " of version " + std::to_string(as_of) + " is of version " +
                        std::to_string(version));
  return false;
}

/// Takes what it changes out of own_, until it is known what became of it.
Operation ClientNode::draw_operation() {
  const double dice = random_.uniform();
  if (own_.empty() || dice < 0.4) {
    return {number_ * kIdsOfAClient + next_id_++,
            protocol::OperationKind::kInsert,
            0,
            draw_box(0.02),
            {}};
  }
  const std::size_t which = random_.below(own_.size());
  const Entry entry = std::exchange(own_[which], own_.back());
  own_.pop_back();
  if (dice < 0.7) return {entry.id, protocol::OperationKind::kErase, 0, entry.box, {}};
  return {entry.id, protocol::OperationKind::kUpdate, 0, entry.box, {draw_box(0.02)}};
}

void ClientNode::start_write() {
  const auto operation = std::make_shared<const Operation>(draw_operation());
  ++started_;
  const auto status = core_->submit(
      client::request::Write<2>{{operation.get(), 1}},
      [this, operation](const Result<WriteAnswer*>& answer) { end_write(*operation, answer); });
  if (!status) end(&status.error(), 0, 0, "write");
}

void ClientNode::end_write(const Operation& operation, const Result<WriteAnswer*>& answer) {
  const Error* error = answer ? nullptr : &answer.error();
  if (!end(error, answer ? (*answer)->version : 0, 0, "a write")) {
    return server_->oracle.uncertain(operation);
  }
  if (!(*answer)->failed.empty()) {
    const ErrorCode code = (*answer)->failed.front().code;
    if (code != ErrorCode::kOutOfMemory) {
      complaints_.push_back("a write failed: " + std::string(to_string(code)));
    }
    if (operation.kind != protocol::OperationKind::kInsert) {
      own_.push_back({operation.id, operation.box});
    }
    return;
  }
  server_->oracle.wrote((*answer)->version, operation);
  if (operation.kind == protocol::OperationKind::kInsert) {
    own_.push_back({operation.id, operation.box});
  } else if (operation.kind == protocol::OperationKind::kUpdate) {
    own_.push_back({operation.id, operation.to});
  }
}

bool ClientNode::end(const Error* error, Version version, Version at_least,
                     const std::string& what) {
  ++ended_;
  if (error != nullptr) {
    ++failed_;
    // The faults make these, and nothing else.
    if (error->code != ErrorCode::kConnectionLost && error->code != ErrorCode::kDeadlineExceeded &&
        error->code != ErrorCode::kUnavailable && error->code != ErrorCode::kInDoubt) {
      complaints_.push_back(what + " failed: " + error->message);
    }
    return false;
  }
  ++succeeded_;
  if (version < at_least) {
    complaints_.push_back(what + " saw version " + std::to_string(version) + " after version " +
                          std::to_string(at_least) + " had been seen");
  }
  server_->oracle.saw(version);
  return true;
}

}  // namespace silurus::simulation
