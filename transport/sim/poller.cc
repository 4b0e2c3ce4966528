// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/poller.h"

#include <utility>

#include "transport/sim/endpoint.h"

namespace silurus::transport::sim {

void SimPoller::set_wake(std::function<void()> wake) {
  wake_ = std::move(wake);
  if (has_events()) this->wake();
}

void SimPoller::wake() {
  if (wake_ && alive()) wake_();
}

void SimPoller::add_ready(std::shared_ptr<Endpoint> endpoint) {
  endpoint->is_ready = true;
  ready_.push_back(std::move(endpoint));
  wake();
}

void SimPoller::add_unflushed(std::shared_ptr<Endpoint> endpoint) {
  endpoint->is_unflushed = true;
  unflushed_.push_back(std::move(endpoint));
}

void SimPoller::add_task(std::function<void()> task) {
  tasks_.push_back(std::move(task));
  wake();
}

void SimPoller::flush_all() {
  for (const auto& endpoint : std::exchange(unflushed_, {})) {
    endpoint->is_unflushed = false;
    endpoint->flush();
  }
}

std::size_t SimPoller::progress() {
  if (!alive()) return 0;
  flush_all();
  std::size_t events = 0;
  for (auto& task : std::exchange(tasks_, {})) {
    task();
    ++events;
  }
  for (const auto& endpoint : std::exchange(ready_, {})) {
    if (endpoint->poller == nullptr) continue;
    events += endpoint->dispatch();
  }
  flush_all();
  return events;
}

Result<std::unique_ptr<Buffer>> SimPoller::allocate_buffer(std::size_t bytes) {
  if (bytes == 0) return fail(ErrorCode::kInvalidArgument, "a buffer of 0 bytes");
  return std::make_unique<SimBuffer>(bytes);
}

}  // namespace silurus::transport::sim
