// SPDX-License-Identifier: Apache-2.0

#include "server/server.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "access/own_key.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/units.h"
#include "datasets/open.h"
#include "replication/data_directory.h"
#include "replication/group/tree_machine.h"
#include "replication/store.h"
#include "server/core.h"
#include "transport/wait_plan.h"
#include "transport/waiter.h"

namespace silurus::server {
namespace {

Nanoseconds sweep_in_vain(transport::WaitPolicy policy, const transport::Waiter& waiter) {
  switch (policy) {
    case transport::WaitPolicy::kSleep:
      return 0;
    case transport::WaitPolicy::kPeriodic:
      return kSweepBeforeRest;
    case transport::WaitPolicy::kAdaptive:
      return waiter.is_to_spin() ? kSweepInVain : kSweepBeforeRest;
    case transport::WaitPolicy::kSpin:
      break;
  }
  return kSweepInVain;
}

/// What a worker does between two waits, for the plan of its waiter.
template <int D>
class WorkCount {
 public:
  explicit WorkCount(const Worker<D>& worker) : worker_(worker) { begin(); }
  /// A wait has ended.
  void begin() {
    worked_ = {};
    handled_ = worker_.handled();
    busy_ = busy();
    begun_ = idle_since_ = worker_.now();
    is_looking_ = false;
  }
  void note_sweep(bool found_work) {
    if (found_work) {
      worked_.met += is_looking_ ? 1 : 0;
      idle_since_ = worker_.now();
    }
    is_looking_ = !found_work;
  }
  Nanoseconds idle_for() const { return worker_.now() - idle_since_; }
  /// A wait begins.
  const transport::Worked& end() {
    worked_.time = worker_.now() - begun_;
    worked_.busy = busy() - busy_;
    worked_.in_vain = idle_for();
    worked_.events = worker_.handled() - handled_;
    return worked_;
  }

 private:
  // Relaxed: it is this thread that adds to it.
  Nanoseconds busy() const { return worker_.counters().busy_ns.load(std::memory_order_relaxed); }

  const Worker<D>& worker_;
  transport::Worked worked_;
  std::uint64_t handled_ = 0;
  Nanoseconds busy_ = 0;
  Nanoseconds begun_ = 0;
  Nanoseconds idle_since_ = 0;
  bool is_looking_ = false;  ///< the last sweep found nothing
};

double process_cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

unsigned usable_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

std::uint64_t random_instance() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device() | 1;
}

/// Runs tasks one after the other on a thread of its own, which there is once there is a task.
class ThreadExecutor final : public Executor {
 public:
  ~ThreadExecutor() override { join(); }
  void run(Task task) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (!thread_.joinable()) thread_ = std::jthread([this] { work(); });
    changed_.notify_one();
  }
  /// Runs what is left and ends the thread.
  void join() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> tasks_;
  bool ending_ = false;
  std::jthread thread_;
};

/// Another source, of whose entries it reports once a second how many have been read.
template <int D>
class ReportingSource final : public datasets::Source<D> {
 public:
  ReportingSource(datasets::Source<D>& source, std::string what,
                  std::function<void(const std::string&)> report)
      : source_(source), what_(std::move(what)), report_(std::move(report)) {}
  Result<std::size_t> read(std::span<rtree::Entry<D>> into) override {
    auto count = source_.read(into);
    if (count) count_ += *count;
    const Nanoseconds now = SystemClock().now();
    if (report_ && now - last_ >= kSecond) {
      last_ = now;
      report_(what_ + ": " + std::to_string(count_) + " entries read");
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return source_.total_entries(); }
  datasets::Progress progress() const override { return source_.progress(); }

 private:
  datasets::Source<D>& source_;
  std::string what_;
  std::function<void(const std::string&)> report_;
  std::uint64_t count_ = 0;
  Nanoseconds last_ = SystemClock().now();
};

template <int D>
class Running final : public Server {
 public:
  Running() = default;
  ~Running() override { stop(); }

  Status start_up(const ServerOptions& options);

