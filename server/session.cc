// SPDX-License-Identifier: Apache-2.0

#include "server/session.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "common/units.h"
#include "geometry/record.h"
#include "server/limits.h"
#include "server/permissions.h"

namespace silurus::server {

using protocol::AnswerEncoder;
using protocol::AnswerTo;
using protocol::MessageType;
using protocol::Request;

template <int D>
Session<D>::Session(SessionHost<D>& host, std::uint64_t id, std::size_t listener,
                    std::unique_ptr<transport::Connection> connection)
    : host_(host),
      served_(host.served()),
      sweep_(host.current_sweep()),
      counters_(host.counters()),
      id_(id),
      listener_(listener),
      connection_(std::move(connection)),
      authorization_(served_.rules,
                     {connection_->user(), connection_->owner(), connection_->key()}),
      message_bytes_(
          std::min<std::size_t>(connection_->limits().max_message_bytes, kMaxSegmentBytes)),
      long_request_(*served_.segmented_bytes) {
  SILURUS_CHECK(message_bytes_ >= protocol::kMinMessageBytes);
  std::uint64_t key = protocol::kDefaultCollection;
  // The listener has checked it; connections of tests may come without.
  if (const auto hello = protocol::decode_client_hello(connection_->peer_hello(), D); hello) {
    client_ = hello->client;
    key = hello->collection;
  }
  collection_ = served_.collections->find(key);
  // It may have gone since the listener looked.
  is_gone_ = collection_ == nullptr;
  if (is_gone_) collection_ = served_.collections->default_one();
}

template <int D>
Session<D>::~Session() = default;

namespace {

Error too_many_neighbours(std::uint32_t k) {
  return {ErrorCode::kTooLarge, "k is " + std::to_string(k) + ": this server gives at most " +
                                    std::to_string(kMaxK) + " neighbours"};
}

/// The search in a request of an old version.
template <int D>
Result<decltype(Search<D>::query)> decode_query(const Request& request, bool lonlat) {
  if (request.header.type == MessageType::kRange) {
    const auto range = protocol::decode_range<D>(request, lonlat);
    if (!range) return fail(range.error());
    return range->query;
  }
  const auto nearest = protocol::decode_nearest<D>(request, lonlat);
  if (!nearest) return fail(nearest.error());
  if (nearest->query.k > kMaxK) return fail(too_many_neighbours(nearest->query.k));
  return nearest->query;
}

/// Whether records are what they should be, as far as that is seen in a time proportional to their
/// length: that rings of polygons do not cross is for clients to see to, who lose by it.
template <int D>
Status check_records(const WriteJob<D>& job, std::span<const std::byte> records, bool lonlat) {
  for (const protocol::Operation<D>& operation : job.operations) {
    if (operation.record_bytes == 0) continue;
    const auto wrong = [&](const Error& error) {
      return fail(error.code == ErrorCode::kProtocol ? ErrorCode::kInvalidArgument : error.code,
                  "the record of id " + std::to_string(operation.id) + ": " + error.message);
    };
    const auto bytes = records.first(operation.record_bytes);
    records = records.subspan(operation.record_bytes);
    if (operation.kind != protocol::OperationKind::kInsert &&
        operation.kind != protocol::OperationKind::kPut) {
      return wrong({ErrorCode::kInvalidArgument, "it comes with neither an insert nor a put"});
    }
    const auto record = geometry::decode(bytes, geometry::Checks::kForm);
    if (!record) return wrong(record.error());
    if (record->properties) {
      if (const Status ok = geometry::check_properties(*record->properties); !ok) {
        return wrong(ok.error());
      }
    }
    // A geometry across the antimeridian is on both sides of it, and its box in the tree unrolled.
    const bool crosses = lonlat && operation.box.max[0] > 180;
    if (record->geometry && !crosses && !geometry::is_held_by(*record->geometry, operation.box)) {
      return wrong({ErrorCode::kInvalidArgument, "its box does not hold its geometry"});
    }
  }
  return {};
}

}  // namespace

// --- requests

template <int D>
void Session<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (closed_) return;
  got_message_ = true;
  ++received_;
  ask(in_active, SessionHost<D>::Need::kHeartbeats);
  const auto header = protocol::decode_header(message);
  if (!header) return disconnect(header.error());
  counters_.requests[static_cast<std::size_t>(header->type)].add();
  const Request request(*header, message);
  if (header->type == MessageType::kSegment) [[unlikely]]
    return on_segment(request);
  if (!long_request_.is_empty()) [[unlikely]]
    long_request_.clear();  // it was given up
  on_request(request);
}

