// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "transport/fabric.h"

namespace silurus::transport::probes {

/// A connection of this host to itself through the card: a server driven by a thread of its own, a
/// client driven by the caller, and memory that the server exposes.
class Loop : public AcceptHandler {
 public:
  static constexpr std::size_t kRegion = 1 << 16;

  static Result<std::unique_ptr<Loop>> create(Fabric& fabric, const std::string& host) {
    std::unique_ptr<Loop> loop(new Loop);
    if (auto status = loop->start(fabric, host); !status) return fail(std::move(status.error()));
    return loop;
  }
  ~Loop() override {
    client_.reset();
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    accepted_.reset();
    listener_.reset();
    if (memory_ != MAP_FAILED) munmap(memory_, kRegion);
  }

  struct Handler : ConnectionHandler {
    void on_message(Connection&, std::span<const std::byte> message) override {
      messages.emplace_back(message.begin(), message.end());
    }
    void on_read(Connection&, std::uint64_t, bool ok) override { reads += ok ? 1 : 0; }
    void on_writable(Connection&) override {}
    void on_closed(Connection&, const Error& reason) override { closed = reason.message; }
    std::vector<std::vector<std::byte>> messages;
    std::uint64_t reads = 0;
    std::string closed;
  };

  Connection& client() { return *client_; }
  Address address() const { return listener_->address(); }
  Handler& at_client() { return at_client_; }
  void progress() { client_poller_->progress(); }
  /// Called by the server's thread in every round, with its end.
  std::atomic<void (*)(Connection&)> server_round{nullptr};
  std::uint64_t* words() { return static_cast<std::uint64_t*>(memory_); }

  /// Reads the first `bytes` of the memory one-sidedly.
  Result<std::span<const std::byte>> read(std::uint32_t bytes) {
    const ReadRequest request{0, 0, bytes, buffer_.get(), 0, 0};
    const std::uint64_t before = at_client_.reads;
    const Nanoseconds end = SystemClock().now() + 10 * kSecond;
    bool posted = false;
    while (at_client_.reads == before) {
      if (!posted) posted = client_->post_reads({&request, 1}).posted == 1;
      progress();
      if (SystemClock().now() > end) {
        return fail(ErrorCode::kDeadlineExceeded, "a read did not complete; " + at_client_.closed);
      }
    }
    return std::span<const std::byte>(buffer_->bytes().first(bytes));
  }

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte>,
                                          const transport::Caller&) override {
    return std::vector<std::byte>{};
  }
  void on_accept(std::unique_ptr<Connection> connection, Poller&) override {
    connection->set_handler(&at_server_);
    // Others (probe_rights') are refused service by dropping them later, with the loop.
    (accepted_ ? others_.emplace_back() : accepted_) = std::move(connection);
  }

 private:
  Loop() = default;

  Status start(Fabric& fabric, const std::string& host) {
    auto server_poller = fabric.create_poller();
    auto client_poller = fabric.create_poller();
    if (!server_poller || !client_poller) return fail(ErrorCode::kIo, "no poller");
    server_poller_ = std::move(*server_poller);
    client_poller_ = std::move(*client_poller);
    ListenOptions options;
    options.allow_other_users = true;
    Poller* const pollers[] = {server_poller_.get()};
    auto listener = fabric.listen({"rdma", host, "0", ""}, options, pollers, *this);
    if (!listener) return fail(std::move(listener.error()));
    listener_ = std::move(*listener);
    memory_ = mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) return fail(errno_error(ErrorCode::kOutOfMemory, "mmap", errno));
    auto exposed = listener_->expose({{static_cast<std::byte*>(memory_), kRegion}, -1});
    if (!exposed) return exposed;
    thread_ = std::thread([this] {
      while (!stop_) {
        server_poller_->progress();
        if (const auto round = server_round.load(); round != nullptr && accepted_)
          round(*accepted_);
      }
    });
    auto client = fabric.connect(listener_->address(), {}, *client_poller_, {}, at_client_);
    if (!client) return fail(std::move(client.error()));
    client_ = std::move(*client);
    auto buffer = client_poller_->allocate_buffer(kRegion);
    if (!buffer) return fail(std::move(buffer.error()));
    buffer_ = std::move(*buffer);
    return {};
  }

  void* memory_ = MAP_FAILED;
  std::unique_ptr<Poller> server_poller_, client_poller_;
  Handler at_server_, at_client_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Connection> accepted_, client_;
  std::vector<std::unique_ptr<Connection>> others_;
  std::unique_ptr<Buffer> buffer_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace silurus::transport::probes
