// SPDX-License-Identifier: Apache-2.0

#include "transport/shm/poller.h"

#include <atomic>
#include <new>

#include "common/check.h"
#include "transport/shm/connection.h"
#include "transport/shm/sleeping.h"

namespace silurus::transport::shm {
namespace {

/// Work (sweeps, and messages at kWorkPerMessage each) between two looks at epoll: how late a
/// doorbell may be heard by a poller that is awake, against a system call per look.
constexpr int kWorkPerLook = 256;
constexpr int kWorkPerMessage = 8;
/// What our owner does between two sweeps (searches, slices of long answers) may take long, and
/// new connections wait for the next look: after this time we look in any case. The clock is read
/// once in kSweepsPerClockRead sweeps.
constexpr Nanoseconds kLongestUnlooked = 200 * kMicrosecond;
constexpr int kSweepsPerClockRead = 8;
/// So few connections are swept for ever: it costs less than waking them.
constexpr std::size_t kAlwaysActive = 8;
/// Silence after which a connection becomes dormant, if there are more than that.
constexpr Nanoseconds kIdle = kMillisecond;

class HeapBuffer final : public Buffer {
 public:
  explicit HeapBuffer(std::span<std::byte> bytes) { bytes_ = bytes; }
  ~HeapBuffer() override { ::operator delete (bytes_.data(), std::align_val_t{kLineBytes}); }
};

bool matches(const std::uint64_t* word, std::uint64_t tag) {
  // acquire: pairs with the release store of RingProducer::store_header.
  const std::uint64_t value = std::atomic_ref<std::uint64_t>(*const_cast<std::uint64_t*>(word))
                                  .load(std::memory_order_acquire);
  return SlotHeader::matches(value, tag);
}

}  // namespace

void full_fence() {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
  // TSan does not model fences; nothing that it checks depends on this one (the messages are
  // published by release stores).
  std::atomic_thread_fence(std::memory_order_seq_cst);
#pragma GCC diagnostic pop
}

Result<std::unique_ptr<ShmPoller>> ShmPoller::create() {
  auto loop = EventLoop::create();
  if (!loop) return fail(std::move(loop.error()));
  return std::unique_ptr<ShmPoller>(new ShmPoller(std::move(*loop)));
}

ShmPoller::~ShmPoller() = default;

Result<std::unique_ptr<Buffer>> ShmPoller::allocate_buffer(std::size_t bytes) {
  void* at = ::operator new (bytes, std::align_val_t{kLineBytes}, std::nothrow);
  if (at == nullptr) {
    return fail(ErrorCode::kOutOfMemory,
                "cannot allocate a buffer of " + std::to_string(bytes) + " bytes");
  }
  return std::make_unique<HeapBuffer>(std::span(static_cast<std::byte*>(at), bytes));
}

std::size_t ShmPoller::progress() {
  SILURUS_CHECK(!in_progress_);
  in_progress_ = true;
  std::size_t events = 0;
  if (!bells_.empty()) ring_bells();
  if (!completions_.empty()) {
    completions_.take([&](ShmConnection& c) { events += c.complete_reads(); });
  }
  events += sweep();
  if (is_time_to_look(events)) {
    events += loop_->poll();
    look_around();
    until_look_ = kWorkPerLook;
  }
  events += finish_round();
  in_progress_ = false;
  return events;
}

bool ShmPoller::is_time_to_look(std::size_t messages) {
  until_look_ -= 1 + static_cast<int>(messages) * kWorkPerMessage;
  if (active_.empty()) return true;
  if (until_look_ >= 0 && --until_clock_read_ > 0) return false;
  until_clock_read_ = kSweepsPerClockRead;
  const Nanoseconds now = SystemClock().now();
  if (until_look_ >= 0 && now - looked_at_ < kLongestUnlooked) return false;
  looked_at_ = now;
  return true;
}

std::size_t ShmPoller::sweep() {
  std::size_t messages = 0;
  for (std::size_t i = 0; i < active_.size();) {
    if (!matches(active_[i].word, active_[i].tag)) {
      ++i;
      continue;
    }
    ShmConnection* connection = active_[i].connection;
    messages += connection->receive();
    // A callback may have destroyed other connections, and so moved this one.
    if (i >= active_.size() || active_[i].connection != connection) continue;
    active_[i].word = connection->sweep_word();
    active_[i].tag = connection->sweep_tag();
    active_[i].touched = true;
    ++i;
  }
  return messages;
}

std::size_t ShmPoller::finish_round() {
  std::size_t events = 0;
  if (!blocked_.empty()) {
    blocked_.take([&](ShmConnection& c) {
      if (c.retry_blocked()) {
        ++events;
      } else {
        blocked_.add(c);
      }
    });
  }
  if (!bells_.empty()) ring_bells();
  if (!closing_.empty()) {
    closing_.take([&](ShmConnection& c) {
      c.report_closed();
      ++events;
    });
  }
  return events;
}

void ShmPoller::ring_bells() {
  // One fence for all that was published since the last.
  look_for_sleepers(full_fence,
                    [this] { bells_.take([](ShmConnection& c) { c.ring_from_list(); }); });
}

/// Sends connections that have been silent for long to sleep.
void ShmPoller::look_around() {
  if (active_.size() <= kAlwaysActive) return;
  const Nanoseconds now = SystemClock().now();
  for (std::size_t i = 0; i < active_.size();) {
    Swept& swept = active_[i];
    if (swept.touched || swept.last_active == 0) {
      swept.last_active = now;
      swept.touched = false;
    }
    ShmConnection* const connection = swept.connection;
    if (now - swept.last_active < kIdle || active_.size() <= kAlwaysActive) {
      ++i;
      continue;
    }
    fall_asleep(
        1, full_fence, [&](std::size_t) { connection->set_asleep(); },
        [&](std::size_t) {
          if (!connection->has_work()) {
            deactivate(*connection);  // another one takes its place at i
          } else if (connection->sweep_index != ShmConnection::kDormant) {
            connection->set_awake();
            active_[i++].last_active = now;
          }  // else it broke the protocol, was cut off, and another one is at i
        });
  }
}

bool ShmPoller::arm() {
  if (!bells_.empty()) ring_bells();
  if (!completions_.empty() || !closing_.empty()) return false;
  fall_asleep(
      active_.size(), full_fence, [this](std::size_t i) { active_[i].connection->set_asleep(); },
      [this](std::size_t i) {
        ShmConnection* const connection = active_[i].connection;
        if (connection->has_work()) {
          connection->set_awake();
        } else {
          deactivate(*connection);
        }
      });
  until_look_ = 0;
  return active_.empty() && closing_.empty();
}

void ShmPoller::activate(ShmConnection& connection) {
  connection.set_awake();
  if (connection.sweep_index != ShmConnection::kDormant) return;
  connection.sweep_index = static_cast<std::uint32_t>(active_.size());
  active_.push_back({connection.sweep_word(), connection.sweep_tag(), &connection, 0, true});
}

void ShmPoller::refresh(ShmConnection& connection) {
  if (connection.sweep_index == ShmConnection::kDormant) return;
  active_[connection.sweep_index].word = connection.sweep_word();
  active_[connection.sweep_index].tag = connection.sweep_tag();
}

void ShmPoller::deactivate(ShmConnection& connection) {
  const std::uint32_t index = connection.sweep_index;
  if (index == ShmConnection::kDormant) return;
  active_[index] = active_.back();
  active_[index].connection->sweep_index = index;
  active_.pop_back();
  connection.sweep_index = ShmConnection::kDormant;
}

void ShmPoller::detach(ShmConnection& connection) {
  deactivate(connection);
  bells_.remove(connection);
  completions_.remove(connection);
  blocked_.remove(connection);
  closing_.remove(connection);
}

}  // namespace silurus::transport::shm