/// A part of a request that is longer than a message: with the last one, that request.
template <int D>
void Session<D>::on_segment(const Request& message) {
  const auto segment = protocol::decode_segment(message);
  if (!segment) return disconnect(segment.error());
  // Nothing is kept for a principal that may not write: it is told so at the end.
  const Status may = check(demand_of(MessageType::kSegment));
  if (may) {
    if (const Status taken = long_request_.take(*segment); !taken) return disconnect(taken.error());
  }
  if (segment->more()) return;
  const std::uint32_t id = message.header.request_id;
  const auto whole = long_request_.finish();
  const Status ok = !may ? may : whole ? Status() : fail(whole.error());
  if (!ok) {
    ++in_flight_;
    return refuse(id, ok.error());
  }
  const auto header = protocol::decode_header(*whole);
  if (!header) return disconnect(header.error());
  if (header->type != MessageType::kWrite || header->request_id != id) {
    return disconnect({ErrorCode::kProtocol, "segments of what is no write"});
  }
  on_request({*header, *whole});
}

template <int D>
void Session<D>::on_request(const Request& request) {
  const protocol::Header* const header = &request.header;
  if (++in_flight_ > protocol::kMaxRequestsInFlight) {
    return disconnect(
        {ErrorCode::kTooLarge,
         "more than " + std::to_string(protocol::kMaxRequestsInFlight) + " requests unanswered"});
  }
  if (!authorize(header->request_id, check(demand_of(header->type)))) return;
  if (refuse_if_gone(header->request_id, header->type)) return;
  switch (header->type) {
    case MessageType::kRange:
      return on_range(request);
    case MessageType::kNearest:
      return on_nearest(request);
    case MessageType::kWrite:
      return on_write(request);
    case MessageType::kStats:
    case MessageType::kCluster:
    case MessageType::kLoadBegin:
    case MessageType::kLoadAbort:
      return on_bare(request);
    case MessageType::kLoadEntries:
      return on_load_entries(request);
    case MessageType::kLoadCommit:
      return on_load_commit(request);
    case MessageType::kAt:
      return on_at(request);
    case MessageType::kTask:
      return on_task(request);
    case MessageType::kHold:
      return on_hold(request);
    case MessageType::kJoin:
      return on_join(request);
    case MessageType::kGet:
      return on_get(request);
    case MessageType::kSegment:
    case MessageType::kAnswer:
      break;
  }
  disconnect({ErrorCode::kProtocol, "an answer where a request was expected"});
}

/// Refuses what is for a collection that is gone; whether it does.
template <int D>
bool Session<D>::refuse_if_gone(std::uint32_t request_id, MessageType type) {
  if (type == MessageType::kStats || type == MessageType::kCluster) return false;
  // It is let go of at the end of the sweep, since searches of this one may refer to it.
  if (!is_gone_ && !collection_->goes()) return false;
  refuse_gone(request_id);
  return true;
}

template <int D>
void Session<D>::on_range(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_range<D>(request, collection_->is_lonlat());
  if (!asked) return refuse(id, asked.error());
  if (served_.admission->retired()) return refuse(id, retired_error());
  search(id, request.takes_any_member(), asked->query);
}

template <int D>
void Session<D>::on_nearest(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_nearest<D>(request, collection_->is_lonlat());
  if (!asked) return refuse(id, asked.error());
  if (served_.admission->retired()) return refuse(id, retired_error());
  if (asked->query.k > kMaxK) return refuse(id, too_many_neighbours(asked->query.k));
  search(id, request.takes_any_member(), asked->query);
}

