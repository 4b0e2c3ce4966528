#include "server/shard.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "common/units.h"
#include "server/limits.h"

namespace silurus::server {
namespace {

/// Looks of a task for the writer's role, and the pause between two, before it lets others go
/// first.
constexpr int kRoleAttempts = 200;
constexpr auto kRolePause = std::chrono::microseconds(50);

std::uint64_t staging_bytes(std::uint64_t memory_budget_bytes) {
  return static_cast<std::uint64_t>(static_cast<double>(memory_budget_bytes) * kLoadStagingShare);
}

/// Where a server remembers that it is retired; nowhere, if its entries are nowhere either, or on a
/// device, which has no files beside them (see Shard::turn_gate).
std::string gate_path(const ShardOptions& options) {
  if (!options.durability || !std::filesystem::is_directory(options.durability->path)) return {};
  return options.durability->path + "/retired";
}

}  // namespace

template <int D>
Shard<D>::Shard(const ShardOptions& options, std::unique_ptr<rtree::Tree<D>> tree,
                std::unique_ptr<Durability<D>> durability, std::unique_ptr<Membership<D>> replica,
                const Clock& clock, Executor& executor)
    : options_(options),
      tree_(std::move(tree)),
      durability_(std::move(durability)),
      replica_(std::move(replica)),
      history_({.age = options.history.age,
                .versions = options.history.versions,
                .held_bytes = std::min(options.history.held_bytes,
                                       options.memory_budget_bytes / kHistoryShare),
                .hold_lease = options.history.hold_lease,
                .unix_ns = options.history.unix_ns}),
      clock_(clock),
      executor_(executor),
      gate_(gate_path(options)),
      writer_(*tree_, durability_.get(), &history_, &gate_),
      load_slot_(staging_bytes(options.memory_budget_bytes)) {
  if (replica_ == nullptr) {
    writer_.remember();
  } else if (history_.enabled()) {
    history_.add(*tree_, replica_->stamp());
  }
  if (durability_ == nullptr) return;
  durability_->start(*tree_);
  if (durability_->waits_for_device()) writer_thread_ = std::make_unique<WriterThread<D>>(writer_);
}

template <int D>
Result<std::unique_ptr<Shard<D>>> Shard<D>::create(const ShardOptions& options,
                                                   rtree::SlabSource& slabs, const Clock& clock,
                                                   Executor& executor,
                                                   const typename Membership<D>::Opener& member) {
  const rtree::TreeOptions tree_options{.grace = options.grace,
                                        .memory_budget_bytes = options.memory_budget_bytes};
  if (options.group || member) {
    const replication::TreePlace place{tree_options, slabs, clock};
    auto opened =
        member ? member(place) : ReplicaThread<D>::open(*options.durability, *options.group, place);
    if (!opened) return fail(opened.error());
    return std::unique_ptr<Shard>(new Shard(options, std::move(opened->tree), nullptr,
                                            std::move(opened->membership), clock, executor));
  }
  if (options.durability) {
    auto opened = Durability<D>::open(*options.durability, {tree_options, slabs, clock});
    if (!opened) return fail(opened.error());
    std::unique_ptr<Shard> shard(new Shard(
        options, std::move(opened->tree), std::move(opened->durability), nullptr, clock, executor));
    if (auto ok = shard->recover_gate(); !ok) return fail(ok.error());
    return shard;
  }
  auto tree = rtree::Tree<D>::create(tree_options, slabs, clock);
  if (!tree) return fail(tree.error());
  return std::unique_ptr<Shard>(
      new Shard(options, std::move(*tree), nullptr, nullptr, clock, executor));
}

template <int D>
Status Shard<D>::recover_gate() {
  if (auto ok = gate_.recover(); !ok) return ok;
  tree_->set_retired(gate_.retired());
  return {};
}

template <int D>
Status Shard<D>::join_group(const std::string& clients) {
  return replica_ == nullptr ? Status{} : replica_->join(*tree_, writer_, history_, clients);
}

template <int D>
std::optional<DurabilityStats> Shard<D>::durability_stats() const {
  if (replica_ != nullptr) return replica_->stats();
  if (durability_ != nullptr) return durability_->stats();
  return std::nullopt;
}

template <int D>
replication::Stamp Shard<D>::stamp() const {
  if (replica_ != nullptr) return replica_->stamp();
  return durability_ != nullptr ? durability_->stamp() : 0;
}

template <int D>
void Shard<D>::stop_writing() {
  writer_thread_.reset();
  if (replica_ != nullptr) replica_->stop();
  if (durability_ != nullptr) durability_->stop();
}

template <int D>
Result<rtree::Version> Shard<D>::load_tree(std::vector<rtree::Entry<D>> entries,
                                           const rtree::BulkLoadOptions& options) {
  auto version = durability_ != nullptr ? durability_->load(*tree_, std::move(entries), options)
                                        : tree_->bulk_load(std::move(entries), options);
  if (version) writer_.remember();
  return version;
}

template <int D>
Status Shard<D>::run_task(TaskJob& job, const protocol::TaskMessage& task,
                          std::function<void()> done) {
  // Relaxed: only a count.
  if (tasks_.fetch_add(1, std::memory_order_relaxed) >= kMaxTasks) {
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    return fail(ErrorCode::kUnavailable,
                std::to_string(kMaxTasks) + " backups and diffs are waiting already: try later");
  }
  using protocol::TaskKind;
  if (task.kind >= TaskKind::kFill) {
    if (replica_ == nullptr) {
      run_command(job, task, std::move(done));
      return {};
    }
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    return fail(ErrorCode::kUnsupported,
                "a group of replicas cannot be replaced or filled while it serves: its members "
                "would have to agree on that");
  }
  executor_.run([this, &job, task, done = std::move(done)] {
    if (task.kind == TaskKind::kDiff) {
      job.text = diff_json(history_, task.from, task.to);
    } else if (task.kind == TaskKind::kBackup) {
      const auto durable = durability_stats();
      job.text = backup_json(
          *tree_, [this] { return stamp(); },
          durable ? durable->log_capacity_bytes : replication::kDefaultLogBytes, task.text,
          cancel_tasks_);
    } else {
      job.text = job.exporting->run(task);
    }
    job.exporting.reset();  // pins nothing on its way back
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    done();
  });
  return {};
}

/// Once it has the writer's role. Whoever has it now is soon done, unless it is a bulk load that
/// waits for this very executor: then this goes behind it.
template <int D>
void Shard<D>::run_command(TaskJob& job, const protocol::TaskMessage& task,
                           std::function<void()> done) {
  executor_.run([this, &job, task, done = std::move(done)]() mutable {
    for (int i = 0; i < kRoleAttempts; ++i) {
      if (writer_.try_acquire()) {
        job.text = command(task);
        tasks_.fetch_sub(1, std::memory_order_relaxed);
        return done();
      }
      std::this_thread::sleep_for(kRolePause);
    }
    if (!cancel_tasks_.load(std::memory_order_relaxed)) {
      return run_command(job, task, std::move(done));
    }
    job.text = fail(ErrorCode::kUnavailable, "the server is shutting down");
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    done();
  });
}

template <int D>
Result<std::string> Shard<D>::command(const protocol::TaskMessage& task) {
  const Status turned = turn_gate(task);
  if (turned) tree_->set_retired(gate_.retired());
  const rtree::Snapshot<D> snapshot = tree_->snapshot();
  writer_.release();
  if (!turned) return fail(turned.error());
  const nlohmann::ordered_json json = {{"state", to_string(gate_.state())},
                                       {"ticket", gate_.ticket()},
                                       {"version", snapshot.version()},
                                       {"entries", snapshot.size()}};
  return json.dump();
}

template <int D>
Status Shard<D>::turn_gate(const protocol::TaskMessage& task) {
  const Nanoseconds now = clock_.now();
  switch (task.kind) {
    case protocol::TaskKind::kFill:
      return gate_.fill(task.from);
    case protocol::TaskKind::kFreeze:
      if (durability_ != nullptr && gate_path(options_).empty()) {
        return fail(ErrorCode::kUnsupported,
                    "a server whose data lie on a device cannot be replaced: it could not remember "
                    "that it was");
      }
      if (task.to == 0 || task.to > static_cast<std::uint64_t>(kMaxFreeze)) {
        return fail(ErrorCode::kInvalidArgument,
                    "a server is frozen for at most " + format_duration(kMaxFreeze));
      }
      return gate_.freeze(task.from, now, now + static_cast<Nanoseconds>(task.to));
    case protocol::TaskKind::kRetire:
      return gate_.retire(task.from, now);
    case protocol::TaskKind::kServe:
      return gate_.serve(task.from);
    default:
      return fail(ErrorCode::kUnsupported, "not a command");
  }
}

template <int D>
void Shard<D>::build(LoadJob<D>& job, std::function<void()> done) {
  executor_.run([this, &job, done = std::move(done)] {
    job.options.threads = options_.build_threads;
    if (const Status ok = gate_.admit(job.ticket, clock_.now()); ok) {
      job.version = load_tree(job.load->take_entries(), job.options);
    } else {
      job.version = fail(ok.error());
    }
    job.entries = tree_->snapshot().size();
    writer_.release();
    job.load.reset();  // gives the slot back: from here on others may load and write
    done();
  });
}

template <int D>
Result<rtree::Version> Shard<D>::load(std::vector<rtree::Entry<D>> entries) {
  const std::uint64_t bytes = entries.size() * sizeof(rtree::Entry<D>);
  if (bytes > load_slot_.staging_limit_bytes()) {
    return fail(ErrorCode::kOutOfMemory,
                std::to_string(entries.size()) + " entries (" + format_size(bytes) +
                    ") are more than a memory budget of " +
                    format_size(options_.memory_budget_bytes) + " can load: raise --memory");
  }
  return load_tree(std::move(entries), {.threads = options_.build_threads});
}

template class Shard<2>;
template class Shard<3>;

}  // namespace silurus::server