  const std::vector<std::string>& addresses() const override { return addresses_; }
  std::string stats_json() const override { return core_->stats_json(); }
  bool workers_are_alive() override;
  void wake_workers() override;
  void stop() override;

 private:
  Status load(const ServerOptions& options);
  Status listen(const ServerOptions& options, const std::string& url);
  void leave_own_key(const transport::Address& bound);
  Result<transport::Fabric*> fabric(const std::string& scheme);
  void serve(std::size_t index, transport::WaitPolicy policy);

  SystemClock clock_;
  ThreadExecutor executor_;
  std::shared_ptr<access::RuleBook> rules_;
  std::map<std::string, std::unique_ptr<transport::Fabric>> fabrics_;
  std::unique_ptr<Core<D>> core_;
  std::vector<std::string> addresses_;
  std::optional<access::Key> own_key_;  ///< once it listens where a client can prove one
  std::vector<std::unique_ptr<access::OwnKeyFile>> own_key_files_;
  std::vector<std::unique_ptr<transport::Waiter>> waiters_;
  std::atomic<bool> stopping_{false};
  /// Raised to ask each worker for a sign of life, which it gives by repeating the number.
  std::atomic<std::uint64_t> question_{0};
  std::unique_ptr<std::atomic<std::uint64_t>[]> answers_;  ///< one for each worker
  std::vector<std::jthread> threads_;
};

void pin(std::jthread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (const int error = pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
      error != 0) {
    log::warning(
        errno_error(ErrorCode::kIo,
                    "cannot pin a thread to core " + std::to_string(cpu) + "; it runs unpinned",
                    error)
            .message);
  }
}

template <int D>
Status Running<D>::start_up(const ServerOptions& options) {
  rules_ = options.rules;
  if (rules_ == nullptr) {
    auto rules = read_rules(options);
    if (!rules) return fail(rules.error());
    rules_ = std::make_shared<access::RuleBook>(std::move(*rules));
  }
  const unsigned workers = options.threads != 0 ? options.threads : usable_cores();
  std::optional<DurabilityOptions> durability = options.durability;
  if (durability) durability->progress = options.progress;
  if (durability && options.progress) options.progress("recovering " + durability->path);
  auto core = Core<D>::create({.workers = std::min(workers, kMaxThreads),
                               .grace = options.grace,
                               .heartbeat = options.heartbeat,
                               .memory_budget_bytes = options.memory_bytes,
                               .max_clients = options.max_clients,
                               .idle_timeout = options.idle_timeout,
                               .huge_pages = options.huge_pages,
                               .durability = durability,
                               .group = options.group,
                               .history = options.history,
                               .rules = rules_.get(),
                               .instance = random_instance(),
                               .cpu_seconds = process_cpu_seconds},
                              clock_, executor_);
  if (!core) return fail(core.error());
  core_ = std::move(*core);
  if (!options.load.empty()) {
    if (auto ok = load(options); !ok) return ok;
  }
  if (options.before_listening) {
    if (auto ok = options.before_listening(); !ok) return ok;
  }
  for (const std::string& url : options.listen) {
    if (auto ok = listen(options, url); !ok) return ok;
  }
  if (auto joined = core_->join_group(); !joined) return joined;
  for (std::size_t i = 0; i < core_->worker_count(); ++i) {
    std::vector<transport::Poller*> pollers;
    for (const auto& poller : core_->worker(i).pollers()) pollers.push_back(poller.get());
    const Nanoseconds default_pause = options.wait == transport::WaitPolicy::kPeriodic
                                          ? kDefaultLongestPauseTold
                                          : kDefaultLongestPause;
    auto waiter = transport::Waiter::create(
        {.policy = options.wait, .longest_pause = options.longest_pause.value_or(default_pause)},
        std::move(pollers));
    if (!waiter) return fail(waiter.error());
    core_->worker(i).set_waker([waiting = waiter->get()] { waiting->wake(); });
    waiters_.push_back(std::move(*waiter));
  }
  answers_ = std::make_unique<std::atomic<std::uint64_t>[]>(core_->worker_count());
  for (std::size_t i = 0; i < core_->worker_count(); ++i) {
    threads_.emplace_back([this, i, policy = options.wait] { serve(i, policy); });
    pthread_setname_np(threads_.back().native_handle(), ("silurus-" + std::to_string(i)).c_str());
    if (!options.cpus.empty()) pin(threads_.back(), options.cpus[i % options.cpus.size()]);
  }
  return {};
}

template <int D>
Status Running<D>::load(const ServerOptions& options) {
  const std::string& spec = options.load;
  if (const std::uint64_t kept = core_->shard().tree().snapshot().size(); kept != 0) {
    log::info("the data directory holds " + std::to_string(kept) + " entries: " + spec +
              " is not loaded again");
    return {};
  }
  auto source = datasets::open_dataset<D>(spec, {.columns = options.columns});
  if (!source) return fail(source.error());
  ReportingSource<D> reporting(**source, "loading " + spec, options.progress);
  auto entries = datasets::read_all(reporting);
  if (!entries) return fail(entries.error());
  const std::size_t count = entries->size();
  if (options.progress)
    options.progress("loading " + std::to_string(count) + " entries of " + spec);
  if (auto ok = core_->load(std::move(*entries)); !ok) return fail(ok.error());
  const std::string columns = (*source)->description();
  log::info("loaded " + std::to_string(count) + " entries of " + spec +
            (columns.empty() ? "" : " (columns: " + columns + ")"));
  return {};
}

template <int D>
Result<transport::Fabric*> Running<D>::fabric(const std::string& scheme) {
  if (const auto known = fabrics_.find(scheme); known != fabrics_.end()) return known->second.get();
  auto made = transport::make_fabric(scheme);
  if (!made) return fail(made.error());
  return fabrics_.emplace(scheme, std::move(*made)).first->second.get();
}

template <int D>
Status Running<D>::listen(const ServerOptions& options, const std::string& url) {
  const auto address = transport::Address::parse(url);
  if (!address) return fail(address.error());
  const auto used = fabric(address->scheme);
  if (!used) return fail(used.error());
  const auto bound =
      core_->listen(**used, *address,
                    {.max_connections = options.max_clients,
                     .max_connections_per_peer = options.max_clients_per_peer,
                     .ring_budget_bytes = options.ring_budget_bytes / options.listen.size(),
                     .allow_other_users = options.admits_others(),
                     .hello_timeout = options.handshake_timeout});
  if (!bound) return fail(bound.error());
  addresses_.push_back(bound->to_string());
  leave_own_key(*bound);
  return {};
}

/// For programs of our own user on this host. Without it they are what the kernel says they are
/// over tcp, and unknown over rdma.
template <int D>
void Running<D>::leave_own_key(const transport::Address& bound) {
  if (bound.scheme != "tcp" && bound.scheme != "rdma") return;
  if (!own_key_) {
    auto made = access::Key::make("own");
    SILURUS_CHECK(made.has_value());
    own_key_ = std::move(*made);
    rules_->set_own_key(*own_key_);
  }
  const std::string folder = access::own_key_folders().front();
  auto file = access::OwnKeyFile::create(folder, {bound.scheme, bound.host, bound.port}, *own_key_);
  if (file) {
    own_key_files_.push_back(std::move(*file));
  } else {
    log::info("left no key for programs of our own user: " + file.error().message);
  }
}

template <int D>
void Running<D>::serve(std::size_t index, transport::WaitPolicy policy) {
  Worker<D>& worker = core_->worker(index);
  transport::Waiter& waiter = *waiters_[index];
  worker.woke();
  WorkCount<D> work(worker);
  // Relaxed: nothing is read that the stopping thread wrote before; its wake() follows the store.
  while (!stopping_.load(std::memory_order_relaxed)) {
    // Relaxed, both: no other memory is published by question or answer.
    const std::uint64_t question = question_.load(std::memory_order_relaxed);
    if (answers_[index].load(std::memory_order_relaxed) != question) {
      answers_[index].store(question, std::memory_order_relaxed);
    }
    const bool found_work = worker.sweep();
    work.note_sweep(found_work);
    if (found_work || work.idle_for() < sweep_in_vain(policy, waiter)) continue;
    const std::optional<Nanoseconds> deadline = worker.deadline();
    waiter.wait(deadline ? std::max<Nanoseconds>(*deadline - worker.now(), 0) : -1, work.end());
    worker.woke();
    work.begin();
  }
}

template <int D>
bool Running<D>::workers_are_alive() {
  const std::uint64_t question = question_.load(std::memory_order_relaxed);
  bool all = true;
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    all &= answers_[i].load(std::memory_order_relaxed) == question;
  }
  // The next question only when all have answered this one: a late answer is to count.
  if (all) question_.store(question + 1, std::memory_order_relaxed);
  wake_workers();
  return all;
}