/// A job to fill in, with what all have.
template <int D>
std::unique_ptr<WriteJob<D>> Session<D>::write_job(std::uint32_t request_id) {
  auto job = host_.new_job();
  job->session = id_;
  job->request_id = request_id;
  job->request = {};
  job->fencing_token = fill_token_;
  job->operations.clear();
  job->records.clear();
  job->audit.clear();
  job->collection = collection_;
  return job;
}

template <int D>
void Session<D>::submit(std::unique_ptr<WriteJob<D>> job) {
  const std::uint32_t request_id = job->request_id;
  if (const Status ok = host_.submit(std::move(job)); !ok) refuse(request_id, ok.error());
}

template <int D>
void Session<D>::on_write(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_write<D>(request, kMaxBatchOperations);
  if (!asked) return refuse(id, asked.error());
  const bool is_late = served_.load_slot->taken();
  if (is_late && served_.member_status == nullptr) return refuse(id, load_is_under_way());
  if (const Status ok = served_.check_primary(); !ok) return refuse(id, ok.error());
  auto job = write_job(id);
  job->is_late = is_late;
  // A client that doesn't number its writes has no name either.
  job->request = {asked->sequence == 0 ? 0 : client_, asked->sequence, asked->oldest};
  job->operations.resize(asked->operations.size());
  std::uint64_t record_bytes = 0;
  for (std::size_t i = 0; i < job->operations.size(); ++i) {
    protocol::Operation<D> operation = asked->operations[i];
    // As they lie in the tree, and so in the log. A bad one fails alone, there.
    operation.box = rtree::stored_box(operation.box, collection_->is_lonlat());
    if (!is_by_id(operation.kind)) {
      operation.to = rtree::stored_box(operation.to, collection_->is_lonlat());
    }
    record_bytes += operation.record_bytes;
    job->operations[i] = operation;
  }
  if (const Status ok = protocol::check_record_bytes(record_bytes, asked->records); !ok) {
    return refuse(id, ok.error());
  }
  const Status good = check_records(*job, asked->records, collection_->is_lonlat());
  if (!good) return refuse(id, good.error());
  if (record_bytes > served_.most_record_bytes) {
    return refuse(id, {ErrorCode::kTooLarge, "the records of one write are at most " +
                                                 format_size(served_.most_record_bytes) +
                                                 ", a quarter of the log (--log-size)"});
  }
  job->records.assign(asked->records.begin(), asked->records.end());
  submit(std::move(job));
}

template <int D>
void Session<D>::on_bare(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const MessageType type = request.header.type;
  if (const auto ok = protocol::decode_bare(request); !ok) return refuse(id, ok.error());
  if (type == MessageType::kStats || type == MessageType::kCluster) {
    return send_text(id, host_.text(type));
  }
  if (type == MessageType::kLoadBegin) {
    if (const Status ok = begin_load(); !ok) return refuse(id, ok.error());
  } else if (load_ == nullptr) {
    return refuse(id, {ErrorCode::kConflict, "this connection has no bulk load to abort"});
  } else {
    load_.reset();
  }
  send_count(id, 0, version());
}

template <int D>
void Session<D>::refuse_read(std::uint32_t request_id) {
  if (!closed_) send_error(request_id, served_.member_status->not_primary());
}

template <int D>
Status Session<D>::begin_load() {
  if (const Status ok = served_.check_primary(); !ok) return ok;
  if (load_ != nullptr) {
    return fail(ErrorCode::kConflict, "this connection has begun a bulk load already");
  }
  if (served_.admission->retired()) return fail(retired_error());
  auto load = Load<D>::begin(*served_.load_slot);
  if (!load) return fail(load.error());
  // Asked only now: the session that has the slot keeps all others from writing.
  if (const std::uint64_t entries = collection_->tree().snapshot().size(); entries != 0) {
    return fail(ErrorCode::kConflict, "the tree holds " + std::to_string(entries) +
                                          " entries: a bulk load needs an empty one");
  }
  load_ = std::move(*load);
  last_load_message_ = sweep_.now;
  return {};
}

