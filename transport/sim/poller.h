// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "transport/fabric.h"
#include "transport/sim/host.h"

namespace silurus::transport::sim {

struct Endpoint;

/// A cache line: what a buffer of any fabric is aligned to.
struct alignas(64) BufferLine {
  std::byte bytes[64];
};
using BufferLines = std::vector<BufferLine>;

/// A buffer whose bytes outlast it while a read is under way.
class SimBuffer final : public Buffer {
 public:
  explicit SimBuffer(std::size_t bytes) : lines_(std::make_shared<BufferLines>((bytes + 63) / 64)) {
    bytes_ = std::as_writable_bytes(std::span(*lines_)).first(bytes);
  }
  const std::shared_ptr<BufferLines>& lines() const { return lines_; }

 private:
  std::shared_ptr<BufferLines> lines_;
};

/// What has happened to the connections of one process, until it asks.
class SimPoller final : public Poller {
 public:
  explicit SimPoller(Host& host) : host_(host), incarnation_(host.incarnation()) {}

  std::size_t progress() override;
  bool arm() override { return !has_events(); }
  int fd() const override { return -1; }
  Result<std::unique_ptr<Buffer>> allocate_buffer(std::size_t bytes) override;

  Host& host() const { return host_; }
  /// Whether the host that it was made on has not crashed since.
  bool alive() const { return host_.alive() && host_.incarnation() == incarnation_; }
  bool has_events() const { return !tasks_.empty() || !ready_.empty(); }
  /// Called when something has happened: by Process::watch.
  void set_wake(std::function<void()> wake);

  // --- for endpoints and listeners
  void add_ready(std::shared_ptr<Endpoint> endpoint);
  /// Committed messages to be sent by the next progress().
  void add_unflushed(std::shared_ptr<Endpoint> endpoint);
  /// Something to be done within progress(): an accept, the end of a connect.
  void add_task(std::function<void()> task);

 private:
  void wake();
  void flush_all();

  Host& host_;
  const std::uint32_t incarnation_;
  std::function<void()> wake_;
  std::deque<std::function<void()>> tasks_;
  std::vector<std::shared_ptr<Endpoint>> ready_;
  std::vector<std::shared_ptr<Endpoint>> unflushed_;
};

}  // namespace silurus::transport::sim
