#include "server/session.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "common/units.h"
#include "server/limits.h"
#include "server/standing.h"
#include "server/worker.h"

namespace silurus::server {

using protocol::AnswerEncoder;
using protocol::AnswerTo;
using protocol::Header;
using protocol::MessageType;

template <int D>
Session<D>::Session(Worker<D>& worker, std::uint64_t id, std::size_t listener,
                    std::unique_ptr<transport::Connection> connection)
    : worker_(worker),
      id_(id),
      listener_(listener),
      connection_(std::move(connection)),
      message_bytes_(
          std::min<std::size_t>(connection_->limits().max_message_bytes, kMaxSegmentBytes)) {
  SILURUS_CHECK(message_bytes_ >= protocol::kMinMessageBytes);
  // The listener has checked it; connections of tests may come without.
  if (const auto hello = protocol::decode_client_hello(connection_->peer_hello(), D); hello) {
    client_ = hello->client;
  }
}

template <int D>
Session<D>::~Session() = default;

// --- requests

template <int D>
void Session<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (closed_) return;
  got_message_ = true;
  ++received_;
  if (!in_active) worker_.make_active(*this);
  const auto header = protocol::decode_header(message);
  if (!header) return disconnect(header.error());
  worker_.counters().requests[static_cast<std::size_t>(header->type)].add();
  if (++in_flight_ > protocol::kMaxRequestsInFlight) {
    return disconnect(
        {ErrorCode::kTooLarge,
         "more than " + std::to_string(protocol::kMaxRequestsInFlight) + " requests unanswered"});
  }
  switch (header->type) {
    case MessageType::kRange:
      return on_range(message, *header);
    case MessageType::kNearest:
      return on_nearest(message, *header);
    case MessageType::kWrite:
      return on_write(message, *header);
    case MessageType::kStats:
    case MessageType::kCluster:
    case MessageType::kLoadBegin:
    case MessageType::kLoadAbort:
      return on_bare(message, *header);
    case MessageType::kLoadEntries:
      return on_load_entries(message, *header);
    case MessageType::kLoadCommit:
      return on_load_commit(message, *header);
    case MessageType::kAt:
      return on_at(message, *header);
    case MessageType::kTask:
      return on_task(message, *header);
    case MessageType::kHold:
      return on_hold(message, *header);
    case MessageType::kAnswer:
      break;
  }
  disconnect({ErrorCode::kProtocol, "an answer where a request was expected"});
}

template <int D>
bool Session<D>::may_search(const Header& header) {
  if (!worker_.shard().admission().retired()) return true;
  refuse(header, retired_error());
  return false;
}

template <int D>
void Session<D>::on_range(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_range<D>(message);
  if (!request) return refuse(header, request.error());
  if (!may_search(header)) return;
  const bool any_member = (header.flags & protocol::kAnyMember) != 0;
  search(header.request_id, any_member, request->query);
}

template <int D>
void Session<D>::on_nearest(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_nearest<D>(message);
  if (!request) return refuse(header, request.error());
  if (!may_search(header)) return;
  if (request->query.k > kMaxK) {
    return refuse(header, {ErrorCode::kTooLarge, "k is " + std::to_string(request->query.k) +
                                                     ": this server gives at most " +
                                                     std::to_string(kMaxK) + " neighbours"});
  }
  const bool any_member = (header.flags & protocol::kAnyMember) != 0;
  search(header.request_id, any_member, request->query);
}

template <int D>
Status Session<D>::may_write() const {
  if (worker_.shard().load_slot().taken()) return fail(load_is_under_way());
  if (const Standing* standing = worker_.team().standing; standing && !standing->is_primary()) {
    return fail(standing->not_primary());
  }
  return {};
}