template <int D>
void Session<D>::on_load_entries(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_load_entries<D>(request);
  if (!asked) return refuse(id, asked.error());
  if (load_ == nullptr) {
    return refuse(id, {ErrorCode::kConflict, "no bulk load is under way on this connection"});
  }
  last_load_message_ = sweep_.now;
  if (const Status ok = load_->stage(asked->entries, collection_->is_lonlat()); !ok)
    return refuse(id, ok.error());
  send_count(id, 0, version());
}

template <int D>
void Session<D>::on_load_commit(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_load_commit(request);
  if (!asked) return refuse(id, asked.error());
  if (load_ == nullptr) {
    return refuse(id, {ErrorCode::kConflict, "no bulk load is under way on this connection"});
  }
  const auto load_count = load_->count();
  auto job = std::make_unique<LoadJob<D>>();
  job->load = std::move(load_);
  if (asked->entries != load_count) {
    return refuse(id,
                  {ErrorCode::kInvalidArgument,
                   "the load says that it has " + std::to_string(asked->entries) + " entries but " +
                       std::to_string(load_count) + " were taken: it is given up"});
  }
  job->session = id_;
  job->request_id = id;
  job->fencing_token = fill_token_;
  job->collection = collection_;
  job->options.fill = asked->fill;
  job->audit = audit_of("bulk load of " + std::to_string(load_count) + " entries");
  host_.submit(std::move(job));
}

/// A search of an old version: as a stream, whatever its size.
template <int D>
void Session<D>::on_at(const Request& request) {
  const std::uint32_t id = request.header.request_id;
  const auto asked = protocol::decode_at(request);
  if (!asked) return refuse(id, asked.error());
  if (served_.admission->retired()) return refuse(id, retired_error());
  if (asked->search.header.type == MessageType::kGet) {
    const auto wanted = protocol::decode_get(asked->search);
    if (!wanted) return refuse(id, wanted.error());
    return get(*wanted, request.takes_any_member(), collection_->history().at(asked->moment));
  }
  auto query = decode_query<D>(asked->search, collection_->is_lonlat());
  if (!query) return refuse(id, query.error());
  // Refused now if the version is not there. It is pinned when the search's turn comes: what waits
  // holds nothing.
  const bool any_member = request.takes_any_member();
  if (const auto snapshot = collection_->history().at(asked->moment); !snapshot) {
    return refuse(id, snapshot.error());
  }
  if (const Status ok = served_.check_lease(any_member); !ok) return refuse(id, ok.error());
  stream({id, std::move(*query), any_member, asked->moment});
}

// --- answers

