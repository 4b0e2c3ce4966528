// SPDX-License-Identifier: Apache-2.0

#include "server/shard.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "common/units.h"
#include "server/combiner.h"
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

/// Where a server of its own remembers that it is retired; nowhere, if its entries are nowhere
/// either, or on a device, which has no files beside them (see order_of()).
std::string retired_path(const ShardOptions& options) {
  if (options.group || !options.durability ||
      !std::filesystem::is_directory(options.durability->path)) {
    return {};
  }
  return options.durability->path + "/retired";
}

}  // namespace

template <int D>
Shard<D>::Shard(const ShardOptions& options, replication::Collections<D> collections,
                const Clock& clock, Executor& executor)
    : options_(options),
      collections_(std::make_unique<ServedCollections<D>>(
          std::move(collections),
          HistoryOptions{.age = options.history.age,
                         .versions = options.history.versions,
                         .retained_bytes = std::min(options.history.retained_bytes,
                                                    options.memory_budget_bytes / kHistoryShare),
                         .hold_lease = options.history.hold_lease,
                         .unix_ns = options.history.unix_ns,
                         .now = [&clock] { return clock.now(); }})),
      clock_(clock),
      executor_(executor),
      admission_(retired_path(options)),
      load_slot_(staging_bytes(options.memory_budget_bytes)) {}

template <int D>
Result<std::unique_ptr<Shard<D>>> Shard<D>::create(const ShardOptions& options,
                                                   rtree::SlabSource& slabs, const Clock& clock,
                                                   Executor& executor,
                                                   const MembershipOpener<D>& member) {
  const replication::TreePlace place{
      {.grace = options.grace, .memory_budget_bytes = options.memory_budget_bytes}, slabs, clock};
  const auto make = [&](replication::Collections<D> collections) {
    return std::unique_ptr<Shard>(new Shard(options, std::move(collections), clock, executor));
  };
  if (options.group || member) {
    auto opened =
        member ? member(place) : ReplicaThread<D>::open(*options.durability, *options.group, place);
    if (!opened) return fail(with_remedy(opened.error()));
    auto shard = make(replication::Collections<D>(std::move(opened->tree)));
    shard->write_by_group(std::move(opened->membership));
    return shard;
  }
  if (options.durability) {
    auto opened = Durability<D>::open(*options.durability, place);
    if (!opened) return fail(with_remedy(opened.error()));
    auto shard = make(std::move(opened->collections));
    if (auto ok = shard->write_durably(std::move(opened->durability)); !ok) return fail(ok.error());
    return shard;
  }
  auto tree = rtree::Tree<D>::create(place.options, slabs, clock);
  if (!tree) return fail(tree.error());
  auto shard = make(replication::Collections<D>(std::move(*tree)));
  shard->write_in_memory();
  return shard;
}

template <int D>
std::unique_ptr<Combiner<D>> Shard<D>::make_combiner(Durability<D>* durability) {
  auto combiner = std::make_unique<Combiner<D>>(typename Combiner<D>::Parts{
      *collections_, admission_, durability, clock_, executor_, options_.slice});
  combiner_ = combiner.get();
  return combiner;
}

template <int D>
void Shard<D>::write_in_memory() {
  driver_ = make_combiner(nullptr);
}

template <int D>
Status Shard<D>::write_durably(std::unique_ptr<Durability<D>> durability) {
  durability_ = std::move(durability);
  if (auto ok = admission_.recover(); !ok) return ok;
  collections_->set_retired(admission_.retired());
  auto combiner = make_combiner(durability_.get());
  durability_->start(*collections_);
  if (durability_->waits_for_device()) {
    driver_ = std::make_unique<WriterThread<D>>(std::move(combiner));
  } else {
    driver_ = std::move(combiner);
  }
  return {};
}

template <int D>
void Shard<D>::write_by_group(std::unique_ptr<Membership<D>> member) {
  member_ = member.get();
  driver_ = std::move(member);
  const auto only = collections_->default_one();
  if (only->history().enabled()) only->served->history.add(only->tree(), member_->stamp());
}

template <int D>
Shard<D>::~Shard() = default;

template <int D>
const MemberStatus* Shard<D>::member_status() const {
  return member_ == nullptr ? nullptr : &member_->member_status();
}

template <int D>
Served<D> Shard<D>::served() {
  return {.collections = collections_.get(),
          .admission = &admission_,
          .load_slot = &load_slot_,
          .segmented_bytes = &segmented_bytes_,
          .clock = &clock_,
          .member_status = member_status(),
          .most_record_bytes = durability_ != nullptr ? durability_->most_record_bytes()
                                                      : protocol::kMaxRequestBytes,
          .remembers_retirement = durability_ == nullptr || !retired_path(options_).empty()};
}

template <int D>
Status Shard<D>::join_group(const std::string& clients, ExposeTree expose) {
  if (member_ == nullptr) return {};
  member_->expose_by(std::move(expose));
  member_->build_on(executor_);
  const auto only = collections_->default_one();
  return member_->join({only->tree(), admission_, only->served->history, options_.slice}, clients);
}

template <int D>
Nanoseconds Shard<D>::clock_lead() const {
  const auto history = collections_->default_one();
  return replication::HybridClock::lead_ns(std::max(driver_->stamp(), history->history().stamp()),
                                           history->history().unix_ns());
}

template <int D>
Status Shard<D>::run_task(std::unique_ptr<TaskJob> job) {
  // Relaxed: only a count.
  if (tasks_.fetch_add(1, std::memory_order_relaxed) >= kMaxTasks) {
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    return fail(ErrorCode::kUnavailable,
                std::to_string(kMaxTasks) + " backups and diffs are waiting already: try later");
  }
  executor_.run([this, job = std::move(job)]() mutable {
    job->text = run(*job);
    job->exporting.reset();  // holds nothing on its way back
    job->collection.reset();
    tasks_.fetch_sub(1, std::memory_order_relaxed);
    give_back(std::move(job));
  });
  return {};
}

template <int D>
Result<std::string> Shard<D>::run(const TaskJob& job) {
  using protocol::TaskKind;
  const protocol::TaskMessage& task = job.task;
  if (task.kind == TaskKind::kDiff) {
    const auto collection = std::static_pointer_cast<Collection<D>>(job.collection);
    return diff_json(collection->history(), task.from, task.to);
  }
  if (task.kind != TaskKind::kBackup) return job.exporting->run(task);
  const auto durable = driver_->durability_stats();
  const rtree::Tree<D>& first = collections_->first();
  // A group's thread publishes by itself, one tree.
  const auto held =
      member_ != nullptr ? replication::Collections<D>::hold_only(first) : collections_->hold();
  // The stamp is asked after that: what is written to the copy later is stamped later.
  return backup_json<D>(first, held, driver_->stamp(),
                        durable ? durable->log_capacity_bytes : replication::kDefaultLogBytes,
                        task.text, cancel_tasks_.get_token());
}

template <int D>
std::unique_ptr<LoadJob<D>> Shard<D>::begin_load(std::unique_ptr<LoadJob<D>> job) {
  job->options.threads = options_.build_threads;
  return driver_->load(std::move(job));
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
  return combiner_->load_now(nullptr, std::move(entries), {.threads = options_.build_threads});
}

template class Shard<2>;
template class Shard<3>;

}  // namespace silurus::server