template <int D>
void Session<D>::on_write(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_write<D>(message, kMaxBatchOperations);
  if (!request) return refuse(header, request.error());
  const Standing* const standing = worker_.team().standing;
  const bool is_late = worker_.shard().load_slot().taken();
  if (is_late && standing == nullptr) return refuse(header, load_is_under_way());
  if (standing != nullptr && !standing->is_primary()) {
    return refuse(header, standing->not_primary());
  }
  auto job = worker_.new_job();
  job->is_late = is_late;
  job->session = id_;
  job->request_id = header.request_id;
  // Who doesn't number its writes has no name either.
  job->request = {request->sequence == 0 ? 0 : client_, request->sequence, request->oldest};
  job->ticket = fill_ticket_;
  job->operations.resize(request->operations.size());
  for (std::size_t i = 0; i < job->operations.size(); ++i) {
    job->operations[i] = request->operations[i];
  }
  if (const Status ok = worker_.submit(std::move(job)); !ok) refuse(header, ok.error());
}

template <int D>
void Session<D>::on_bare(std::span<const std::byte> message, const Header& header) {
  if (const auto ok = protocol::decode_bare(message); !ok) return refuse(header, ok.error());
  if (header.type == MessageType::kStats) return send_stats(header.request_id);
  if (header.type == MessageType::kCluster) {
    return send_text(header.request_id, worker_.team().cluster());
  }
  if (header.type == MessageType::kLoadBegin) {
    if (const Status ok = begin_load(); !ok) return refuse(header, ok.error());
  } else if (load_ == nullptr) {
    return refuse(header, {ErrorCode::kConflict, "this connection has no bulk load to abort"});
  } else {
    load_.reset();
  }
  send_count(header.request_id, 0, worker_.version());
}

template <int D>
bool Session<D>::may_answer(const Header& header) {
  if (worker_.may_answer((header.flags & protocol::kAnyMember) != 0)) return true;
  refuse(header, worker_.team().standing->not_primary());
  return false;
}

template <int D>
void Session<D>::refuse_read(std::uint32_t request_id) {
  if (!closed_) send_error(request_id, worker_.team().standing->not_primary());
}

template <int D>
Status Session<D>::begin_load() {
  if (const Standing* standing = worker_.team().standing; standing && !standing->is_primary()) {
    return fail(standing->not_primary());
  }
  if (load_ != nullptr) {
    return fail(ErrorCode::kConflict, "this connection has begun a bulk load already");
  }
  if (worker_.shard().admission().retired()) return fail(retired_error());
  auto load = Load<D>::begin(worker_.shard().load_slot());
  if (!load) return fail(load.error());
  // Asked only now: whoever has the slot keeps all others from writing.
  if (const std::uint64_t entries = worker_.shard().tree().snapshot().size(); entries != 0) {
    return fail(ErrorCode::kConflict, "the tree holds " + std::to_string(entries) +
                                          " entries: a bulk load needs an empty one");
  }
  load_ = std::move(*load);
  last_load_message_ = worker_.now();
  return {};
}

template <int D>
void Session<D>::on_load_entries(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_load_entries<D>(message);
  if (!request) return refuse(header, request.error());
  if (load_ == nullptr) {
    return refuse(header, {ErrorCode::kConflict, "no bulk load is under way on this connection"});
  }
  last_load_message_ = worker_.now();
  if (const Status ok = load_->stage(request->entries); !ok) return refuse(header, ok.error());
  send_count(header.request_id, 0, worker_.version());
}

template <int D>
void Session<D>::on_load_commit(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_load_commit(message);
  if (!request) return refuse(header, request.error());
  if (load_ == nullptr) {
    return refuse(header, {ErrorCode::kConflict, "no bulk load is under way on this connection"});
  }
  const auto load_count = load_->count();
  auto job = std::make_unique<LoadJob<D>>();
  job->load = std::move(load_);
  if (request->entries != load_count) {
    return refuse(
        header, {ErrorCode::kInvalidArgument,
                 "the load says that it has " + std::to_string(request->entries) + " entries but " +
                     std::to_string(load_count) + " were taken: it is given up"});
  }
  job->session = id_;
  job->request_id = header.request_id;
  job->ticket = fill_ticket_;
  job->options.fill = request->fill;
  worker_.build(std::move(job));
}

