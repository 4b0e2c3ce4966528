// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "client/link.h"
#include "client/records.h"
#include "rtree/records.h"

// What comes in on a link: answers and heartbeats.

namespace silurus::client {
namespace {

/// An answer of text is not believed to be longer than this.
constexpr std::uint64_t kMaxTextBytes = std::uint64_t{16} << 20;

/// Appends the elements that one segment of an answer holds; at most `most` may be there then.
template <typename T, typename Container>
Status append(const protocol::Answer& answer, std::uint64_t most, Container& to) {
  const auto array = protocol::answer_array<T>(answer);
  if (!array) return fail(array.error());
  const std::size_t before = to.size();
  if (before + array->size() > most) {
    return fail(ErrorCode::kProtocol,
                "an answer of more than " + std::to_string(most) + " elements");
  }
  to.resize(before + array->size());
  if (!array->empty()) {
    std::memcpy(static_cast<void*>(to.data() + before), array->bytes().data(),
                array->bytes().size());
  }
  return {};
}

}  // namespace

template <int D>
void Link<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (lost_) return;
  const auto answer = protocol::decode_answer(message);
  if (!answer) return break_off(answer.error());
  const auto index = calls_.find(answer->header.request_id);
  if (!index || calls_[*index].link != this ||
      (calls_[*index].state != CallState::kSent && calls_[*index].state != CallState::kForgotten)) {
    return break_off({ErrorCode::kProtocol, "an answer to a request that was not made"});
  }
  Call<D>& call = calls_[*index];
  call.bytes += message.size();
  if (call.state == CallState::kForgotten) {
    if (answer->more()) return;
    --unanswered_;
    calls_.release(*index);
    return;
  }
  if (answer->is_error()) return on_error(*index, *answer);
  if (call.holding) return on_held(*index, *answer);
  if (auto ok = take_answer(call, *answer); !ok) return break_off(ok.error());
  if (answer->more()) return;
  --unanswered_;
  call.cost.round_trips += 1;
  finish(*index, nullptr);
}

template <int D>
void Link<D>::on_error(std::uint32_t index, const protocol::Answer& answer) {
  Call<D>& call = calls_[index];
  call.error_text.append(reinterpret_cast<const char*>(answer.payload.data()),
                         answer.payload.size());
  if (call.error_text.size() > protocol::kMaxErrorText) {
    return break_off({ErrorCode::kProtocol, "an error of endless text"});
  }
  if (answer.more()) return;
  --unanswered_;
  const Error error = error_of_peer(answer.header.code, call.error_text);
  if (call.holding && error.code == ErrorCode::kUnavailable) {
    return send_by_message_instead(index);
  }
  const bool may_go_elsewhere = call.is_search() || keeps_message(call);
  const bool is_gone = error.code == ErrorCode::kNoCollection;
  turns_away_ = turns_away_ || is_gone;
  if ((error.code == ErrorCode::kNotPrimary || is_gone) && calls_.is_repeating() &&
      may_go_elsewhere) {
    // Nothing has happened here: it is for another member, or for what has that name now.
    turns_away_ = turns_away_ || !call.any;
    leave(index);
    return calls_.put_back(index);
  }
  finish(index, &error);
}

template <int D>
Status Link<D>::take_range(Call<D>& call, const protocol::Answer& answer) {
  const rtree::RangeQuery<D>& query = std::get<request::Range<D>>(call.search).query;
  RangeAnswer<D>& range = call.range();
  range.version = answer.version;
  range.access = Access::kMessaging;
  range.count += answer.count;
  if (range.count > query.limit) {
    return fail(ErrorCode::kProtocol, "an answer of more entries than were asked for");
  }
  if (query.shape == rtree::ResultShape::kCount) return {};
  if (query.shape == rtree::ResultShape::kIds) {
    return append<std::uint64_t>(answer, UINT64_MAX, range.ids);
  }
  const auto entries = protocol::answer_array<rtree::Entry<D>>(answer);
  if (!entries) return fail(entries.error());
  for (std::size_t i = 0; i < entries->size(); ++i) {
    const rtree::Entry<D> entry = (*entries)[i];
    range.ids.push_back(entry.id);
    range.boxes.push_back(entry.box);
  }
  return {};
}