template <int D>
std::span<std::byte> Session<D>::reserve(std::size_t bytes) {
  const auto room = connection_->reserve(bytes);
  if (room.empty()) {
    blocked_ = true;
    return {};
  }
  last_progress_ = sweep_.now;
  ask(in_touched, SessionHost<D>::Need::kFlush);
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
void Session<D>::send_or_queue(std::unique_ptr<QueuedAnswer> queued) {
  // Answers that are queued go first: one may be half sent.
  if (queued_answers_.empty() && !blocked_ && send(queued->encoder)) return;
  queue(std::move(queued));
}

template <int D>
void Session<D>::queue(std::unique_ptr<QueuedAnswer> queued) {
  queued_answers_.push_back(std::move(queued));
  update_pause();
}

template <int D>
void Session<D>::answer_range(std::uint32_t request_id, bool any_member,
                              const rtree::RangeQuery<D>& query, rtree::RangeResult<D>& result,
                              rtree::Version version) {
  if (closed_) return;
  if (blocked_ || !queued_answers_.empty()) return later(request_id, any_member, query);
  AnswerEncoder encoder = AnswerEncoder::range<D>({request_id, version}, query.shape, result);
  if (send(encoder)) return;
  // Nothing sent: run it again later, which costs a search instead of memory. Else keep the rest.
  if (!encoder.started()) return later(request_id, any_member, query);
  auto queued = std::make_unique<QueuedAnswer>();
  queued->range = std::move(result);  // the encoder's pointers go with it
  result = {};
  queued->encoder = encoder;
  queue(std::move(queued));
}

template <int D>
void Session<D>::answer_nearest(std::uint32_t request_id, bool any_member,
                                const rtree::NearestQuery<D>& query, rtree::NearestResult& result,
                                rtree::Version version) {
  if (closed_) return;
  if (blocked_ || !queued_answers_.empty()) return later(request_id, any_member, query);
  AnswerEncoder encoder = AnswerEncoder::nearest({request_id, version}, result);
  if (send(encoder)) return;
  if (!encoder.started()) return later(request_id, any_member, query);
  auto queued = std::make_unique<QueuedAnswer>();
  queued->nearest = std::move(result);
  result = {};
  queued->encoder = encoder;
  queue(std::move(queued));
}

template <int D>
void Session<D>::answer_write(WriteJob<D>& job) {
  if (closed_) return;
  // Not known is what came of it: only the end of the connection says that.
  if (job.error && job.error->code == ErrorCode::kConnectionLost) return disconnect(*job.error);
  if (job.error) return send_error(job.request_id, *job.error);
  if (job.order) return answer_order(job);
  if (job.demand) {
    return send_text(job.request_id,
                     collections_json(*served_.collections, authorization_.rights()));
  }
  if (job.compaction) return answer_compaction(job);
  AnswerEncoder encoder = AnswerEncoder::write({job.request_id, job.version}, job.failed);
  if (queued_answers_.empty() && !blocked_ && send(encoder)) return;
  auto queued = std::make_unique<QueuedAnswer>();
  queued->failed = std::move(job.failed);
  job.failed.clear();
  queued->encoder = encoder;
  queue(std::move(queued));
}

template <int D>
void Session<D>::answer_load(LoadJob<D>& job) {
  if (closed_) return;
  if (!job.version) return send_error(job.request_id, job.version.error());
  send_count(job.request_id, job.entries, *job.version);
}

template <int D>
void Session<D>::send_count(std::uint32_t request_id, std::uint64_t count, rtree::Version version) {
  auto queued = std::make_unique<QueuedAnswer>();
  queued->encoder = AnswerEncoder::count({request_id, version}, count);
  send_or_queue(std::move(queued));
}

template <int D>
void Session<D>::send_text(std::uint32_t request_id, std::string text) {
  auto queued = std::make_unique<QueuedAnswer>();
  queued->text = std::move(text);
  queued->encoder = AnswerEncoder::text({request_id, version()}, queued->text);
  send_or_queue(std::move(queued));
}

template <int D>
void Session<D>::send_error(std::uint32_t request_id, const Error& error) {
  counters_.errors.add();
  auto queued = std::make_unique<QueuedAnswer>();
  queued->error = error;
  queued->encoder = AnswerEncoder::error({request_id, version()}, queued->error);
  send_or_queue(std::move(queued));
}

template <int D>
Status Session<D>::check(const Demand& demand) {
  if (authorization_.role() >= demand.role) return {};  // for all collections: most have that
  if (demand.scope == Scope::kServer) return authorization_.check(demand.role, demand.to_do);
  // A connection whose collection is gone is told that, and nothing else.
  if (demand.scope == Scope::kAnywhere || is_gone_) {
    return authorization_.check_anywhere(demand.role, demand.to_do);
  }
  return authorization_.check_in(collection_->info.name, demand.role, demand.to_do);
}

/// Refuses what the principal's role does not allow; whether it does.
template <int D>
bool Session<D>::authorize(std::uint32_t request_id, const Status& ok) {
  if (ok) return true;
  host_.warn_of(*connection_, "refused " + connection_->peer() + ": " + ok.error().message);
  refuse(request_id, ok.error());
  return false;
}

template <int D>
std::string Session<D>::audit_of(std::string_view what) const {
  return authorization_.describe() + " by " + connection_->peer() + ": " + std::string(what);
}

template <int D>
void Session<D>::refuse(std::uint32_t request_id, const Error& error) {
  if (error.code == ErrorCode::kProtocol) return disconnect(error);
  send_error(request_id, error);
}

template <int D>
void Session<D>::end_if_not_authorized() {
  if (closed_) return;
  if (const Status ok = check({access::Role::kReader, "stay connected"}); !ok) {
    return disconnect(ok.error());
  }
  if (connection_->shows_regions() && !authorization_.rights().reads_all()) {
    disconnect({ErrorCode::kPermission,
                authorization_.describe() +
                    " may read some collections alone from now on, and this connection has the "
                    "memory of all of them: connect again"});
  }
}

template <int D>
void Session<D>::leave_if_gone() {
  if (!collection_->goes()) return;
  if (is_gone_) {  // it is the default one that stands in, and has gone as well
    collection_ = served_.collections->default_one();
    return;
  }
  is_gone_ = true;
  gone_name_ = collection_->info.name;
  if (stream_ != nullptr) end_stream(gone_error(gone_name_));
  for (const Search<D>& search : std::exchange(waiting_, {})) refuse_gone(search.request_id);
  for (const Search<D>& search : std::exchange(big_, {})) refuse_gone(search.request_id);
  let_go();
  collection_ = served_.collections->default_one();
  update_pause();
}

template <int D>
void Session<D>::refuse_gone(std::uint32_t request_id) {
  if (!closed_) send_error(request_id, gone_error(is_gone_ ? gone_name_ : collection_->info.name));
}

template <int D>
void Session<D>::disconnect(const Error& reason) {
  host_.warn_of(*connection_, "disconnecting " + connection_->peer() + ": " + reason.message);
  counters_.disconnects.add();
  closed_ = true;
  let_go();
  connection_->close();
}

template <int D>
void Session<D>::let_go() {
  load_.reset();
  stream_.reset();
  held_.clear();
  exporting_.reset();
}

// --- what goes on

template <int D>
void Session<D>::on_writable(transport::Connection&) {
  blocked_ = false;
  if (runnable()) ask_to_run();
}

template <int D>
void Session<D>::on_closed(transport::Connection&, const Error& reason) {
  if (!closed_) log::debug(connection_->peer() + " has gone: " + reason.message);
  closed_ = true;
  let_go();
  host_.look_after(*this, SessionHost<D>::Need::kEnd);
}

template <int D>
void Session<D>::work(bool may_stream) {
  while (!queued_answers_.empty()) {
    if (!send(queued_answers_.front()->encoder)) return;
    queued_answers_.pop_front();
  }
  while (!waiting_.empty() && take_share()) {
    const Search<D> search = waiting_.front();
    waiting_.pop_front();
    std::visit(
        [&](const auto& query) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(query)>, JoinWith>) {
            host_.search(*this, search.request_id, search.any_member, query);
          }
        },
        search.query);
  }
  update_pause();
  if (!streaming()) return;
  if (may_stream) return work_on_stream();
  // It is not the client who takes nothing.
  if (stream_ != nullptr && !stream_->has_message()) last_progress_ = sweep_.now;
}