/// A search of an old version: as a stream, whatever its size.
template <int D>
void Session<D>::on_at(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_at(message);
  if (!request) return refuse(header, request.error());
  if (!may_search(header)) return;
  // Refused now if the version is not there. It is pinned when the search's turn comes: what waits
  // holds nothing.
  const auto is_there = [&] {
    if (const auto snapshot = worker_.shard().history().at(request->moment); !snapshot) {
      refuse(header, snapshot.error());
      return false;
    }
    return may_answer(header);
  };
  const bool any_member = (header.flags & protocol::kAnyMember) != 0;
  if (request->type == MessageType::kRange) {
    const auto search = protocol::decode_range<D>(request->search);
    if (!search) return refuse(header, search.error());
    if (is_there()) stream({header.request_id, search->query, any_member, request->moment});
    return;
  }
  const auto search = protocol::decode_nearest<D>(request->search);
  if (!search) return refuse(header, search.error());
  if (search->query.k > kMaxK) {
    return refuse(header, {ErrorCode::kTooLarge, "k is " + std::to_string(search->query.k) +
                                                     ": this server gives at most " +
                                                     std::to_string(kMaxK) + " neighbours"});
  }
  if (is_there()) stream({header.request_id, search->query, any_member, request->moment});
}

template <int D>
void Session<D>::on_hold(std::span<const std::byte> message, const Header& header) {
  const auto request = protocol::decode_hold(message);
  if (!request) return refuse(header, request.error());
  if (!may_search(header)) return;
  const History<D>& history = worker_.shard().history();
  // Now, and not at the last sweep: the client's lease begins when it asked, before this.
  const Nanoseconds now = worker_.team().clock->now();
  const Nanoseconds until = now + history.hold_lease();
  // A hold is renewed though the history has forgotten the version meanwhile.
  auto held = std::ranges::find_if(held_, [&](const Held& one) {
    return one.snapshot.version() == request->moment && one.until >= now;
  });
  if (held != held_.end()) {
    if (!may_answer(header)) return;
    held->until = until;
  } else {
    auto snapshot = history.at(request->moment);
    if (!snapshot) return refuse(header, snapshot.error());
    if (!may_answer(header)) return;
    if (!hold_version(std::move(*snapshot), now, until)) {
      return refuse(header, {ErrorCode::kUnavailable,
                             std::to_string(protocol::kMaxHeldVersions) +
                                 " versions are held for this client already: ask by message"});
    }
    held = held_.end() - 1;
  }
  auto owed = std::make_unique<Owed>();
  owed->held = {.root = held->snapshot.root().ref.word(),
                .lease_ns = static_cast<std::uint64_t>(history.hold_lease())};
  owed->encoder = AnswerEncoder::held({header.request_id, held->snapshot.version()}, owed->held);
  owe(std::move(owed));
}

template <int D>
bool Session<D>::hold_version(rtree::Snapshot<D> snapshot, Nanoseconds now, Nanoseconds until) {
  std::erase_if(held_, [&](const Held& held) {
    return held.until < now || held.snapshot.version() == snapshot.version();
  });
  if (held_.size() >= protocol::kMaxHeldVersions) return false;
  held_.push_back({std::move(snapshot), until});
  return true;
}

template <int D>
void Session<D>::on_task(std::span<const std::byte> message, const Header& header) {
  const auto task = protocol::decode_task(message);
  if (!task) return refuse(header, task.error());
  if (task->kind == protocol::TaskKind::kHistory) {
    const std::string text = history_json(worker_.shard().history());
    if (may_answer(header)) send_text(header.request_id, text);
    return;
  }
  if (task->kind == protocol::TaskKind::kCompact) return on_compact(*task);
  if (task->kind >= protocol::TaskKind::kFill) return on_order(*task);
  if (!may_answer(header)) return;
  auto job = std::make_unique<TaskJob>();
  job->session = id_;
  job->request_id = header.request_id;
  if (const Status ok = prepare_task(*job, *task); !ok) return refuse(header, ok.error());
  job->task = *task;
  if (const Status ok = worker_.run_task(std::move(job)); !ok) refuse(header, ok.error());
}

