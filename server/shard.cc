#include "server/shard.h"

#include <algorithm>
#include <utility>

#include "common/units.h"
#include "server/limits.h"

namespace silurus::server {
namespace {

std::uint64_t staging_bytes(std::uint64_t memory_budget_bytes) {
  return static_cast<std::uint64_t>(static_cast<double>(memory_budget_bytes) * kLoadStagingShare);
}

}  // namespace

template <int D>
Shard<D>::Shard(const ShardOptions& options, std::unique_ptr<rtree::Tree<D>> tree,
                std::unique_ptr<Durability<D>> durability,
                std::unique_ptr<ReplicaThread<D>> replica, Executor& executor)
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
      executor_(executor),
      writer_(*tree_, durability_.get(), &history_),
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
                                                   Executor& executor) {
  const rtree::TreeOptions tree_options{.grace = options.grace,
                                        .memory_budget_bytes = options.memory_budget_bytes};
  if (options.group) {
    auto opened =
        ReplicaThread<D>::open(*options.durability, *options.group, {tree_options, slabs, clock});
    if (!opened) return fail(opened.error());
    return std::unique_ptr<Shard>(
        new Shard(options, std::move(opened->tree), nullptr, std::move(opened->replica), executor));
  }
  if (options.durability) {
    auto opened = Durability<D>::open(*options.durability, {tree_options, slabs, clock});
    if (!opened) return fail(opened.error());
    return std::unique_ptr<Shard>(new Shard(options, std::move(opened->tree),
                                            std::move(opened->durability), nullptr, executor));
  }
  auto tree = rtree::Tree<D>::create(tree_options, slabs, clock);
  if (!tree) return fail(tree.error());
  return std::unique_ptr<Shard>(new Shard(options, std::move(*tree), nullptr, nullptr, executor));
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
  executor_.run([this, &job, task, done = std::move(done)] {
    if (task.kind == protocol::TaskKind::kDiff) {
      job.text = diff_json(history_, task.from, task.to);
    } else {
      const auto durable = durability_stats();
      job.text = backup_json(
          *tree_, [this] { return stamp(); },
          durable ? durable->log_capacity_bytes : replication::kDefaultLogBytes, task.text,
          cancel_tasks_);
    }
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    done();
  });
  return {};
}

template <int D>
void Shard<D>::build(LoadJob<D>& job, std::function<void()> done) {
  executor_.run([this, &job, done = std::move(done)] {
    job.options.threads = options_.build_threads;
    job.version = load_tree(job.load->take_entries(), job.options);
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