template <int D>
bool Session<D>::take_share() {
  if (share_of_ != sweep_.number) {
    share_of_ = sweep_.number;
    share_taken_ = 0;
  }
  return share_taken_++ < sweep_.share;
}

template <int D>
void Session<D>::update_pause() {
  const std::size_t queued = queued_answers_.size() + waiting_.size();
  if (closed_ || (paused_ ? queued != 0 : queued < kMaxQueuedAnswers)) return;
  paused_ = !paused_;
  connection_->set_paused(paused_);
}

template <int D>
void Session<D>::go_on(Search<D> search, Begun<D> begun, typename Stream<D>::Pinned snapshot) {
  if (closed_) return;
  if (!may_begin_stream()) return stream(std::move(search));
  begin_stream(
      std::make_unique<Stream<D>>(search, std::move(snapshot), message_bytes_, std::move(begun)));
  ask_to_run();
}

template <int D>
void Session<D>::begin_stream(std::unique_ptr<Stream<D>> stream) {
  stream_ = std::move(stream);
  stream_started_ = sweep_.now;
  last_progress_ = stream_started_;
  counters_.streams.add();
  ask(in_active, SessionHost<D>::Need::kHeartbeats);
}

template <int D>
void Session<D>::work_on_stream() {
  if (stream_ == nullptr) {
    const Search<D> search = std::move(big_.front());
    big_.pop_front();
    auto snapshot = search.at ? collection_->history().at(*search.at)
                              : Result<rtree::Snapshot<D>>(collection_->tree().snapshot());
    if (!snapshot) return send_error(search.request_id, snapshot.error());
    if (collection_->goes()) return refuse_gone(search.request_id);
    // One of an old version was asked about when it came.
    const Status leased = served_.check_lease(search.at.has_value() || search.any_member);
    if (!leased) return send_error(search.request_id, leased.error());
    if (const auto* const join = std::get_if<JoinWith>(&search.query)) {
      auto joined = join_stream(search, *join);
      if (!joined) return send_error(search.request_id, joined.error());
      begin_stream(std::move(*joined));
    } else {
      begin_stream(std::make_unique<Stream<D>>(
          search, std::make_shared<const rtree::Snapshot<D>>(std::move(*snapshot)),
          message_bytes_));
    }
  }
  if (!stream_->has_message()) {
    stream_->advance();
    last_progress_ = sweep_.now;
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
             is_short_of_memory_of(stream_->version())) {
    end_stream({ErrorCode::kUnavailable,
                "the server needs the memory of the version that this answer is of, after " +
                    format_duration(kStreamTimeWhenShort) + ": ask again, for less at once"});
  }
  if (load_ != nullptr && now - last_load_message_ > kMaxLoadIdle) {
    host_.warn_of(*connection_, "bulk load of " + connection_->peer() +
                                    " is given up: nothing came for " +
                                    format_duration(kMaxLoadIdle));
    counters_.idle_loads.add();
    load_.reset();
  }
  if (exporting_ != nullptr && is_export_over(now)) exporting_.reset();
  std::erase_if(held_, [&](const Held& held) { return held.until < now; });
  // Who waits for an answer hears that it is being worked on.
  return stream_ != nullptr || load_ != nullptr || exporting_ != nullptr || !held_.empty() ||
         in_flight_ > 0 || now - last_message_ < kActiveFor;
}