/// Whether this server does for strangers what touches its machine, or who it is.
template <int D>
Status Session<D>::check_permission(const protocol::TaskMessage& task) {
  using protocol::TaskKind;
  if (task.kind == TaskKind::kDiff) return {};
  if (task.kind == TaskKind::kBackup) {
    if (worker_.team().allow_backup) return {};
    return fail(ErrorCode::kPermission,
                "a server that lets other users connect writes no files for them");
  }
  if (worker_.team().allow_orders) return {};
  return fail(ErrorCode::kPermission,
              "a server that lets other users connect is not replaced by their order, unless it "
              "was started with --allow-orders");
}

/// An admission order is obeyed by the writer, in its turn.
template <int D>
void Session<D>::on_order(const protocol::TaskMessage& task) {
  if (const Status ok = check_permission(task); !ok) return refuse(task.header, ok.error());
  const auto order = worker_.shard().order_of(task);
  if (!order) return refuse(task.header, order.error());
  if (const Standing* standing = worker_.team().standing; standing && !standing->is_primary()) {
    return refuse(task.header, standing->not_primary());
  }
  auto job = worker_.new_job();
  job->session = id_;
  job->request_id = task.header.request_id;
  job->request = {};
  job->operations.clear();
  job->order = *order;
  if (const Status ok = worker_.submit(std::move(job)); !ok) refuse(task.header, ok.error());
}

/// A step of a compaction is a write that changes no entry.
template <int D>
void Session<D>::on_compact(const protocol::TaskMessage& task) {
  if (task.to > 10'000) {
    return refuse(task.header, {ErrorCode::kInvalidArgument,
                                "nodes cannot be filled to more than all of their room"});
  }
  if (const Status ok = may_write(); !ok) return refuse(task.header, ok.error());
  auto job = worker_.new_job();
  job->session = id_;
  job->request_id = task.header.request_id;
  job->request = {};
  job->ticket = fill_ticket_;
  job->operations.clear();
  job->compaction.emplace(
      replication::CompactPayload{.cursor = task.from, .fill_permyriad = task.to});
  if (const Status ok = worker_.submit(std::move(job)); !ok) refuse(task.header, ok.error());
}

template <int D>
Status Session<D>::prepare_task(TaskJob& job, const protocol::TaskMessage& task) {
  using protocol::TaskKind;
  if (auto ok = check_permission(task); !ok) return ok;
  if (task.kind == TaskKind::kExport) {
    exporting_ = std::make_shared<Export<D>>(worker_.shard().tree());
  }
  if (task.kind == TaskKind::kExportChanges || task.kind == TaskKind::kExportPage) {
    if (exporting_ == nullptr) {
      return fail(ErrorCode::kConflict, "this connection has begun no export");
    }
  }
  job.exporting = exporting_;
  last_export_ = worker_.now();
  return {};
}

// --- answers

template <int D>
std::span<std::byte> Session<D>::reserve(std::size_t bytes) {
  const auto room = connection_->reserve(bytes);
  if (room.empty()) {
    blocked_ = true;
    return {};
  }
  last_progress_ = worker_.now();
  worker_.touch(*this);
  return room.first(bytes);
}

template <int D>
bool Session<D>::send(AnswerEncoder& encoder) {
  while (!encoder.done()) {
    const auto room = reserve(encoder.next_bytes(message_bytes_));
    if (room.empty()) return false;
    encoder.encode_next(room);
    connection_->commit(room.size());
  }
  sent_last();
  return true;
}

