#include <algorithm>
#include <cstring>
#include <utility>

#include "client/core.h"
#include "common/check.h"
#include "common/log.h"
#include "protocol/encode.h"

namespace silurus::client {
namespace {

/// An answer is not believed to be longer than this.
constexpr std::uint64_t kMaxStatsBytes = std::uint64_t{16} << 20;
/// A lease is not believed to be longer than this.
constexpr std::uint64_t kMaxLeaseNs = std::uint64_t{3600} * kSecond;
/// Clocks run at the same rate to one part in so many: twice what the group itself allows for.
constexpr Nanoseconds kDriftDenominator = 500;

}  // namespace

// --- messages out --------------------------------------------------------------------------------

template <int D>
void ClientCore<D>::send_search(std::uint32_t index) {
  const Call<D>& operation = operations_[index];
  const std::uint8_t flags = operation.any ? protocol::kAnyMember : 0;
  const std::size_t front = operation.as_of == 0 ? 0 : sizeof(protocol::AtRequest);
  const auto encode_front = [&](std::span<std::byte> out) {
    if (front != 0) protocol::encode_at(out, request_id(index), operation.as_of, flags);
    return out.subspan(front);
  };
  if (operation.kind == CallKind::kRange) {
    send(index, front + sizeof(protocol::RangeRequest<D>), [&](std::span<std::byte> out) {
      protocol::encode_range<D>(encode_front(out), request_id(index), operation.range_query,
                                front == 0 ? flags : 0);
    });
  } else {
    send(index, front + sizeof(protocol::NearestRequest<D>), [&](std::span<std::byte> out) {
      protocol::encode_nearest<D>(encode_front(out), request_id(index), operation.nearest_query,
                                  front == 0 ? flags : 0);
    });
  }
}

template <int D>
void ClientCore<D>::sending(Call<D>& operation) {
  operation.state = CallState::kSent;
  ++unanswered_;
  ++sent_;
  if (is_group_ && probe_ == 0) {
    probe_ = sent_;
    probe_sent_ = clock_.now();
  }
}

/// A message that was encoded for another connection.
template <int D>
void ClientCore<D>::send_again(std::uint32_t index) {
  Call<D>& operation = operations_[index];
  const std::span<std::byte> message(operation.message);
  if (operation.kind == CallKind::kWrite) {
    protocol::WriteRequest request;
    std::memcpy(&request, message.data(), sizeof request);
    request.header.request_id = request_id(index);
    request.outstanding = family_->writes.outstanding(operation.sequence);
    std::memcpy(message.data(), &request, sizeof request);
  } else {
    protocol::Header header;
    std::memcpy(&header, message.data(), sizeof header);
    header.request_id = request_id(index);
    std::memcpy(message.data(), &header, sizeof header);
  }
  operation.bytes = message.size();
  operation.state = CallState::kWaiting;
  waiting_.push_back(request_id(index));
}

template <int D>
void ClientCore<D>::send_waiting() {
  while (waiting_first_ < waiting_.size() && may_send()) {
    const std::uint32_t id = waiting_[waiting_first_];
    const std::uint32_t index = id & (kMaxInFlight - 1);
    Call<D>& operation = operations_[index];
    if (operation.state == CallState::kWaiting && request_id(index) == id) {
      auto room = connection_->reserve(operation.message.size());
      if (room.empty()) return;
      std::memcpy(room.data(), operation.message.data(), operation.message.size());
      sending(operation);
      connection_->commit(operation.message.size());
    }
    ++waiting_first_;
  }
  if (waiting_first_ == waiting_.size()) {
    waiting_.clear();
    waiting_first_ = 0;
  }
}

template <int D>
void ClientCore<D>::send_by_message_instead(std::uint32_t index) {
  Call<D>& operation = operations_[index];
  ++statistics_.offload.given_back;
  operation.holding = false;
  operation.error_text.clear();
  operation.range.clear();
  operation.nearest.neighbors.clear();
  send_search(index);
}

// --- answers in ----------------------------------------------------------------------------------

template <int D>
void ClientCore<D>::on_message(transport::Connection&, std::span<const std::byte> message) {
  if (lost_) return;
  const auto answer = protocol::decode_answer(message);
  if (!answer) return break_off(answer.error());
  const std::uint32_t index = answer->header.request_id & (kMaxInFlight - 1);
  if (index >= operations_.size() || request_id(index) != answer->header.request_id ||
      (operations_[index].state != CallState::kSent &&
       operations_[index].state != CallState::kForgotten)) {
    return break_off({ErrorCode::kProtocol, "an answer to a request that was not made"});
  }
  Call<D>& operation = operations_[index];
  operation.bytes += message.size();
  if (operation.state == CallState::kForgotten) {
    if (answer->more()) return;
    --unanswered_;
    release(index);
    return;
  }
  if (answer->is_error()) return on_error(index, *answer);
  if (operation.holding) return on_held(index, *answer);
  if (auto ok = take_answer(operation, *answer); !ok) return break_off(ok.error());
  if (answer->more()) return;
  --unanswered_;
  operation.cost.round_trips += 1;
  end(index, nullptr);
}

template <int D>
void ClientCore<D>::on_error(std::uint32_t index, const protocol::Answer& answer) {
  Call<D>& operation = operations_[index];
  Error error = protocol::answer_error(answer);
  operation.error_text += error.message;
  if (operation.error_text.size() > protocol::kMaxErrorText) {
    return break_off({ErrorCode::kProtocol, "an error of endless text"});
  }
  if (answer.more()) return;
  --unanswered_;
  if (operation.holding && error.code == ErrorCode::kUnavailable) {
    return send_by_message_instead(index);
  }
  if (error.code == ErrorCode::kNotPrimary && family_->keeper != nullptr &&
      (operation.kind != CallKind::kLoad || operation.harmless)) {
    // Nothing has happened here: it is for another member.
    return hand_over(index, ErrorCode::kNotPrimary);
  }
  error.message = operation.error_text;
  end(index, &error);
}

/// Appends one segment of an answer to the operation's own.
template <int D>
Status ClientCore<D>::take_answer(Call<D>& operation, const protocol::Answer& answer) {
  switch (operation.kind) {
    case CallKind::kRange: {
      RangeAnswer<D>& range = operation.range;
      range.version = answer.version;
      range.access = Access::kMessaging;
      range.count += answer.count;
      if (range.count > operation.range_query.limit) {
        return fail(ErrorCode::kProtocol, "an answer of more entries than were asked for");
      }
      if (operation.range_query.shape == rtree::ResultShape::kCount) return {};
      if (operation.range_query.shape == rtree::ResultShape::kIds) {
        const auto ids = protocol::answer_array<std::uint64_t>(answer);
        if (!ids) return fail(ids.error());
        const std::size_t before = range.ids.size();
        range.ids.resize(before + ids->size());
        if (!ids->empty()) {
          std::memcpy(range.ids.data() + before, ids->bytes().data(), ids->bytes().size());
        }
        return {};
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
    case CallKind::kNearest: {
      const auto neighbors = protocol::answer_array<rtree::Neighbor>(answer);
      if (!neighbors) return fail(neighbors.error());
      auto& into = operation.nearest.neighbors;
      if (into.size() + neighbors->size() > operation.nearest_query.k) {
        return fail(ErrorCode::kProtocol, "an answer of more neighbours than were asked for");
      }
      for (std::size_t i = 0; i < neighbors->size(); ++i) into.push_back((*neighbors)[i]);
      operation.nearest.version = answer.version;
      operation.nearest.access = Access::kMessaging;
      return {};
    }
    case CallKind::kWrite: {
      const auto failed = protocol::answer_array<protocol::FailedOperation>(answer);
      if (!failed) return fail(failed.error());
      for (std::size_t i = 0; i < failed->size(); ++i) {
        const protocol::FailedOperation one = (*failed)[i];
        operation.write.failed.push_back({one.index, static_cast<ErrorCode>(one.code)});
      }
      if (operation.write.failed.size() > server_.max_batch) {
        return fail(ErrorCode::kProtocol, "an answer of more failures than operations");
      }
      operation.write.version = answer.version;
      return {};
    }
    case CallKind::kText: {
      const auto text = protocol::answer_array<char>(answer);
      if (!text) return fail(text.error());
      const std::size_t before = operation.text.json.size();
      if (before + text->size() > kMaxStatsBytes) {
        return fail(ErrorCode::kProtocol, "statistics without end");
      }
      operation.text.json.resize(before + text->size());
      if (!text->empty()) {
        std::memcpy(operation.text.json.data() + before, text->bytes().data(), text->size());
      }
      return {};
    }
    case CallKind::kLoad:
      operation.load = {.version = answer.version, .entries = answer.count};
      return {};
  }
  return {};
}

/// The server holds the version: from here on it is read one-sidedly.
template <int D>
void ClientCore<D>::on_held(std::uint32_t index, const protocol::Answer& answer) {
  Call<D>& operation = operations_[index];
  const auto held = protocol::decode_held(answer);
  if (!held) return break_off(held.error());
  --unanswered_;
  operation.holding = false;
  start_offload(index, held_.put(operation.as_of, rtree::NodeRef::from_word(held->root),
                                 operation.started, static_cast<Nanoseconds>(held->lease_ns)));
}

template <int D>
void ClientCore<D>::look_at_heartbeat(Nanoseconds now) {
  if (now - heartbeat_looked_ < static_cast<Nanoseconds>(server_.heartbeat_ns / 4)) return;
  heartbeat_looked_ = now;
  std::array<std::byte, transport::kMailboxBytes> content;
  if (!connection_->read_mailbox(content)) return;
  protocol::Heartbeat heartbeat;
  std::memcpy(&heartbeat, content.data(), sizeof(heartbeat));
  if (heartbeat.sequence == heartbeat_sequence_) return;
  heartbeat_sequence_ = heartbeat.sequence;
  ++statistics_.heartbeats;
  statistics_.server_cpu_busy = std::min(heartbeat.cpu_busy_permyriad, 10'000u) / 10'000.0;
  standing_.cpu_busy = statistics_.server_cpu_busy;
  standing_.queued = heartbeat.queued;
  standing_.seen = now;
  take_standing(heartbeat, now);
  if (policy_ != nullptr) {
    policy_->on_heartbeat({.cpu_busy = statistics_.server_cpu_busy, .queued = heartbeat.queued});
  }
}

/// When the heartbeat was sent is not known, but that it was after a message of ours that it knows
/// of had gone: what it promises is counted from there.
template <int D>
void ClientCore<D>::take_standing(const protocol::Heartbeat& heartbeat, Nanoseconds now) {
  if (probe_ != 0 && heartbeat.received >= probe_) {
    standing_.since = probe_sent_;
    probe_ = 0;
  }
  standing_.version = heartbeat.version;
  standing_.staleness = heartbeat.staleness_ns;
  if (!is_group_) {
    standing_.since = now;
    standing_.staleness = 0;
    standing_.lease_until = INT64_MAX;
  } else if (standing_.since != 0 && heartbeat.lease_ns <= kMaxLeaseNs) {
    const auto lease = static_cast<Nanoseconds>(heartbeat.lease_ns);
    // A promise that was made holds, whatever later ones are about.
    standing_.lease_until =
        std::max(standing_.lease_until, standing_.since + lease - lease / kDriftDenominator);
  }
}

template <int D>
bool ClientCore<D>::lease_lasts() {
  const Nanoseconds now = clock_.now();
  if (now < standing_.lease_until) return true;
  heartbeat_looked_ = INT64_MIN / 2;  // now, however lately that was
  look_at_heartbeat(now);
  return now < standing_.lease_until;
}

template <int D>
void ClientCore<D>::on_read(transport::Connection&, std::uint64_t cookie, bool ok) {
  if (ok && !lost_) offloader_->on_read(cookie);
}

template <int D>
void ClientCore<D>::on_writable(transport::Connection&) {
  if (!lost_) send_waiting();
}

template <int D>
std::size_t ClientCore<D>::deliver_offloaded() {
  std::size_t count = 0;
  while (const auto finished = offloader_->take_finished()) {
    ++count;
    const std::uint32_t index = finished->search;
    Call<D>& operation = operations_[index];
    if (operation.state != CallState::kOffloading) continue;  // past its deadline
    operation.cost = finished->cost;
    if (finished->given_back) {
      send_by_message_instead(index);
      continue;
    }
    if (needs_lease(operation) && !lease_lasts()) {
      // Another member may have published a newer version meanwhile.
      send_by_message_instead(index);
      continue;
    }
    operation.range.version = operation.nearest.version = finished->version;
    operation.range.access = operation.nearest.access = Access::kOffload;
    end(index, nullptr);
  }
  return count;
}

#define SILURUS_INSTANTIATE(D)                                                                 \
  template void ClientCore<D>::sending(Call<D>&);                                              \
  template void ClientCore<D>::send_search(std::uint32_t);                                     \
  template void ClientCore<D>::send_again(std::uint32_t);                                      \
  template void ClientCore<D>::send_waiting();                                                 \
  template void ClientCore<D>::look_at_heartbeat(Nanoseconds);                                 \
  template bool ClientCore<D>::lease_lasts();                                                  \
  template std::size_t ClientCore<D>::deliver_offloaded();                                     \
  template void ClientCore<D>::on_message(transport::Connection&, std::span<const std::byte>); \
  template void ClientCore<D>::on_read(transport::Connection&, std::uint64_t, bool);           \
  template void ClientCore<D>::on_writable(transport::Connection&);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::client
