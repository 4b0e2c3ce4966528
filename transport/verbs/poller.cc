// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/poller.h"

#include <algorithm>

#include "common/clock.h"
#include "transport/verbs/connection.h"
#include "transport/verbs/listener.h"

namespace silurus::transport::verbs {
namespace {

/// Rounds in which a spinning thread looks at its file descriptors once (a system call): they carry
/// set-up, ends and ticks, never messages.
constexpr unsigned kRoundsPerLook = 64;

std::atomic<std::uint64_t> next_serial{1};  // relaxed: a counter

}  // namespace

Result<std::unique_ptr<VerbsBuffer>> VerbsBuffer::create(
    const std::vector<std::shared_ptr<Device>>& devices, std::size_t bytes) {
  auto pages = Pages::allocate(bytes);
  if (!pages) return fail(std::move(pages.error()));
  std::unique_ptr<VerbsBuffer> buffer(new VerbsBuffer(std::move(*pages)));
  for (const auto& device : devices) {
    auto area = LandingArea::create(device, buffer->bytes_);
    if (!area) return fail(std::move(area.error()));
    buffer->areas_.emplace_back(device.get(), std::move(*area));
  }
  return buffer;
}

std::uint32_t VerbsBuffer::key_on(const Device& device) const {
  for (const auto& [owner, area] : areas_) {
    if (owner == &device) return area.local_key();
  }
  return 0;
}

VerbsPoller::VerbsPoller(std::shared_ptr<Control> control, std::unique_ptr<EventLoop> loop)
    : control_(std::move(control)),
      loop_(std::move(loop)),
      gate_(std::make_shared<PollerGate>(this)) {}

Result<std::unique_ptr<VerbsPoller>> VerbsPoller::create(std::shared_ptr<Control> control) {
  auto loop = EventLoop::create();
  if (!loop) return fail(std::move(loop.error()));
  std::unique_ptr<VerbsPoller> poller(new VerbsPoller(std::move(control), std::move(*loop)));
  auto timer = Timer::create(*poller->loop_, [raw = poller.get()] { raw->tick(); });
  if (!timer) return fail(std::move(timer.error()));
  poller->timer_ = std::move(*timer);
  return poller;
}

VerbsPoller::~VerbsPoller() {
  gate_->close();
  accepted_.clear();
}

void VerbsPoller::post(std::function<void(VerbsPoller&)> task) {
  loop_->post([this, task = std::move(task)] { task(*this); });
}

std::uint64_t VerbsPoller::new_serial() {
  return next_serial.fetch_add(1, std::memory_order_relaxed);
}

Result<std::unique_ptr<Buffer>> VerbsPoller::allocate_buffer(std::size_t bytes) {
  auto buffer = VerbsBuffer::create(control_->devices(), bytes);
  if (!buffer) return fail(std::move(buffer.error()));
  return std::unique_ptr<Buffer>(std::move(*buffer));
}

Result<std::shared_ptr<Queues>> VerbsPoller::take_queues(const std::shared_ptr<Device>& device,
                                                         std::uint32_t completions,
                                                         std::uint32_t new_completions) {
  const std::lock_guard lock(queues_mutex_);
  for (const auto& queues : queues_) {
    if (queues->device() == device && queues->take(completions)) return queues;
  }
  auto made = Queues::create(device, std::max(new_completions, 2 * completions), gate_);
  if (!made) return made;
  if (!(*made)->take(completions)) {
    return fail(ErrorCode::kTooLarge, device->name() + " has no room for a connection's " +
                                          std::to_string(completions) + " completions");
  }
  queues_.push_back(*made);
  return made;
}

Status VerbsPoller::add(std::uint64_t serial, Endpoint& endpoint,
                        const std::shared_ptr<Queues>& queues) {
  if (auto attached = queues->attach(*loop_); !attached) return attached;
  if (std::find(driven_.begin(), driven_.end(), queues) == driven_.end()) {
    driven_.push_back(queues);
  }
  endpoints_[serial] = &endpoint;
  tick_by(endpoint.tick(SystemClock().now()));
  return {};
}

void VerbsPoller::remove(std::uint64_t serial, Endpoint& endpoint) {
  endpoints_.erase(serial);
  std::erase(held_back_, &endpoint);
  std::erase(unread_, &endpoint);
  std::erase(ended_, &endpoint);
}

void VerbsPoller::tick_by(Nanoseconds time) {
  if (time >= next_tick_) return;
  next_tick_ = time;
  timer_->set(time);
}

void VerbsPoller::add_accepted(std::unique_ptr<VerbsConnection> connection) {
  const std::uint64_t serial = connection->serial();
  if (!connection->listener()->expects(serial)) return;
  if (auto status = connection->start(); !status) return;
  accepted_[serial] = std::move(connection);
}

void VerbsPoller::on_established(std::uint64_t serial) {
  const auto found = accepted_.find(serial);
  if (found == accepted_.end()) return;
  std::unique_ptr<VerbsConnection> connection = std::move(found->second);
  accepted_.erase(found);
  const std::shared_ptr<ListenerState> listener = connection->listener();
  if (!listener->meet(serial)) return;
  connection->mark_accepted();
  tick_by(SystemClock().now());  // from now on it looks after its peer
  listener->deliver(std::move(connection), *this);
}

void VerbsPoller::on_lost(std::uint64_t serial, const Error& reason) {
  lost_.emplace_back(serial, reason);
}

void VerbsPoller::on_last_receive(std::uint32_t pair_number) {
  for (const auto& queues : driven_) queues->on_last_receive(pair_number);
  tick_by(SystemClock().now());
}

void VerbsPoller::on_few_receives(const ibv_srq& queue) {
  for (std::size_t i = 0; i < driven_.size(); ++i) {
    if (driven_[i]->owns(queue)) driven_[i]->on_few_receives();
  }
}

void VerbsPoller::report_lost() {
  // What the peers sent before comes first.
  for (std::size_t i = 0; i < driven_.size(); ++i) {
    while (driven_[i]->poll() != 0) continue;
  }
  while (!lost_.empty()) {
    const auto [serial, reason] = std::move(lost_.back());
    lost_.pop_back();
    if (accepted_.erase(serial) != 0) continue;  // never established: its owner does not know of it
    const auto found = endpoints_.find(serial);
    if (found != endpoints_.end()) found->second->on_lost(reason);
  }
}

void VerbsPoller::announce_regions(const ListenerState& listener) {
  for (const auto& [serial, endpoint] : endpoints_) {
    auto* const connection = dynamic_cast<VerbsConnection*>(endpoint);
    if (connection != nullptr && connection->listener().get() == &listener) {
      connection->announce_regions();
    }
  }
}

std::size_t VerbsPoller::progress() {
  in_progress_ = true;
  const std::size_t events = run_round();
  in_progress_ = false;
  return events;
}

std::size_t VerbsPoller::run_round() {
  std::size_t events = 0;
  if (armed_ || ++rounds_ % kRoundsPerLook == 0) {
    armed_ = false;
    events += loop_->poll();
  }
  // By index: a callback may connect, and so add queues.
  for (std::size_t i = 0; i < driven_.size(); ++i) events += driven_[i]->poll();
  if (!lost_.empty()) report_lost();
  while (!unread_.empty()) {
    Endpoint* const endpoint = unread_.back();
    unread_.pop_back();
    endpoint->receive_messages();
    ++events;
  }
  post_held_back();
  return events + report_all_ended();
}

void VerbsPoller::post_held_back() {
  for (std::size_t i = 0; i < held_back_.size(); ++i) held_back_[i]->post_held_back();
  held_back_.clear();
}

std::size_t VerbsPoller::report_all_ended() {
  std::size_t reported = 0;
  while (!ended_.empty()) {
    Endpoint* const endpoint = ended_.back();
    ended_.pop_back();
    endpoint->report_ended();
    ++reported;
  }
  return reported;
}

bool VerbsPoller::arm() {
  post_held_back();
  bool quiet = ended_.empty() && unread_.empty();
  for (const auto& queues : driven_) quiet = queues->arm() && quiet;
  armed_ = true;
  return quiet;
}

void VerbsPoller::look() { rounds_ = kRoundsPerLook - 1; }

void VerbsPoller::tick() {
  next_tick_ = kNever;
  const Nanoseconds now = SystemClock().now();
  Nanoseconds next = kNever;
  for (const auto& [serial, endpoint] : endpoints_) next = std::min(next, endpoint->tick(now));
  for (const auto& queues : driven_) next = std::min(next, queues->reap(now));
  tick_by(next);
}

}  // namespace silurus::transport::verbs
