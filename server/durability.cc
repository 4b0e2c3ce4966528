// SPDX-License-Identifier: Apache-2.0

#include "server/durability.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "common/units.h"
#include "server/limits.h"

namespace silurus::server {
namespace {

using replication::EntryPayload;
using replication::LogPosition;
using replication::RecordType;
using replication::UpdatePayload;

std::uint64_t random_nonce() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

/// Tells the operator of a recovery that takes its time.
class Progress {
 public:
  Progress(std::string path, std::function<void(const std::string&)> told)
      : path_(std::move(path)), told_(std::move(told)) {}
  void operator()(const char* what, std::uint64_t done) {
    const Nanoseconds now = SystemClock().now();
    if (now - last_ < kSecond) return;
    last_ = now;
    const std::string step =
        "recovering " + path_ + ": " + std::to_string(done) + " " + what +
        (what == std::string_view("records") ? " of the log replayed" : " read");
    log::info(step);
    if (told_) told_(step);
  }

 private:
  std::string path_;
  std::function<void(const std::string&)> told_;
  Nanoseconds last_ = SystemClock().now();
};

}  // namespace

template <int D>
Durability<D>::Durability(const DurabilityOptions& options, replication::DirectoryLock lock)
    : options_(options), lock_(std::move(lock)) {}

template <int D>
Result<typename Durability<D>::Opened> Durability<D>::open(const DurabilityOptions& options,
                                                           const replication::TreePlace& place) {
  auto directory = replication::open_directory<D>(
      options.path,
      {.log_bytes = options.log_bytes, .tree_bytes = place.options.memory_budget_bytes});
  if (!directory) return fail(directory.error());
  auto opened = replication::Store<D>::open(
      std::move(directory->volume), place,
      {.accept_damage = options.accept_damage,
       .progress = Progress(options.path, options.progress)},
      replication::HybridClock::from_unix_ns(options.unix_ns()), random_nonce());
  if (!opened) return fail(opened.error());
  opened->report.formatted = directory->created;
  log::info("opened " + options.path + ": " + replication::to_string(opened->report));
  std::vector<std::unique_ptr<rtree::Tree<D>>> trees;
  trees.push_back(std::move(opened->tree));
  for (auto& other : opened->others) trees.push_back(std::move(other));
  Opened result{.durability = nullptr,
                .collections = {std::move(trees), std::move(opened->catalogue)}};
  result.durability.reset(new Durability(options, std::move(directory->lock)));
  Durability& made = *result.durability;
  made.store_ = std::move(opened->store);
  made.recovery_ = opened->report;
  made.clock_.observe(opened->stamp);
  made.stamp_ = opened->stamp;
  made.published_end_ = made.store_->log().end();
  made.log_end_ = made.published_end_.lsn;
  made.checkpoints_ = std::make_unique<Checkpoints<D>>(*made.store_, options.checkpoint_interval);
  return result;
}

// --- of the writer

template <int D>
bool Durability<D>::find_room(std::size_t records) {
  const replication::Log& log = store_->log();
  const std::uint64_t used = log.end().lsn - log.start();
  if (static_cast<double>(used) > kLogShareToCheckpoint * static_cast<double>(log.capacity())) {
    checkpoints_->want();
  }
  // Relaxed: only the writer sets it.
  if (refuses_.load(std::memory_order_relaxed)) {
    if (checkpoints_->obstacle()) return false;
    refuses_.store(false, std::memory_order_relaxed);
    log::info("writes are taken again");
  }
  if (log.has_room(records * replication::kMaxRecordBytes)) return true;
  log_full_waits_.add();
  return false;
}

template <int D>
std::size_t Durability<D>::most_record_bytes() const {
  return store_->log().capacity() / 4;
}

template <int D>
std::optional<Error> Durability<D>::refusal() {
  auto obstacle = checkpoints_->obstacle();
  if (!obstacle) return std::nullopt;
  obstacle->message = full_log(*obstacle);
  if (!refuses_.exchange(true, std::memory_order_relaxed)) {
    log::error("writes are refused: " + obstacle->message);
  }
  return obstacle;
}

template <int D>
void Durability<D>::append(RecordType type, std::span<const std::byte> payload) {
  if (batch_stamp_ == 0) batch_stamp_ = clock_.next(options_.unix_ns());
  const bool fits = store_->log().append({.checksum = 0,
                                          .lsn = 0,
                                          .stamp = batch_stamp_,
                                          .epoch = 1,
                                          .length = 0,
                                          .type = type,
                                          .flags = 0},
                                         payload);
  SILURUS_CHECK(fits);  // find_room() said so
}

template <int D>
void Durability<D>::select(std::uint64_t number) {
  wanted_ = number;
}

/// Says whose the operations are, before the first one of them.
template <int D>
void Durability<D>::note_selected() {
  if (selected_ == wanted_) return;
  selected_ = wanted_;
  const replication::SelectPayload payload{selected_};
  append(RecordType::kSelect, std::as_bytes(std::span(&payload, 1)));
}

template <int D>
void Durability<D>::append_parts(std::span<const std::byte> record) {
  do {
    replication::PartPayload part{};
    part.count = std::min(record.size(), replication::PartPayload::kMostBytes);
    std::copy_n(record.begin(), part.count, part.bytes);
    append(RecordType::kPart,
           std::as_bytes(std::span(&part, 1)).first(replication::part_bytes(part.count)));
    record = record.subspan(part.count);
  } while (!record.empty());
}

template <int D>
void Durability<D>::record(const protocol::Operation<D>& operation,
                           std::optional<std::span<const std::byte>> record) {
  note_selected();
  if (record) append_parts(*record);
  if (operation.kind == protocol::OperationKind::kUpdate) {
    const UpdatePayload<D> payload{operation.id, operation.box, operation.to};
    return append(RecordType::kUpdate, std::as_bytes(std::span(&payload, 1)));
  }
  const EntryPayload<D> payload{operation.id, operation.box};
  append(
      operation.kind == protocol::OperationKind::kInsert ? RecordType::kInsert : RecordType::kErase,
      std::as_bytes(std::span(&payload, 1)));
}

template <int D>
void Durability<D>::record(const replication::CompactPayload& compaction) {
  note_selected();
  append(RecordType::kCompact, std::as_bytes(std::span(&compaction, 1)));
}

template <int D>
void Durability<D>::record(const replication::CollectionOrder& order) {
  append(RecordType::kCollection, std::as_bytes(std::span(&order, 1)));
}

template <int D>
void Durability<D>::fail_for_good(const Error& error) {
  // "Nothing happened" is more than is known.
  const ErrorCode code = error.code == ErrorCode::kNoSpace ? ErrorCode::kIo : error.code;
  failure_ = Error{code, "nothing can be written any more, restart the server: " + error.message};
  log::error(failure_->message);
  const std::lock_guard lock(failure_mutex_);
  failure_text_ = failure_->message;
}

template <int D>
void Durability<D>::note_log_obstacle(const std::string& text) {
  const std::lock_guard lock(failure_mutex_);
  if (log_obstacle_.empty() && !text.empty()) log::error("writes are refused: " + text);
  if (!log_obstacle_.empty() && text.empty()) {
    log::info("writes are taken again, which were refused: " + log_obstacle_);
  }
  log_obstacle_ = text;
}

/// The log is as it was before the batch: so are the trees.
template <int D>
Error Durability<D>::take_back(ServedCollections<D>& collections, const Error& error) {
  collections.first().abandon();
  collections.take_back();
  batch_stamp_ = 0;
  selected_ = 0;
  has_log_obstacle_ = true;
  note_log_obstacle(error.message + "; then writing goes on by itself");
  return error;
}

template <int D>
Result<rtree::Version> Durability<D>::publish(ServedCollections<D>& collections) {
  if (batch_stamp_ == 0) return collections.publish();  // nothing has changed
  replication::Log& log = store_->log();
  log.end_batch();
  if (Status settled = log.settle_batch(); !settled) {
    if (settled.error().code == ErrorCode::kNoSpace)
      return fail(take_back(collections, settled.error()));
    fail_for_good(settled.error());
    return fail(*failure_);
  }
  if (std::exchange(has_log_obstacle_, false)) note_log_obstacle("");
  const bool too_much = log.end().lsn - log.durable() > replication::Log::kMaxUnflushedBytes / 2;
  if (options_.sync || too_much || !waits_for_device()) {
    if (!commit()) return fail(*failure_);
  } else {
    flush_pending_ = true;
  }
  log_end_.store(log.end().lsn, std::memory_order_relaxed);
  const std::lock_guard lock(published_mutex_);
  published_end_ = log.end();
  stamp_.store(std::exchange(batch_stamp_, 0), std::memory_order_relaxed);
  selected_ = 0;
  return collections.publish();
}

template <int D>
Nanoseconds Durability<D>::flush_if_due(Nanoseconds now) {
  if (!flush_pending_ || failure_) return 0;
  if (now < last_flush_ + options_.flush_interval) return last_flush_ + options_.flush_interval;
  last_flush_ = now;
  (void)commit();  // failure_ says why not
  return 0;
}

template <int D>
bool Durability<D>::commit() {
  if (Status durable = store_->log().commit(); !durable) {
    fail_for_good(durable.error());
    return false;
  }
  // A checkpoint waits only for what was published before it was durable.
  if (!std::exchange(flush_pending_, false)) return true;
  const std::lock_guard lock(published_mutex_);  // not between a look of the waiter and its sleep
  flushed_.notify_one();
  return true;
}

template <int D>
Result<rtree::Version> Durability<D>::load(ServedCollections<D>& collections, rtree::Tree<D>& tree,
                                           std::vector<rtree::Entry<D>> entries,
                                           const rtree::BulkLoadOptions& options) {
  if (failure_) return fail(*failure_);
  const bool is_empty = entries.empty();
  if (Status loaded = tree.bulk_load_batch(std::move(entries), options); !loaded) {
    return fail(loaded.error());
  }
  // Without a batch there is no new version for a checkpoint to be of: the next batch would get the
  // number of that checkpoint, and pass for a part of it.
  if (is_empty) return collections.publish();
  replication::Log& log = store_->log();
  tree.seal();
  const auto forest = collections.sealed();
  const replication::Stamp stamp = clock_.next(options_.unix_ns());
  if (!commit()) return fail(*failure_);
  bool has_room = false;
  const Status made = checkpoints_->take_instead([&]() -> Status {
    // Before anything is written, so that what does not fit spoils nothing.
    if (Status room = store_->make_room(tree, forest); !room) return room;
    has_room = true;
    return store_->checkpoint(tree, forest, log.end(), stamp);
  });
  if (!made && (!has_room || made.error().code == ErrorCode::kNoSpace)) {
    tree.abandon();
    return fail(made.error().code,
                "the load is refused, nothing has changed: " + made.error().message);
  }
  if (!made) {  // the batch holds what may or may not be durable: no other may follow it
    fail_for_good(made.error());
    return fail(*failure_);
  }
  const std::lock_guard lock(published_mutex_);
  stamp_.store(stamp, std::memory_order_relaxed);
  return collections.publish();
}

// --- checkpoints

template <int D>
void Durability<D>::start(const ServedCollections<D>& collections) {
  collections_ = &collections;
  started_ = true;
  checkpoints_->start(collections.first(),
                      [this](std::stop_token stop) { return checkpoint_basis(std::move(stop)); });
}

template <int D>
void Durability<D>::stop() {
  if (!std::exchange(started_, false)) return;
  checkpoints_->stop_thread();
  if (failure_ || !commit()) return;
  if (Status made = checkpoints_->take_last(); !made) {
    log::warning("no last checkpoint, the next start replays the log: " + made.error().message);
  }
}

template <int D>
Result<std::optional<CheckpointBasis<D>>> Durability<D>::checkpoint_basis(std::stop_token stop) {
  std::unique_lock lock(published_mutex_);
  std::optional<CheckpointBasis<D>> basis(CheckpointBasis<D>{
      collections_->hold(), published_end_, stamp_.load(std::memory_order_relaxed)});
  // A load makes its checkpoint before it publishes.
  if (basis->held.forest.roots.version <= store_->checkpointer().last().version) {
    return std::optional<CheckpointBasis<D>>();
  }
  // What isn't durable yet is not to be trimmed.
  const auto is_durable = [&] { return store_->log().durable() >= basis->position.lsn; };
  if (!flushed_.wait(lock, stop, is_durable)) {
    return fail(ErrorCode::kUnavailable, "the checkpoint was cancelled");
  }
  return basis;
}

template <int D>
DurabilityStats Durability<D>::stats() const {
  DurabilityStats stats;
  {
    const std::lock_guard lock(failure_mutex_);
    stats.failure = failure_text_;
    stats.read_only = failure_text_.empty() ? log_obstacle_ : failure_text_;
  }
  stats.checkpoints = checkpoints_->stats();
  // Relaxed: figures, which order nothing.
  if (stats.read_only.empty() && refuses_.load(std::memory_order_relaxed)) {
    if (const auto obstacle = checkpoints_->obstacle()) stats.read_only = full_log(*obstacle);
  }
  const replication::Log& log = store_->log();
  stats.path = options_.path;
  stats.sync = options_.sync;
  stats.medium = store_->is_pmem() ? "pmem" : waits_for_device() ? "disk" : "memory";
  stats.log_capacity_bytes = log.capacity();
  stats.log_end = log_end_.load(std::memory_order_relaxed);
  const std::uint64_t start = log.start();
  stats.log_used_bytes = stats.log_end > start ? stats.log_end - start : 0;
  stats.log_durable = log.durable();
  stats.log_full_waits = log_full_waits_.get();
  stats.flushes = log.flushes();
  stats.recovery = recovery_;
  return stats;
}

template class Durability<2>;
template class Durability<3>;

}  // namespace silurus::server