/// Appends one segment of an answer to the call's own.
template <int D>
Status Link<D>::take_answer(Call<D>& call, const protocol::Answer& answer) {
  switch (call.kind()) {
    case CallKind::kRange:
      return take_range(call, answer);
    case CallKind::kNearest:
      call.nearest().version = answer.version;
      call.nearest().access = Access::kMessaging;
      return append<rtree::Neighbor>(answer, std::get<request::Nearest<D>>(call.search).query.k,
                                     call.nearest().neighbors);
    case CallKind::kWrite: {
      const auto failed = protocol::answer_array<protocol::FailedOperation>(answer);
      if (!failed) return fail(failed.error());
      for (std::size_t i = 0; i < failed->size(); ++i) {
        const protocol::FailedOperation one = (*failed)[i];
        if (one.code == protocol::kReplaced) {
          call.write().replaced.push_back(one.index);
        } else {
          call.write().failed.push_back({one.index, static_cast<ErrorCode>(one.code)});
        }
      }
      if (call.write().failed.size() + call.write().replaced.size() > server_.max_batch) {
        return fail(ErrorCode::kProtocol, "an answer of more failures than operations");
      }
      call.write().version = answer.version;
      return {};
    }
    case CallKind::kText:
      return append<char>(answer, kMaxTextBytes, call.text());
    case CallKind::kLoad:
      call.load() = {.version = answer.version, .entries = answer.count};
      return {};
    case CallKind::kJoin:
      call.join().version = answer.version;
      return append<IdPair>(answer, UINT64_MAX, call.join().pairs);
    case CallKind::kGet:
      call.get().version = answer.version;
      call.get().access = Access::kMessaging;
      if (call.wants_records()) return take_records(call, answer);
      return append<KeyedEntry<D>>(answer, protocol::kMaxGetIds, call.get().entries);
  }
  return {};
}

/// Entries with their records: bytes that are looked at when all of them are there.
template <int D>
Status Link<D>::take_records(Call<D>& call, const protocol::Answer& answer) {
  constexpr std::size_t kMostGotBytes = protocol::kMaxGetRecordBytes + rtree::kMostRecordBytes +
                                        protocol::kMaxGetIds * (sizeof(protocol::GotRecord<D>) + 8);
  if (auto ok = append<std::byte>(answer, kMostGotBytes, call.got_bytes); !ok || answer.more())
    return ok;
  return append_got_records<D>(call.got_bytes, call.get());
}

/// The server holds the version: from here on it is read one-sidedly.
template <int D>
void Link<D>::on_held(std::uint32_t index, const protocol::Answer& answer) {
  Call<D>& call = calls_[index];
  const auto held = protocol::decode_version_lease(answer);
  if (!held) return break_off(held.error());
  --unanswered_;
  call.holding = false;
  start_offload(index, held_.put(call.as_of(), rtree::NodeRef::from_word(held->root), call.started,
                                 static_cast<Nanoseconds>(held->lease_ns)));
}

// --- heartbeats ----------------------------------------------------------------------------------

template <int D>
const HeartbeatState& Link<D>::look_at_heartbeat(Nanoseconds now) {
  if (now - heartbeat_looked_ >= static_cast<Nanoseconds>(server_.heartbeat_ns / 4)) {
    read_heartbeat(now);
  }
  return heartbeat();
}

template <int D>
void Link<D>::read_heartbeat(Nanoseconds now) {
  heartbeat_looked_ = now;
  std::array<std::byte, transport::kMailboxBytes> content;
  if (!connection_->read_mailbox(content)) return;
  protocol::Heartbeat read;
  std::memcpy(&read, content.data(), sizeof read);
  if (!heartbeats_.take(read, now)) return;
  ++calls_.statistics.heartbeats;
  calls_.statistics.server_cpu_busy = heartbeat().cpu_busy;
  if (policy_ != nullptr) {
    policy_->on_heartbeat({.cpu_busy = heartbeat().cpu_busy, .queued = heartbeat().queued});
  }
}

