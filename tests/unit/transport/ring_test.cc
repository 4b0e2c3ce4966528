// SPDX-License-Identifier: Apache-2.0

#include "transport/ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "common/random.h"

namespace silurus::transport {
namespace {

constexpr std::uint32_t kRing = kMinRingBytes;
constexpr std::size_t kLines = kRing / kLineBytes;

struct alignas(kLineBytes) Memory {
  std::array<std::byte, kRing> bytes{};
};

class Ring : public ::testing::Test {
 protected:
  bool send(std::size_t length, std::byte fill) {
    const auto room = producer.reserve(length);
    if (room.empty()) return false;
    std::fill(room.begin(), room.end(), fill);
    producer.commit(length);
    return true;
  }
  /// Takes one message; its length, 0 if there is none.
  std::size_t receive(std::byte fill) {
    const auto next = consumer.peek();
    EXPECT_NE(next.state, RingConsumer::State::kBroken);
    if (next.state != RingConsumer::State::kMessage) return 0;
    EXPECT_TRUE(std::all_of(next.message.begin(), next.message.end(),
                            [&](std::byte byte) { return byte == fill; }));
    const std::size_t length = next.message.size();
    consumer.pop();
    return length;
  }
  void write_word(std::size_t line, std::uint64_t word) {
    std::memcpy(memory->bytes.data() + line * kLineBytes, &word, sizeof(word));
  }
  RingConsumer::State state() { return consumer.peek().state; }