template <int D>
void Session<D>::sent_last() {
  SILURUS_CHECK(in_flight_ > 0);
  --in_flight_;
}

template <int D>
void Session<D>::owe(std::unique_ptr<Owed> owed) {
  // What is owed already goes first: an answer may be half sent.
  if (owed_.empty() && !blocked_ && send(owed->encoder)) return;
  hold(std::move(owed));
}

template <int D>
void Session<D>::hold(std::unique_ptr<Owed> owed) {
  owed_.push_back(std::move(owed));
  update_pause();
}

template <int D>
void Session<D>::answer_range(std::uint32_t request_id, bool any_member,
                              const rtree::RangeQuery<D>& query, rtree::RangeResult<D>& result,
                              rtree::Version version) {
  if (closed_) return;
  if (blocked_ || !owed_.empty()) return later(request_id, any_member, query);
  AnswerEncoder encoder = AnswerEncoder::range<D>({request_id, version}, query.shape, result);
  if (send(encoder)) return;
  // Nothing sent: run it again later, which costs a search instead of memory. Else keep the rest.
  if (!encoder.started()) return later(request_id, any_member, query);
  auto owed = std::make_unique<Owed>();
  owed->range = std::move(result);  // the encoder's pointers go with it
  result = {};
  owed->encoder = encoder;
  hold(std::move(owed));
}

template <int D>
void Session<D>::answer_nearest(std::uint32_t request_id, bool any_member,
                                const rtree::NearestQuery<D>& query, rtree::NearestResult& result,
                                rtree::Version version) {
  if (closed_) return;
  if (blocked_ || !owed_.empty()) return later(request_id, any_member, query);
  AnswerEncoder encoder = AnswerEncoder::nearest({request_id, version}, result);
  if (send(encoder)) return;
  if (!encoder.started()) return later(request_id, any_member, query);
  auto owed = std::make_unique<Owed>();
  owed->nearest = std::move(result);
  result = {};
  owed->encoder = encoder;
  hold(std::move(owed));
}

template <int D>
void Session<D>::answer_write(WriteJob<D>& job) {
  if (closed_) return;
  // Not known is what came of it: only the end of the connection says that.
  if (job.error && job.error->code == ErrorCode::kConnectionLost) return disconnect(*job.error);
  if (job.error) return send_error(job.request_id, *job.error);
  if (job.order) return answer_order(job);
  if (job.compaction) return answer_compaction(job);
  AnswerEncoder encoder = AnswerEncoder::write({job.request_id, job.version}, job.failed);
  if (owed_.empty() && !blocked_ && send(encoder)) return;
  auto owed = std::make_unique<Owed>();
  owed->failed = std::move(job.failed);
  job.failed.clear();
  owed->encoder = encoder;
  hold(std::move(owed));
}

template <int D>
void Session<D>::answer_order(const WriteJob<D>& job) {
  if (job.order->action == replication::AdmissionAction::kFill) fill_ticket_ = job.order->ticket;
  const rtree::Snapshot<D> now = worker_.shard().tree().snapshot();
  send_text(job.request_id, order_json(worker_.shard().admission(), now.version(), now.size()));
}

template <int D>
void Session<D>::answer_compaction(const WriteJob<D>& job) {
  send_text(job.request_id,
            compaction_json<D>(job.compaction->step, job.version, worker_.shard().tree().stats()));
}

template <int D>
void Session<D>::answer_load(LoadJob<D>& job) {
  if (closed_) return;
  if (!job.version) return send_error(job.request_id, job.version.error());
  send_count(job.request_id, job.entries, *job.version);
}

template <int D>
void Session<D>::send_count(std::uint32_t request_id, std::uint64_t count, rtree::Version version) {
  auto owed = std::make_unique<Owed>();
  owed->encoder = AnswerEncoder::count({request_id, version}, count);
  owe(std::move(owed));
}

