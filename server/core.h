// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/log_limiter.h"
#include "common/result.h"
#include "server/executor.h"
#include "server/limits.h"
#include "server/shard.h"
#include "server/slabs.h"
#include "server/worker.h"
#include "transport/fabric.h"

namespace silurus::server {

struct CoreOptions {
  std::size_t workers = 1;
  Nanoseconds grace = kDefaultGrace;
  Nanoseconds heartbeat = kDefaultHeartbeat;
  std::uint64_t memory_budget_bytes = kDefaultMemoryBytes;
  std::uint32_t max_clients = kDefaultMaxClients;
  Nanoseconds idle_timeout = 0;  ///< 0: none
  unsigned build_threads = 0;    ///< for bulk loads; 0: all cores
  bool huge_pages = false;
  /// Where writes are made durable; nothing: nowhere. With threads of its own.
  std::optional<DurabilityOptions> durability = {};
  std::optional<GroupOptions> group = {};  ///< whose member it is; then with durability
  HistoryOptions history = {};             ///< which old versions can still be asked
  /// Who may do what; must outlive the core. nullptr: every client everything.
  const access::RuleBook* rules = nullptr;
  std::uint32_t slice = rtree::kSliceOfWork;  ///< work on writes in one turn: for simulations
  std::uint64_t instance = 1;  ///< tells a restarted server from the one before: random
  /// CPU seconds that the process has used, for statistics; may be empty.
  std::function<double()> cpu_seconds = {};
};

/// A whole server but for its threads: memory, shard, listeners, workers. Its owner calls
/// each worker's sweep(), a thread of its own for each (Server) or one simulated world for all:
///
///   auto core = Core<2>::create(options, clock, executor);
///   (*core)->listen(fabric, *Address::parse("sim://server:1"), {});
///   (*core)->worker(0).sweep();   // whenever something may have happened, and at deadline()
///
/// Set-up and the end belong to one thread, with no worker running; stats_json() to any.
template <int D>
class Core {
 public:
  /// `member`: see Shard::create().
  static Result<std::unique_ptr<Core>> create(const CoreOptions& options, const Clock& clock,
                                              Executor& executor,
                                              const MembershipOpener<D>& member = nullptr);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  /// Fills the empty tree before any client is served.
  Result<rtree::Version> load(std::vector<rtree::Entry<D>> entries);
  /// Clients may connect from now on; they are served by the workers, one poller of the fabric for
  /// each. The fabric must outlive the core. Returns the address really used.
  Result<transport::Address> listen(transport::Fabric& fabric, const transport::Address& address,
                                    const transport::ListenOptions& options);
  /// Once it listens: takes part in the group, if it is a member of one.
  Status join_group();
  /// With no worker running any more: ends writing and leaves what is durable in good order.
  void stop_writing() { shard_->writes().stop(); }
  /// Backups and diffs under way give up.
  void cancel_tasks() { shard_->cancel_tasks(); }
  /// Takes no more clients.
  void stop_listening();

  std::size_t worker_count() const { return team_.workers.size(); }
  Worker<D>& worker(std::size_t index) { return *team_.workers[index]; }
  const Shard<D>& shard() const { return *shard_; }
  /// Connected clients.
  std::uint32_t clients() const { return clients_.load(std::memory_order_relaxed); }
  std::string stats_json() const;
  std::string cluster_json() const;

 private:
  /// One listening address and the clients that came by it.
  struct ListenEndpoint final : transport::AcceptHandler {
    Core* core = nullptr;
    std::size_t index = 0;
    bool one_sided = false;
    std::string address;
    std::atomic<std::uint32_t> clients{0};
    std::unique_ptr<transport::Listener> listener;

    std::optional<access::Key> find_key(access::KeyId id) override {
      return core->options_.rules == nullptr ? std::nullopt : core->options_.rules->key(id);
    }
    void on_false_key(const transport::Caller& caller, const Error& error) override {
      core->warn_of_refusal(caller, error);
    }
    Result<std::vector<std::byte>> on_hello(std::span<const std::byte> client_hello,
                                            const transport::Caller& caller) override;
    bool may_read_regions(const transport::Caller& caller) override;
    void on_accept(std::unique_ptr<transport::Connection> connection,
                   transport::Poller& poller) override;
  };
  /// One worker's poller of a fabric.
  struct PollerOf {
    transport::Fabric* fabric;
    transport::Poller* poller;
    Worker<D>* worker;
  };

  Core(const CoreOptions& options, const Clock& clock);
  Result<std::vector<transport::Poller*>> pollers_of(transport::Fabric& fabric);
  void on_session_closed(std::size_t door);
  void warn_of_refusal(const transport::Caller& caller, const Error& error);

  const CoreOptions options_;
  const Clock& clock_;
  const Nanoseconds started_;
  RegisteredSlabs slabs_;
  std::unique_ptr<Shard<D>> shard_;
  std::atomic<std::uint32_t> clients_{0};
  std::vector<std::unique_ptr<ListenEndpoint>> doors_;
  std::vector<PollerOf> pollers_;
  std::mutex refusals_mutex_;  ///< listeners ask on threads of their own
  log::LogLimiter refusals_;   ///< guarded by it
  Team<D> team_;
};

}  // namespace silurus::server