template <int D>
void Running<D>::wake_workers() {
  for (auto& waiter : waiters_) waiter->wake();
}

template <int D>
void Running<D>::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  wake_workers();
  threads_.clear();
  if (core_ != nullptr) core_->cancel_tasks();
  executor_.join();  // a build under way gives its job back to a worker that still exists
  if (core_ != nullptr) core_->stop_writing();
  own_key_files_.clear();
  core_.reset();
  fabrics_.clear();
}

template <int D>
Result<std::unique_ptr<Server>> start_running(const ServerOptions& options) {
  auto running = std::make_unique<Running<D>>();
  if (auto ok = running->start_up(options); !ok) return fail(ok.error());
  return std::unique_ptr<Server>(std::move(running));
}

template <int D>
Result<std::string> check_data_of(const ServerOptions& options) {
  const DurabilityOptions& durability = *options.durability;
  auto directory = replication::open_directory<D>(
      durability.path, {.tree_bytes = options.memory_bytes, .read_only = true});
  if (!directory) return fail(directory.error());
  rtree::AnonymousSlabs slabs;
  const SystemClock clock;
  auto recovered = replication::recover<D>(
      directory->volume, {{.memory_budget_bytes = options.memory_bytes}, slabs, clock},
      {.accept_damage = durability.accept_damage, .replay = !directory->member});
  if (!recovered) return fail(recovered.error());
  for (const auto& tree : recovered->collections->trees()) {
    if (Status valid = tree->snapshot().validate(); !valid) {
      return fail(ErrorCode::kProtocol,
                  durability.path + " holds a tree that breaks a rule: " + valid.error().message);
    }
  }
  if (directory->member) {
    const auto extra =
        replication::read_extra(directory->volume, recovered->superblock.id, recovered->root);
    if (!extra) return fail(extra.error());
    if (const auto state = replication::group::MachineState::decode(*extra); !state) {
      return fail(state.error().code, durability.path + ": " + state.error().message);
    }
  }
  std::string text = durability.path + " is good: every node and record was read and verified\n";
  text += "a start would give " + replication::to_string(recovered->report) + "\n";
  if (directory->member) {
    text += "it belongs to a member of shard " + std::to_string(directory->member->shard) +
            " of the cluster " + directory->member->cluster + ", and " +
            format_size(recovered->tail.end.lsn - recovered->root.log.lsn) +
            " of the log behind that are the group's to judge\n";
  }
  return text;
}

}  // namespace

Result<access::Rules> read_rules(const ServerOptions& options) {
  if (!options.access.empty()) return access::Rules::read(options.access, geteuid());
  const auto others = options.allow_other_users ? access::Role::kWriter : access::Role::kNone;
  return access::Rules::of_user(geteuid(), others);
}

Result<std::string> check_data(const ServerOptions& options) {
  return options.dimensions == 2 ? check_data_of<2>(options) : check_data_of<3>(options);
}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options) {
  if (auto ok = check_options(options); !ok) return fail(ok.error());
  return options.dimensions == 2 ? start_running<2>(options) : start_running<3>(options);
}

}  // namespace silurus::server