template <int D>
void Session<D>::answer_task(const TaskJob& job) {
  if (closed_) return;
  if (job.exporting != nullptr) last_export_ = worker_.now();
  if (!job.text) return send_error(job.request_id, job.text.error());
  send_text(job.request_id, *job.text);
}

template <int D>
void Session<D>::send_text(std::uint32_t request_id, std::string text) {
  auto owed = std::make_unique<Owed>();
  owed->text = std::move(text);
  owed->encoder = AnswerEncoder::text({request_id, worker_.version()}, owed->text);
  owe(std::move(owed));
}

template <int D>
void Session<D>::send_stats(std::uint32_t request_id) {
  send_text(request_id, worker_.team().stats ? worker_.team().stats() : "{}");
}

template <int D>
void Session<D>::send_error(std::uint32_t request_id, const Error& error) {
  worker_.counters().errors.add();
  auto owed = std::make_unique<Owed>();
  owed->error = error;
  owed->encoder = AnswerEncoder::error({request_id, worker_.version()}, owed->error);
  owe(std::move(owed));
}

template <int D>
void Session<D>::refuse(const Header& header, const Error& error) {
  if (error.code == ErrorCode::kProtocol) return disconnect(error);
  send_error(header.request_id, error);
}

template <int D>
void Session<D>::disconnect(const Error& reason) {
  worker_.warn_of(*connection_, "disconnecting " + connection_->peer() + ": " + reason.message);
  worker_.counters().disconnects.add();
  closed_ = true;
  load_.reset();
  stream_.reset();
  held_.clear();
  exporting_.reset();
  connection_->close();
}

// --- what goes on

template <int D>
void Session<D>::on_writable(transport::Connection&) {
  blocked_ = false;
  if (runnable()) worker_.make_runnable(*this);
}

template <int D>
void Session<D>::on_closed(transport::Connection&, const Error& reason) {
  if (!closed_) log::debug(connection_->peer() + " has gone: " + reason.message);
  closed_ = true;
  load_.reset();
  stream_.reset();
  held_.clear();
  exporting_.reset();
  worker_.bury(*this);
}

template <int D>
void Session<D>::work(bool may_stream) {
  while (!owed_.empty()) {
    if (!send(owed_.front()->encoder)) return;
    owed_.pop_front();
  }
  while (!waiting_.empty() && take_share()) {
    const Search<D> search = waiting_.front();
    waiting_.pop_front();
    std::visit(
        [&](const auto& query) {
          worker_.enqueue(*this, search.request_id, search.any_member, query);
        },
        search.query);
  }
  update_pause();
  if (!streaming()) return;
  if (may_stream) return work_on_stream();
  // It is not the client who takes nothing.
  if (stream_ != nullptr && !stream_->has_message()) last_progress_ = worker_.now();
}

template <int D>
bool Session<D>::take_share() {
  if (share_of_ != worker_.sweep_number()) {
    share_of_ = worker_.sweep_number();
    share_taken_ = 0;
  }
  return share_taken_++ < worker_.share();
}

template <int D>
void Session<D>::update_pause() {
  const std::size_t held = owed_.size() + waiting_.size();
  if (closed_ || (paused_ ? held != 0 : held < kMaxHeldAnswers)) return;
  paused_ = !paused_;
  connection_->set_paused(paused_);
}

template <int D>
void Session<D>::go_on(Search<D> search, Begun<D> begun, typename Stream<D>::Pinned snapshot) {
  if (closed_) return;
  if (!may_begin_stream()) return stream(std::move(search));
  begin_stream(
      std::make_unique<Stream<D>>(search, std::move(snapshot), message_bytes_, std::move(begun)));
  worker_.make_runnable(*this);
}

template <int D>
void Session<D>::begin_stream(std::unique_ptr<Stream<D>> stream) {
  stream_ = std::move(stream);
  stream_started_ = worker_.now();
  last_progress_ = stream_started_;
  worker_.counters().streams.add();
  if (!in_active) worker_.make_active(*this);
}