/// Reads the heartbeat, however lately that was done, if the lease is over by what is known.
template <int D>
void Link<D>::renew_lease(Nanoseconds now) {
  if (!has_lease(now)) read_heartbeat(now);
}

// --- silence -------------------------------------------------------------------------------------

template <int D>
std::size_t Link<D>::look_for_silence(Nanoseconds now) {
  if (lost_) return 0;
  look_at_heartbeat(now);
  const std::uint64_t messages = connection_->counters().messages_received;
  const bool was_silent = silence_.is_silent();
  if (!silence_.look(messages, heartbeats_.sequence(), unanswered_, now)) {
    if (was_silent) calls_.forget_given_back(this);
    return 0;
  }
  return offloader_ == nullptr ? 0 : hand_over_searches(now);
}

template <int D>
bool Link<D>::may_be_handed_over(const Call<D>& call, Nanoseconds now) const {
  if (call.link != this) return false;
  if (call.state != CallState::kSent && call.state != CallState::kWaiting) return false;
  // An old version would first have to be held by the server. What was given back would be again,
  // until the server shows life.
  if (!call.is_search() || call.as_of() != 0 || call.given_back) return false;
  if (!may_offload(call)) return false;
  return !needs_lease(call) || has_lease(now);
}

/// A search that was sent goes on in another slot: should the answer come yet, it finds the old
/// one, where it is dropped.
template <int D>
std::size_t Link<D>::hand_over_searches(Nanoseconds now) {
  std::size_t count = 0;
  for (std::uint32_t index = 0; index < calls_.size(); ++index) {
    if (!may_be_handed_over(calls_[index], now)) continue;
    const bool was_sent = calls_[index].state == CallState::kSent;
    const auto slot = was_sent ? calls_.move_on(index) : std::optional(index);
    if (!slot) break;
    Call<D>& call = calls_[*slot];
    if (std::exchange(call.chosen_by_policy, false)) policy_->forget(call.chosen);
    call.chosen = Access::kOffload;
    call.set_access(call.chosen);
    call.clear_answer();
    start_offload(*slot, std::nullopt);
    ++count;
  }
  calls_.statistics.handed_over += count;
  return count;
}

// --- one-sided reads -----------------------------------------------------------------------------

template <int D>
void Link<D>::on_read(transport::Connection&, std::uint64_t cookie, bool ok) {
  if (ok && !lost_) offloader_->on_read(cookie);
}

template <int D>
void Link<D>::on_writable(transport::Connection&) {
  if (!lost_) send_waiting();
}

template <int D>
std::size_t Link<D>::settle() {
  if (offloader_ == nullptr) return 0;
  std::size_t count = 0;
  while (const auto finished = offloader_->take_finished()) {
    ++count;
    const std::uint32_t index = finished->search;
    Call<D>& call = calls_[index];
    if (call.link != this || call.state != CallState::kOffloading) continue;  // past its deadline
    call.cost = finished->cost;
    if (finished->given_back) {
      send_by_message_instead(index);
      continue;
    }
    if (needs_lease(call)) {
      // Without a lease another member may have published a newer version meanwhile.
      const Nanoseconds now = clock_.now();
      renew_lease(now);
      if (!has_lease(now)) {
        send_by_message_instead(index);
        continue;
      }
    }
    call.range().version = call.nearest().version = call.get().version = finished->version;
    call.set_access(Access::kOffload);
    finish(index, nullptr);
  }
  return count;
}

#define SILURUS_INSTANTIATE(D)                                                           \
  template const HeartbeatState& Link<D>::look_at_heartbeat(Nanoseconds);                \
  template void Link<D>::renew_lease(Nanoseconds);                                       \
  template std::size_t Link<D>::look_for_silence(Nanoseconds);                           \
  template std::size_t Link<D>::settle();                                                \
  template void Link<D>::on_message(transport::Connection&, std::span<const std::byte>); \
  template void Link<D>::on_read(transport::Connection&, std::uint64_t, bool);           \
  template void Link<D>::on_writable(transport::Connection&);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::client
