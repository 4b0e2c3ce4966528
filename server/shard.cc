#include "server/shard.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "common/units.h"
#include "server/durability.h"
#include "server/executor.h"
#include "server/limits.h"
#include "server/membership.h"
#include "server/replica_thread.h"
#include "server/writer_thread.h"

namespace silurus::server {
namespace {

std::uint64_t staging_bytes(std::uint64_t memory_budget_bytes) {
  return static_cast<std::uint64_t>(static_cast<double>(memory_budget_bytes) * kLoadStagingShare);
}

/// The error, with what to do about it if it is a tree that does not fit its memory.
Error with_remedy(Error error) {
  if (error.code == ErrorCode::kOutOfMemory) {
    error.message += ": start the server with a larger --memory";
  }
  return error;
}

/// Where a server of its own remembers that it is retired; nowhere, if its entries are nowhere
/// either, or on a device, which has no files beside them (see Shard::order_of).
std::string gate_path(const ShardOptions& options) {
  if (options.group || !options.durability ||
      !std::filesystem::is_directory(options.durability->path)) {
    return {};
  }
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
                .unix_ns = options.history.unix_ns,
                .now = [&clock] { return clock.now(); }}),
      clock_(clock),
      executor_(executor),
      gate_(gate_path(options)),
      writer_(*tree_, durability_.get(), &history_, &gate_, options.slice),
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
                                                   const MembershipOpener<D>& member) {
  const rtree::TreeOptions tree_options{.grace = options.grace,
                                        .memory_budget_bytes = options.memory_budget_bytes};
  if (options.group || member) {
    const replication::TreePlace place{tree_options, slabs, clock};
    auto opened =
        member ? member(place) : ReplicaThread<D>::open(*options.durability, *options.group, place);
    if (!opened) return fail(with_remedy(opened.error()));
    return std::unique_ptr<Shard>(new Shard(options, std::move(opened->tree), nullptr,
                                            std::move(opened->membership), clock, executor));
  }
  if (options.durability) {
    auto opened = Durability<D>::open(*options.durability, {tree_options, slabs, clock});
    if (!opened) return fail(with_remedy(opened.error()));
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
Shard<D>::~Shard() = default;

template <int D>
const Standing* Shard<D>::standing() const {
  return replica_ == nullptr ? nullptr : &replica_->standing();
}

template <int D>
std::uint64_t Shard<D>::batches() const {
  return replica_ == nullptr ? writer_.batches() : replica_->batches();
}

template <int D>
Status Shard<D>::recover_gate() {
  if (auto ok = gate_.recover(); !ok) return ok;
  tree_->set_retired(gate_.retired());
  return {};
}

template <int D>
Status Shard<D>::join_group(const std::string& clients, ExposeTree expose) {
  if (replica_ == nullptr) return {};
  replica_->expose_by(std::move(expose));
  replica_->build_on(executor_);
  return replica_->join(*tree_, writer_, history_, clients);
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
Nanoseconds Shard<D>::clock_lead() const {
  return replication::HybridClock::lead_ns(std::max(stamp(), history_.stamp()), history_.unix_ns());
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
  if (!version) return fail(with_remedy(version.error()));
  writer_.remember();
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

template <int D>
Result<replication::GatePayload> Shard<D>::order_of(const protocol::TaskMessage& task) const {
  using replication::GateAction;
  switch (task.kind) {
    case protocol::TaskKind::kFill:
      return replication::GatePayload{GateAction::kFill, task.from, 0};
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
      return replication::GatePayload{GateAction::kFreeze, task.from, task.to};
    case protocol::TaskKind::kRetire:
      return replication::GatePayload{GateAction::kRetire, task.from, 0};
    case protocol::TaskKind::kServe:
      return replication::GatePayload{GateAction::kServe, task.from, 0};
    default:
      return fail(ErrorCode::kUnsupported, "that turns no gate");
  }
}

template <int D>
void Shard<D>::build(LoadJob<D>& job, std::function<void()> done) {
  job.options.threads = options_.build_threads;
  if (replica_ != nullptr) {
    writer_.release();  // what else is written is the replica's to hold back
    return replica_->load(job, [&job, done = std::move(done)] {
      if (!job.version) job.version = fail(with_remedy(job.version.error()));
      done();
    });
  }
  executor_.run([this, &job, done = std::move(done)] {
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
