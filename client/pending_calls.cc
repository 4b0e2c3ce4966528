// SPDX-License-Identifier: Apache-2.0

#include "client/pending_calls.h"

#include <algorithm>
#include <string>
#include <utility>

namespace silurus::client {
namespace {

/// With the fourth link that is lost under it a call ends: a server that ends every connection
/// does not serve.
constexpr int kMaxLosses = 4;
/// Room for messages and answers that a free slot keeps for the next call.
constexpr std::size_t kMostKeptBytes = std::size_t{256} << 10;

}  // namespace

template <int D>
PendingCalls<D>::PendingCalls(const Clock& clock, const ClientOptions& options)
    : clock_(clock),
      deadline_(options.deadline),
      patience_(options.patience),
      has_client_id_(options.client_id != 0),
      is_repeating_(options.reconnect_for > 0) {}

template <int D>
Status PendingCalls<D>::check_room() const {
  if (calls_.size() - free_.size() < kMaxInFlight) return {};
  return fail(ErrorCode::kUnavailable,
              std::to_string(kMaxInFlight) +
                  " operations are in flight on this client: wait for some of them");
}

template <int D>
std::uint32_t PendingCalls<D>::take_slot() {
  if (free_.empty()) {
    free_.push_back(size());
    calls_.push_back(std::make_unique<Call<D>>());
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  return index;
}

template <int D>
std::uint32_t PendingCalls<D>::open(AnyCallback<D>&& callback, const Treatment& treatment,
                                    Nanoseconds now) {
  const std::uint32_t index = take_slot();
  Call<D>& call = *calls_[index];
  call.callback = std::move(callback);
  call.chosen = Access::kMessaging;
  call.chosen_by_policy = false;
  call.holding = false;
  call.given_back = false;
  call.any = false;
  call.is_repeatable = treatment.is_repeatable;
  call.is_own = treatment.is_own;
  call.in_doubt = false;
  call.losses = 0;
  call.link = nullptr;
  call.started = now;
  call.patience = treatment.is_patient ? patience_ : 0;
  call.deadline = now + (treatment.is_patient ? patience_ : deadline_);
  call.bytes = 0;
  call.message.clear();
  call.cost = {};
  call.set_access(Access::kMessaging);
  call.clear_answer();
  note_deadline(call, now);
  if (!call.is_own) ++in_flight_;
  return index;
}

template <int D>
std::optional<std::uint32_t> PendingCalls<D>::find(std::uint32_t name) const {
  const std::uint32_t index = name & (kMostCalls - 1);
  if (index >= size() || id(index) != name) return std::nullopt;
  return index;
}

template <int D>
request::Envelope PendingCalls<D>::envelope(std::uint32_t index) const {
  const Call<D>& call = *calls_[index];
  request::Envelope envelope{.id = id(index)};
  if (call.any) envelope.flags = protocol::kAnyMember;
  if (call.is_write()) {
    envelope.sequence = call.sequence;
    envelope.outstanding = writes.outstanding(call.sequence);
  }
  return envelope;
}

template <int D>
std::optional<std::uint32_t> PendingCalls<D>::move_on(std::uint32_t index) {
  if (!has_room_for_own()) return std::nullopt;
  const std::uint32_t slot = take_slot();
  std::swap(calls_[index], calls_[slot]);
  // Names stay with their slots.
  std::swap(calls_[index]->generation, calls_[slot]->generation);
  calls_[index]->state = CallState::kForgotten;
  calls_[index]->link = calls_[slot]->link;
  return slot;
}

template <int D>
void PendingCalls<D>::forget_given_back(const Link<D>* link) {
  for (const auto& call : calls_) {
    if (call->link == link) call->given_back = false;
  }
}

template <int D>
void PendingCalls<D>::release(std::uint32_t index) {
  // Room for a long message or answer is not kept.
  for (std::vector<std::byte>* bytes : {&calls_[index]->message, &calls_[index]->got_bytes}) {
    if (bytes->capacity() > kMostKeptBytes) *bytes = {};
  }
  calls_[index]->state = CallState::kFree;
  calls_[index]->link = nullptr;
  ++calls_[index]->generation;
  free_.push_back(index);
}

template <int D>
void PendingCalls<D>::end(std::uint32_t index, const Error* error, Nanoseconds now) {
  Call<D>& call = *calls_[index];
  const bool is_answer_to_come = call.state == CallState::kForgotten;
  if (error == nullptr && (call.is_write() || (call.is_search() && call.as_of() == 0))) {
    newest_ = std::max(newest_, call.version());
  }
  if (!is_answer_to_come) call.state = CallState::kDelivering;
  record(call, error != nullptr, now);
  if (!call.is_own) --in_flight_;
  if (call.is_write()) writes.resolve(call.sequence);
  call.deliver(error);
  if (!is_answer_to_come) release(index);
}

template <int D>
void PendingCalls<D>::record(const Call<D>& call, bool has_failed, Nanoseconds now) {
  if (!call.is_search() && !call.is_write()) return;
  AccessStatistics& of = call.is_write()                     ? statistics.writes
                         : call.access() == Access::kOffload ? statistics.offload
                                                             : statistics.messaging;
  if (has_failed) {
    ++of.failed;
    return;
  }
  ++of.completed;
  of.latency.add(static_cast<std::uint64_t>(std::max<Nanoseconds>(0, now - call.started)));
  of.round_trips += call.cost.round_trips;
  of.bytes += call.bytes + call.cost.bytes_read;
  of.nodes_read += call.cost.nodes_read;
  of.reads += call.cost.reads;
  of.cache_hits += call.cost.cache_hits;
  of.cache_misses += call.cost.cache_misses;
  of.restarts += call.cost.restarts;
}

// --- the queue -----------------------------------------------------------------------------------

template <int D>
void PendingCalls<D>::queue(std::uint32_t index) {
  calls_[index]->state = CallState::kQueued;
  calls_[index]->link = nullptr;
  queue_.push_back(id(index));
}

template <int D>
void PendingCalls<D>::put_back(std::uint32_t index) {
  Call<D>& call = *calls_[index];
  call.holding = false;
  call.given_back = false;
  call.any = false;
  call.chosen_by_policy = false;
  call.set_access(Access::kMessaging);
  call.clear_answer();
  if (call.patience != 0) {
    call.deadline = clock_.now() + call.patience;
    note_deadline(call, call.deadline);
  }
  queue(index);
}

template <int D>
void PendingCalls<D>::refuse_answer(std::uint32_t index, Nanoseconds now) {
  ++statistics.refused_answers;
  refused_at_ = now;
  put_back(index);
}

/// Whether what was under way when the link was lost can be begun again.
template <int D>
bool PendingCalls<D>::may_repeat(const Call<D>& call, const Error& why, bool remembers) const {
  if (!is_repeating_ || call.is_own || why.code != ErrorCode::kConnectionLost ||
      call.losses + 1 >= kMaxLosses) {
    return false;
  }
  if (call.is_search()) return true;
  if (call.is_write()) return call.state != CallState::kSent || (remembers && has_client_id_);
  return call.is_repeatable;
}

template <int D>
void PendingCalls<D>::lose(std::uint32_t index, const Error& why, bool remembers) {
  Call<D>& call = *calls_[index];
  if (call.state == CallState::kForgotten) return release(index);
  if (!may_repeat(call, why, remembers)) {
    const Error error = call.failure(why);
    return end(index, &error, clock_.now());
  }
  ++call.losses;
  call.in_doubt |= call.is_write() && call.state == CallState::kSent;
  put_back(index);
}

/// Takes calls out of the queue that have ended by their deadline.
template <int D>
void PendingCalls<D>::forget_ended() {
  std::erase_if(queue_, [&](std::uint32_t name) { return !find(name); });
}

template <int D>
std::vector<std::uint32_t> PendingCalls<D>::take_queue() {
  std::vector<std::uint32_t> taken;
  forget_ended();
  for (const std::uint32_t name : std::exchange(queue_, {})) taken.push_back(*find(name));
  std::ranges::stable_sort(taken, {}, [&](std::uint32_t index) {
    return calls_[index]->is_write() ? calls_[index]->sequence : 0;
  });
  return taken;
}

template <int D>
Nanoseconds PendingCalls<D>::queue_deadline() const {
  Nanoseconds earliest = INT64_MAX;
  for (const std::uint32_t name : queue_) {
    if (const auto index = find(name)) earliest = std::min(earliest, calls_[*index]->deadline);
  }
  return earliest;
}

template <int D>
void PendingCalls<D>::end_queue(const Error& why) {
  for (const std::uint32_t index : take_queue()) {
    const Error error = calls_[index]->failure(why);
    end(index, &error, clock_.now());
  }
}

template class PendingCalls<2>;
template class PendingCalls<3>;

}  // namespace silurus::client
