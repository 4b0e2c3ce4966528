// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/pipe.h"

#include <algorithm>
#include <utility>

namespace silurus::transport::sim {

Pipe::Pipe(Host& from, Host& to, const FabricOptions& options, Deliver deliver, Broken broken)
    : from_(from),
      to_(to),
      from_incarnation_(from.incarnation()),
      to_incarnation_(to.incarnation()),
      options_(options),
      deliver_(std::move(deliver)),
      broken_(std::move(broken)),
      retry_after_(options.retry) {}

/// Whether the sending card still has power and a reason to send.
bool Pipe::works() const {
  return !is_stopped_ && from_.alive() && from_.incarnation() == from_incarnation_;
}

void Pipe::stop() { is_stopped_ = true; }

void Pipe::send(Item item) {
  if (!works()) return;
  if (options_.is_lossless) {
    transmit(std::make_shared<const Numbered>(Numbered{next_number_++, std::move(item)}));
    return;
  }
  if (unacknowledged_.empty()) waiting_since_ = from_.awake_time();
  auto numbered = std::make_shared<const Numbered>(Numbered{next_number_++, std::move(item)});
  unacknowledged_.push_back(numbered);
  transmit(numbered);
  watch();
}

void Pipe::transmit(const std::shared_ptr<const Numbered>& numbered) {
  World& world = from_.world();
  const auto arrival =
      world.transmit(from_, to_, numbered->item.bytes.size() + kPacketOverheadBytes);
  if (!arrival) return;
  last_arrival_ = std::max(last_arrival_, *arrival);
  world.at(last_arrival_, [self = shared_from_this(), numbered] { self->arrive(*numbered); });
}

void Pipe::arrive(const Numbered& numbered) {
  const bool is_there = to_.alive() && to_.incarnation() == to_incarnation_;
  const bool is_kept = options_.is_kept && to_.keeps(to_incarnation_);
  if (is_stopped_ || to_.suspended() || (!is_there && !is_kept)) return;
  if (numbered.number > expected_) return;  // one before it was lost: it will come again
  if (numbered.number == expected_) {
    if (is_there && !deliver_(numbered.item)) return;
    ++expected_;
    from_.world().trace(Trace::kDeliver, to_.index(), numbered.number);
  }
  if (!options_.is_lossless) acknowledge();
}

void Pipe::acknowledge() {
  World& world = to_.world();
  const auto arrival = world.transmit(to_, from_, kPacketOverheadBytes);
  if (!arrival) return;
  world.at(*arrival, [self = shared_from_this(), next = expected_] { self->acknowledged(next); });
}

void Pipe::acknowledged(std::uint64_t next) {
  if (!works()) return;
  while (!unacknowledged_.empty() && unacknowledged_.front()->number < next) {
    unacknowledged_.pop_front();
    waiting_since_ = from_.awake_time();
    retry_after_ = options_.retry;
  }
}

/// Keeps one timer running while anything is unacknowledged.
void Pipe::watch() {
  if (is_watched_) return;
  is_watched_ = true;
  from_.world().after(retry_after_, [self = shared_from_this()] {
    self->is_watched_ = false;
    self->retry();
  });
}

void Pipe::retry() {
  if (!works() || unacknowledged_.empty()) return;
  const Nanoseconds waited = from_.awake_time() - waiting_since_;
  if (waited >= options_.give_up) {
    is_stopped_ = true;
    return broken_();
  }
  if (waited >= retry_after_) {
    retry_after_ = std::min(2 * retry_after_, kMaxRetryFactor * options_.retry);
    for (const auto& numbered : unacknowledged_) transmit(numbered);
  }
  watch();
}

}  // namespace silurus::transport::sim
