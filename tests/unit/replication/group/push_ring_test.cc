// SPDX-License-Identifier: Apache-2.0

#include "replication/group/push_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <deque>
#include <string>

#include "common/random.h"
#include "tests/support/seed.h"

namespace silurus::replication::group {
namespace {

constexpr GroupId kRingsGroup = 4711;

/// A window in memory, and a mailbox, as a connection's two sides see them. What is written stays
/// under way until land() is called, word by word in any order.
class Window final : public transport::Connection {
 public:
  explicit Window(std::size_t bytes) : memory_(bytes / 8) {}
  std::span<const std::byte> memory() const { return std::as_bytes(std::span(memory_)); }

  std::uint64_t peer_window_bytes() const override { return memory_.size() * 8; }
  transport::PostStatus post_write(std::uint64_t offset,
                                   std::span<const std::byte> bytes) override {
    for (std::size_t at = 0; at < bytes.size(); at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, sizeof word);
      under_way_.emplace_back((offset + at) / 8, word);
    }
    return transport::PostStatus::kPosted;
  }
  std::size_t under_way() const { return under_way_.size(); }
  void land(std::size_t words) {
    for (; words > 0 && !under_way_.empty(); --words) {
      memory_[under_way_.front().first] = under_way_.front().second;
      under_way_.pop_front();
    }
  }
  void lose() { under_way_.clear(); }
  void land_all_in_any_order(Random& random) {
    for (std::size_t i = under_way_.size(); i > 1; --i) {
      std::swap(under_way_[i - 1], under_way_[random.below(i)]);
    }
    land(under_way_.size());
  }

  void write_mailbox(std::span<const std::byte> bytes) override {
    mailbox_.emplace();
    std::memcpy(mailbox_->data(), bytes.data(), bytes.size());
  }
  bool read_mailbox(std::array<std::byte, transport::kMailboxBytes>& content) override {
    if (mailbox_) content = *mailbox_;
    return mailbox_.has_value();
  }

  void set_handler(transport::ConnectionHandler*) override {}
  const transport::ConnectionLimits& limits() const override { return limits_; }
  std::span<const std::byte> peer_hello() const override { return {}; }
  std::string peer() const override { return "window"; }
  std::span<std::byte> reserve(std::size_t) override { return {}; }
  void commit(std::size_t) override {}
  void flush() override {}
  PostResult post_reads(std::span<const transport::ReadRequest>) override {
    return {0, transport::PostStatus::kUnknownRegion};
  }
  void set_paused(bool) override {}
  void close() override {}
  const transport::ConnectionCounters& counters() const override { return counters_; }

 private:
  std::vector<std::uint64_t> memory_;
  std::deque<std::pair<std::size_t, std::uint64_t>> under_way_;
  std::optional<std::array<std::byte, transport::kMailboxBytes>> mailbox_;
  transport::ConnectionLimits limits_{};
  transport::ConnectionCounters counters_;
};

std::vector<std::byte> message_of(std::uint64_t number, std::size_t payload,
                                  GroupId group = kRingsGroup, Epoch epoch = 3) {
  const LogBody body{
      .lsn = number * 8, .end = UINT64_MAX / 16 * 8, .end_chain = 0, .commit = 0, .heartbeat = 1};
  const std::vector<std::byte> bytes(payload, static_cast<std::byte>(number));
  std::vector<std::byte> message(kMaxGroupMessageBytes);
  message.resize(encode_message(group,
                                {.checksum = 0,
                                 .sender = 1,
                                 .incarnation = 2,
                                 .epoch = epoch,
                                 .length = 0,
                                 .kind = Kind::kLog,
                                 .flags = 0},
                                std::as_bytes(std::span(&body, 1)), bytes, message));
  return message;
}
std::vector<std::byte> copy_of(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(PushRing, HandsOverWhatWasWrittenInOrderAroundAndAround) {
  Random random(testing_support::fresh_seed());
  Window window(transport::kWindowGrain);
  PushWriter writer;
  PushReader reader(kRingsGroup, window.memory());
  std::deque<std::vector<std::byte>> written;
  std::uint64_t read = 0;
  for (std::uint64_t number = 1; number < 3000; ++number) {
    const auto message = message_of(number, 8 * random.below(100));
    if (writer.push(window, message)) written.push_back(message);
    window.land_all_in_any_order(random);
    if (random.below(3) == 0) continue;  // it reads at its own pace
    for (auto next = reader.next(); !next.empty(); next = reader.next()) {
      ASSERT_FALSE(written.empty());
      ASSERT_EQ(copy_of(next), written.front());
      written.pop_front();
      ++read;
    }
    reader.tell(window);
  }
  EXPECT_GT(read, 1500u);
}

TEST(PushRing, OverwritesNothingThatWasNotRead) {
  Window window(transport::kWindowGrain);
  PushWriter writer;
  PushReader reader(kRingsGroup, window.memory());
  const auto message = message_of(1, 1000);
  std::size_t pushed = 0;
  while (writer.push(window, message)) ++pushed;
  EXPECT_EQ(pushed, 3u);
  window.land(window.under_way());
  for (std::size_t i = 0; i < pushed; ++i) EXPECT_EQ(copy_of(reader.next()), message);
  EXPECT_TRUE(reader.next().empty());
  EXPECT_FALSE(writer.push(window, message)) << "the reader has not said that it was read";
  reader.tell(window);
  EXPECT_TRUE(writer.push(window, message));
}

TEST(PushRing, TakesNoTornMessageHoweverItIsTorn) {
  const auto first = message_of(1, 200);
  const auto second = message_of(2, 400);
  for (std::size_t words = 0;; ++words) {
    Window window(transport::kWindowGrain);
    PushWriter writer;
    PushReader reader(kRingsGroup, window.memory());
    // The memory is not fresh: a lap of other messages lies there.
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(writer.push(window, message_of(100, 8 * (i % 7))));
      window.land(window.under_way());
      ASSERT_FALSE(reader.next().empty());
      reader.tell(window);
    }
    ASSERT_TRUE(writer.push(window, first));
    window.land(window.under_way());
    ASSERT_TRUE(writer.push(window, second));
    const std::size_t all = window.under_way();
    window.land(words);
    window.lose();  // the writer is gone in the middle of it
    EXPECT_EQ(copy_of(reader.next()), first);
    const auto torn = reader.next();
    if (words >= all) {
      EXPECT_EQ(copy_of(torn), second);
      break;
    }
    ASSERT_TRUE(torn.empty()) << words << " of " << all << " words";
  }
}

TEST(PushRing, TakesNothingOfAnotherGroup) {
  Window window(transport::kWindowGrain);
  PushWriter writer;
  PushReader reader(kRingsGroup, window.memory());
  ASSERT_TRUE(writer.push(window, message_of(1, 80, kRingsGroup + 1)));
  window.land(window.under_way());
  EXPECT_TRUE(reader.next().empty());
}

TEST(PushRing, BelievesNoReaderThatHasReadWhatWasNeverWritten) {
  Window window(transport::kWindowGrain);
  PushWriter writer;
  const auto message = message_of(1, 1000);
  std::uint64_t written = 0;
  while (writer.push(window, message)) {
    written += (message.size() + 7) / 8 * 8 + sizeof(PushTrailer);
  }
  for (const std::uint64_t impossible : {written + 8, UINT64_MAX / 2}) {
    window.write_mailbox(std::as_bytes(std::span(&impossible, 1)));
    EXPECT_FALSE(writer.push(window, message)) << impossible;
  }
}

}  // namespace
}  // namespace silurus::replication::group
