// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "protocol/decode.h"
#include "transport/fabric.h"

namespace silurus::server::test {

/// The server's end of a connection whose other end is the test: what the session sends is kept,
/// as long as there is room, and the test says how much room there is.
class Loopback final : public transport::Connection {
 public:
  /// `hello`: what the client said of itself.
  explicit Loopback(std::uint32_t max_message_bytes, std::vector<std::byte> hello = {})
      : limits_{.max_message_bytes = max_message_bytes,
                .max_reads_in_flight = 0,
                .max_read_bytes = 0},
        hello_(std::move(hello)) {}

  // --- the test's side
  /// Messages that may still be sent before the session is told that it would block.
  void set_room(std::size_t messages) { room_ = messages; }
  void give_room(std::size_t messages) {
    room_ = messages;
    if (std::exchange(blocked_, false)) handler_->on_writable(*this);
  }
  /// The client reads one-sidedly.
  void show_regions() { shows_regions_ = true; }
  template <typename Encode>
  void request(std::size_t bytes, const Encode& encode) {
    std::vector<std::byte> message(bytes);
    encode(std::span(message));
    handler_->on_message(*this, message);
  }
  void raw(std::span<const std::byte> message) { handler_->on_message(*this, message); }
  void hang_up() { handler_->on_closed(*this, {ErrorCode::kConnectionLost, "hung up"}); }
  bool closed() const { return closed_; }
  /// Whether the session wants no more requests for now (they come all the same, as those do that
  /// were on their way).
  bool paused() const { return paused_; }
  std::size_t waiting() const { return sent_.size(); }
  struct Received {
    std::vector<std::byte> bytes;
    protocol::Answer answer;
  };
  /// The oldest message not looked at yet, checked.
  Received receive() {
    SILURUS_CHECK(!sent_.empty());
    Received received{std::move(sent_.front()), {}};
    sent_.pop_front();
    const auto answer = protocol::decode_answer(received.bytes);
    SILURUS_CHECK(answer.has_value());
    received.answer = *answer;
    return received;
  }
  const std::vector<std::byte>& mailbox() const { return mailbox_; }
  std::size_t heartbeats() const { return heartbeats_; }

  // --- the session's side
  void set_handler(transport::ConnectionHandler* handler) override { handler_ = handler; }
  const transport::ConnectionLimits& limits() const override { return limits_; }
  std::span<const std::byte> peer_hello() const override { return hello_; }
  std::string peer() const override { return "loopback"; }
  bool shows_regions() const override { return shows_regions_; }
  std::span<std::byte> reserve(std::size_t bytes) override {
    SILURUS_CHECK(bytes <= limits_.max_message_bytes);
    if (room_ == 0 || closed_) {
      blocked_ = true;
      return {};
    }
    reserved_.assign(bytes, std::byte{0});
    return reserved_;
  }
  void commit(std::size_t bytes) override {
    if (bytes == 0) return;
    --room_;
    reserved_.resize(bytes);
    sent_.push_back(reserved_);
  }
  void flush() override {}
  PostResult post_reads(std::span<const transport::ReadRequest>) override {
    return {0, transport::PostStatus::kInvalid};
  }
  void write_mailbox(std::span<const std::byte> bytes) override {
    mailbox_.assign(bytes.begin(), bytes.end());
    ++heartbeats_;
  }
  bool read_mailbox(std::array<std::byte, transport::kMailboxBytes>&) override { return false; }
  void set_paused(bool paused) override { paused_ = paused; }
  void close() override { closed_ = true; }
  const transport::ConnectionCounters& counters() const override { return counters_; }

 private:
  transport::ConnectionLimits limits_;
  std::vector<std::byte> hello_;
  transport::ConnectionCounters counters_;
  transport::ConnectionHandler* handler_ = nullptr;
  std::size_t room_ = std::numeric_limits<std::size_t>::max();
  bool blocked_ = false;
  bool closed_ = false;
  bool paused_ = false;
  bool shows_regions_ = false;
  std::vector<std::byte> reserved_;
  std::deque<std::vector<std::byte>> sent_;
  std::vector<std::byte> mailbox_;
  std::size_t heartbeats_ = 0;
};

}  // namespace silurus::server::test