  std::unique_ptr<Memory> memory = std::make_unique<Memory>();
  RingProducer producer{memory->bytes};
  RingConsumer consumer{memory->bytes};
};

TEST_F(Ring, IsEmptyAtFirst) {
  EXPECT_EQ(state(), RingConsumer::State::kEmpty);
  EXPECT_FALSE(consumer.ready());
}

TEST_F(Ring, CarriesAMessageOf56BytesInOneLine) {
  ASSERT_TRUE(send(kInlineBytes, std::byte{1}));
  EXPECT_EQ(producer.position(), 1u);
  ASSERT_TRUE(send(kInlineBytes + 1, std::byte{2}));
  EXPECT_EQ(producer.position(), 3u);
  EXPECT_EQ(receive(std::byte{1}), kInlineBytes);
  EXPECT_EQ(receive(std::byte{2}), kInlineBytes + 1);
  EXPECT_EQ(receive(std::byte{0}), 0u);
}

TEST_F(Ring, StopsTheProducerUntilCreditComes) {
  std::size_t sent = 0;
  while (send(40, std::byte{3})) ++sent;
  EXPECT_EQ(sent, kLines);
  EXPECT_FALSE(producer.has_room(1));
  std::size_t received = 0;
  while (!consumer.credit_due()) received += receive(std::byte{3}) != 0;
  EXPECT_EQ(received, kLines / 4);
  EXPECT_FALSE(producer.has_room(1)) << "not told yet";
  ASSERT_TRUE(producer.grant(consumer.take_credit()));
  EXPECT_TRUE(producer.has_room(1));
}

TEST_F(Ring, AlwaysHasRoomForTheLongestOnceAllIsReadWhateverCreditIsOutstanding) {
  const std::size_t longest = max_message_bytes(kRing);
  for (std::size_t small = 0; small < 3 * kLines; ++small) {
    ASSERT_TRUE(producer.has_room(longest)) << "at line " << small;
    ASSERT_TRUE(send(1, std::byte{4}));
    ASSERT_EQ(receive(std::byte{4}), 1u);
    if (consumer.credit_due()) {
      ASSERT_TRUE(producer.grant(consumer.take_credit()));
    }
  }
}

TEST_F(Ring, KeepsOrderAndContentUnderRandomUse) {
  constexpr std::uint64_t kSeed = 99;
  std::printf("seed %lu\n", static_cast<unsigned long>(kSeed));
  Random random(kSeed);
  const std::size_t longest = max_message_bytes(kRing);
  struct Sent {
    std::size_t length;
    std::byte fill;
  };
  std::deque<Sent> under_way;
  for (int step = 0; step < 200000; ++step) {
    if (random.below(2) == 0) {
      const std::size_t reserved = 1 + random.below(random.below(3) == 0 ? longest : 130);
      const auto room = producer.reserve(reserved);
      if (room.empty()) continue;
      const Sent message{1 + random.below(reserved), static_cast<std::byte>(step)};
      // Fills it all with words that look like the header that comes next, then the message.
      for (std::size_t at = 0; at + 8 <= room.size(); at += 8) {
        const auto position = producer.position() + random.below(2 * kLines);
        const auto header = SlotHeader::make(position, SlotKind::kInline, 8);
        std::memcpy(room.data() + at, &header, sizeof(header));
      }
      std::fill_n(room.begin(), message.length, message.fill);
      producer.commit(message.length);
      under_way.push_back(message);
    } else {
      const auto next = consumer.peek();
      ASSERT_EQ(next.state,
                under_way.empty() ? RingConsumer::State::kEmpty : RingConsumer::State::kMessage)
          << "step " << step;
      if (under_way.empty()) continue;
      ASSERT_EQ(next.message.size(), under_way.front().length);
      ASSERT_TRUE(std::all_of(next.message.begin(), next.message.end(),
                              [&](std::byte byte) { return byte == under_way.front().fill; }));
      under_way.pop_front();
      consumer.pop();
      if (consumer.credit_due()) {
        ASSERT_TRUE(producer.grant(consumer.take_credit()));
      }
    }
  }
}

// The payload of an earlier lap is exactly what the reader will look for.
TEST_F(Ring, NeverTakesAMessagesOwnBytesForAHeader) {
  const std::vector<std::size_t> lengths = {64, 120, 121, 300, 504, 600};
  for (std::size_t lap = 0; lap < 10 * lengths.size(); ++lap) {
    const std::size_t length = lengths[lap % lengths.size()];
    // Behind the header's word lies what was built in private memory, else it begins a line.
    const std::size_t offset = length <= 504 ? kHeaderBytes : kLineBytes;
    const auto room = producer.reserve(length);
    ASSERT_FALSE(room.empty());
    for (std::size_t at = 0; at + 8 <= room.size(); at += 8) {
      const std::uint64_t line = producer.position() + (offset + at) / kLineBytes;
      const auto header = SlotHeader::make(line + kLines, SlotKind::kInline, 1);
      std::memcpy(room.data() + at, &header, sizeof(header));
    }
    producer.commit(length);
    ASSERT_EQ(state(), RingConsumer::State::kMessage);
    consumer.pop();
    for (int i = 0; i < 150; ++i) {
      ASSERT_EQ(state(), RingConsumer::State::kEmpty) << "after one of " << length << " bytes";
      ASSERT_TRUE(send(10, std::byte{1}));
      ASSERT_EQ(receive(std::byte{1}), 10u);
      ASSERT_TRUE(producer.grant(consumer.take_credit()));
    }
  }
}

TEST_F(Ring, TellsWhichBytesACommitChanged) {
  ASSERT_FALSE(producer.reserve(10).empty());
  auto extent = producer.commit(10);
  EXPECT_EQ(extent.offset, 0u);
  EXPECT_EQ(extent.bytes, 18u);
  EXPECT_EQ(extent.skip_offset, RingProducer::kNoSkip);
  ASSERT_FALSE(producer.reserve(1000).empty());
  extent = producer.commit(1000);
  EXPECT_EQ(extent.offset, kLineBytes);
  EXPECT_EQ(extent.bytes, kLineBytes + 1000);
  while (producer.position() < kLines - 2) {
    ASSERT_TRUE(send(1, std::byte{0}));
  }
  while (state() == RingConsumer::State::kMessage) consumer.pop();
  ASSERT_TRUE(producer.grant(consumer.take_credit()));
  ASSERT_FALSE(producer.reserve(200).empty());
  extent = producer.commit(200);
  EXPECT_EQ(extent.offset, 0u) << "wrapped";
  EXPECT_EQ(extent.skip_offset, (kLines - 2) * kLineBytes);
}

TEST_F(Ring, RefusesCreditThatCannotBe) {
  ASSERT_TRUE(send(1, std::byte{0}));
  ASSERT_TRUE(send(1, std::byte{0}));
  EXPECT_FALSE(producer.grant(3));
  EXPECT_FALSE(producer.grant(~std::uint64_t{0}));
  EXPECT_TRUE(producer.grant(1));
  EXPECT_FALSE(producer.grant(0)) << "backwards";
}

TEST_F(Ring, FindsHostileHeaders) {
  const auto hostile = [&](SlotKind kind, std::size_t length) {
    write_word(0, SlotHeader::make(0, kind, length).word);
    return RingConsumer(memory->bytes).peek().state;
  };
  EXPECT_EQ(hostile(SlotKind::kInline, 8), RingConsumer::State::kMessage);
  EXPECT_EQ(hostile(SlotKind::kInline, 0), RingConsumer::State::kBroken);
  EXPECT_EQ(hostile(SlotKind::kInline, max_message_bytes(kRing) + 1), RingConsumer::State::kBroken);
  EXPECT_EQ(hostile(SlotKind::kAligned, SlotHeader::kLengthMask), RingConsumer::State::kBroken);
  EXPECT_EQ(hostile(SlotKind{0}, 8), RingConsumer::State::kBroken);
  EXPECT_EQ(hostile(SlotKind{15}, 8), RingConsumer::State::kBroken);
  EXPECT_EQ(hostile(SlotKind::kSkip, 0), RingConsumer::State::kBroken) << "skips to itself";
}

TEST_F(Ring, FindsMessagesThatReachBeyondItsEnd) {
  while (producer.position() < kLines - 1) {
    ASSERT_TRUE(send(1, std::byte{0}));
    ASSERT_EQ(receive(std::byte{0}), 1u);
    ASSERT_TRUE(producer.grant(consumer.take_credit()));
  }
  write_word(kLines - 1, SlotHeader::make(kLines - 1, SlotKind::kInline, 57).word);
  EXPECT_EQ(state(), RingConsumer::State::kBroken);
  write_word(kLines - 1, SlotHeader::make(kLines - 1, SlotKind::kAligned, 1).word);
  EXPECT_EQ(state(), RingConsumer::State::kBroken);
  write_word(kLines - 1, SlotHeader::make(kLines - 1, SlotKind::kSkip, 0).word);
  EXPECT_EQ(state(), RingConsumer::State::kBroken) << "a skip that leads to nothing";
}

TEST_F(Ring, SurvivesRandomMemory) {
  constexpr std::uint64_t kSeed = 5;
  std::printf("seed %lu\n", static_cast<unsigned long>(kSeed));
  Random random(kSeed);
  for (int round = 0; round < 20000; ++round) {
    for (std::size_t line = 0; line < kLines; ++line) {
      // Tags that match, everything else at random.
      write_word(line,
                 SlotHeader::tag(line) | (random() & ((1u << SlotHeader::kSequenceShift) - 1)));
    }
    RingConsumer reader(memory->bytes);
    for (std::size_t messages = 0; messages <= kLines; ++messages) {
      const auto next = reader.peek();
      if (next.state != RingConsumer::State::kMessage) break;
      ASSERT_GE(next.message.data(), memory->bytes.data());
      ASSERT_LE(next.message.data() + next.message.size(), memory->bytes.data() + kRing);
      reader.pop();
    }
  }
}

TEST(RingSize, IsAPowerOfTwoWithinLimits) {
  EXPECT_TRUE(is_ring_size(kMinRingBytes));
  EXPECT_TRUE(is_ring_size(kMaxRingBytes));
  EXPECT_FALSE(is_ring_size(0));
  EXPECT_FALSE(is_ring_size(kMinRingBytes / 2));
  EXPECT_FALSE(is_ring_size(kMaxRingBytes * 2));
  EXPECT_FALSE(is_ring_size(kMinRingBytes + 64));
  EXPECT_FALSE(is_ring_size(~std::uint64_t{0}));
  EXPECT_EQ(max_message_bytes(kMaxRingBytes), kMaxMessageBytes);
}

}  // namespace
}  // namespace silurus::transport