/// An operator's may hold memory that the server needs: it replaces the shard.
template <int D>
bool Session<D>::is_export_over(Nanoseconds now) {
  if (now - last_export_ > kMaxExportIdle) return true;
  return authorization_.role() < access::Role::kOperator &&
         now - export_begun_ > kStreamTimeWhenShort && is_short_of_memory_of(exported_version_);
}

/// Whether old versions take enough memory that writers will soon have to wait, and that version
/// is one of them.
template <int D>
bool Session<D>::is_short_of_memory_of(rtree::Version version) const {
  const rtree::TreeStats stats = collection_->tree().stats();
  return version != stats.version && stats.bytes_retired > stats.bytes_retired_limit / 4 * 3;
}

template <int D>
void Session<D>::end_if_idle(Nanoseconds now, Nanoseconds timeout) {
  if (closed_) return;
  if (busy_at_look_ == 0 || received_ != received_at_look_ || in_active) {
    received_at_look_ = received_;
    busy_at_look_ = now;
  }
  if (now - busy_at_look_ < timeout) return;
  counters_.idle_clients.add();
  log::debug("disconnecting " + connection_->peer() + ": nothing came for " +
             format_duration(timeout) + " (--idle-timeout)");
  closed_ = true;
  connection_->close();
}

template <int D>
void Session<D>::write_heartbeat(protocol::Heartbeat heartbeat) {
  heartbeat.received = received_;
  if (collection_->info.number != 0) heartbeat.version = version();
  if (!closed_) connection_->write_mailbox(std::as_bytes(std::span(&heartbeat, 1)));
}

template class Session<2>;
template class Session<3>;

}  // namespace silurus::server