template <int D>
void Session<D>::work_on_stream() {
  if (stream_ == nullptr) {
    const Search<D> search = std::move(big_.front());
    big_.pop_front();
    auto snapshot = search.at ? worker_.shard().history().at(*search.at)
                              : Result<rtree::Snapshot<D>>(worker_.shard().tree().snapshot());
    if (!snapshot) return send_error(search.request_id, snapshot.error());
    if (!search.at && !worker_.may_answer(search.any_member)) return refuse_read(search.request_id);
    begin_stream(std::make_unique<Stream<D>>(
        search, std::make_shared<const rtree::Snapshot<D>>(std::move(*snapshot)), message_bytes_));
  }
  if (!stream_->has_message()) {
    stream_->advance();
    last_progress_ = worker_.now();
  }
  while (stream_->has_message()) {
    const auto room = reserve(stream_->next_bytes(message_bytes_));
    if (room.empty()) return;
    stream_->encode_next(room);
    connection_->commit(room.size());
  }
  if (!stream_->finished()) return;
  stream_.reset();
  sent_last();
}

template <int D>
void Session<D>::end_stream(Error reason) {
  const std::uint32_t request_id = stream_->request_id();
  stream_.reset();
  send_error(request_id, reason);
}

template <int D>
bool Session<D>::tick(Nanoseconds now) {
  if (closed_) return false;
  if (std::exchange(got_message_, false)) last_message_ = now;
  if (stream_ != nullptr && now - last_progress_ > kMaxStreamStall) {
    end_stream({ErrorCode::kDeadlineExceeded, "no more of the answer was taken for " +
                                                  format_duration(kMaxStreamStall) +
                                                  ": ask again, with a limit perhaps"});
  } else if (stream_ != nullptr && now - stream_started_ > kMaxStreamTime) {
    end_stream({ErrorCode::kDeadlineExceeded, "the answer was not taken within " +
                                                  format_duration(kMaxStreamTime) +
                                                  ": ask for less at once"});
  } else if (stream_ != nullptr && now - stream_started_ > kStreamTimeWhenShort &&
             worker_.is_short_of_memory_of(stream_->version())) {
    end_stream({ErrorCode::kUnavailable,
                "the server needs the memory of the version that this answer is of, after " +
                    format_duration(kStreamTimeWhenShort) + ": ask again, for less at once"});
  }
  if (load_ != nullptr && now - last_load_message_ > kMaxLoadIdle) {
    worker_.warn_of(*connection_, "bulk load of " + connection_->peer() +
                                      " is given up: nothing came for " +
                                      format_duration(kMaxLoadIdle));
    worker_.counters().idle_loads.add();
    load_.reset();
  }
  if (exporting_ != nullptr && now - last_export_ > kMaxExportIdle) exporting_.reset();
  std::erase_if(held_, [&](const Held& held) { return held.until < now; });
  // Who waits for an answer hears that it is being worked on.
  return stream_ != nullptr || load_ != nullptr || exporting_ != nullptr || !held_.empty() ||
         in_flight_ > 0 || now - last_message_ < kActiveFor;
}

template <int D>
void Session<D>::end_if_idle(Nanoseconds now, Nanoseconds timeout) {
  if (closed_) return;
  if (busy_at_look_ == 0 || received_ != received_at_look_ || in_active) {
    received_at_look_ = received_;
    busy_at_look_ = now;
  }
  if (now - busy_at_look_ < timeout) return;
  worker_.counters().idle_clients.add();
  log::debug("disconnecting " + connection_->peer() + ": nothing came for " +
             format_duration(timeout) + " (--idle-timeout)");
  closed_ = true;
  connection_->close();
}

template <int D>
void Session<D>::write_heartbeat(protocol::Heartbeat heartbeat) {
  heartbeat.received = received_;
  if (!closed_) connection_->write_mailbox(std::as_bytes(std::span(&heartbeat, 1)));
}

template class Session<2>;
template class Session<3>;

}  // namespace silurus::server
