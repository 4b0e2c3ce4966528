// SPDX-License-Identifier: Apache-2.0

#include "transport/ring.h"

#include <deque>

#include "fuzz/target.h"

// The ring between two processes: an honest producer whose every message arrives as it was sent;
// then one that writes into the ring whatever it likes, and grants credit at random.

namespace silurus::fuzz {
namespace {

using namespace transport;
constexpr std::size_t kMaxOperations = 256;

std::vector<std::byte> message_of(std::size_t bytes, std::uint8_t value) {
  return std::vector<std::byte>(bytes, std::byte{value});
}

class Pair {
 public:
  Pair() : memory_({}, kMinRingBytes), producer_(memory_.bytes()), consumer_(memory_.bytes()) {}

  /// Reserves, and commits a part of it, or none.
  void send(std::uint16_t size, std::uint8_t part, std::uint8_t value) {
    const std::size_t bytes = 1 + size % max_message_bytes(kMinRingBytes);
    const bool has_room = producer_.has_room(bytes);
    const auto room = producer_.reserve(bytes);
    SILURUS_CHECK(has_room == !room.empty());
    if (room.empty()) return;
    SILURUS_CHECK(room.size() == bytes);
    if (part == 0) return producer_.cancel();
    const std::size_t used = 1 + (bytes - 1) * part / UINT8_MAX;
    const auto message = message_of(used, value);
    std::memcpy(room.data(), message.data(), used);
    const auto extent = producer_.commit(used);
    SILURUS_CHECK(extent.offset + extent.bytes <= kMinRingBytes);
    if (is_honest_) sent_.push_back(message);
  }

  /// False if nothing came.
  bool receive() {
    const auto peeked = consumer_.peek();
    SILURUS_CHECK(consumer_.ready() || peeked.state != RingConsumer::State::kMessage);
    if (peeked.state != RingConsumer::State::kMessage) {
      SILURUS_CHECK(!is_honest_ || (peeked.state == RingConsumer::State::kEmpty && sent_.empty()));
      return false;
    }
    SILURUS_CHECK(peeked.message.size() <= max_message_bytes(kMinRingBytes));
    if (is_honest_) {
      SILURUS_CHECK(!sent_.empty() && is_equal(peeked.message, sent_.front()));
      sent_.pop_front();
    } else {
      const AlignedCopy copy(peeked.message);  // every byte of it is in the ring
    }
    consumer_.pop();
    return true;
  }

  void grant() {
    if (!consumer_.credit_due()) return;
    SILURUS_CHECK(producer_.grant(consumer_.take_credit()) || !is_honest_);
  }
  void grant(std::uint64_t consumed) { producer_.grant(consumed); }

  /// From here on there is no telling what arrives.
  void overwrite(std::size_t offset, std::uint64_t word) {
    is_honest_ = false;
    std::memcpy(memory_.bytes().data() + offset % kMinRingBytes / 8 * 8, &word, sizeof word);
  }
  std::uint64_t position() const { return producer_.position(); }

 private:
  AlignedCopy memory_;
  RingProducer producer_;
  RingConsumer consumer_;
  std::deque<std::vector<std::byte>> sent_;
  bool is_honest_ = true;
};

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  Pair pair;
  for (std::size_t i = 0; i < kMaxOperations && !input.rest().empty(); ++i) {
    const auto operation = input.take<std::uint8_t>();
    switch (operation % 8) {
      case 0:
      case 1:
      case 2: {
        const auto size = input.take<std::uint16_t>();
        const auto part = input.take<std::uint8_t>();
        pair.send(operation < 128 ? size % 64 : size, part, static_cast<std::uint8_t>(i));
        break;
      }
      case 3:
      case 4:
        pair.receive();
        break;
      case 5:
        pair.grant();
        break;
      case 6: {  // a header that the reader would look at, or nearly
        const std::uint64_t line = pair.position() + input.take<std::int8_t>();
        const auto low = input.take<std::uint32_t>() & ((1u << SlotHeader::kSequenceShift) - 1);
        pair.overwrite(line % (kMinRingBytes / kLineBytes) * kLineBytes,
                       SlotHeader::tag(line) | low);
        break;
      }
      default:
        if (operation < 128) {
          pair.overwrite(input.take<std::uint16_t>(), input.take<std::uint64_t>());
        } else {
          pair.overwrite(0, 0);
          pair.grant(input.take<std::uint64_t>());
        }
    }
  }
  while (pair.receive()) {
  }
}

std::vector<std::string> seeds() {
  std::string honest;
  for (int i = 0; i < 24; ++i)
    honest += std::string("\x00\x20\x00\xff\x80\x00\x07\xff\x03\x03\x05", 11);
  return {honest, std::string("\x00\x20\x00\xff\x06\x01\x10\x00\x10\x00\x03\x03", 12),
          std::string("\x07\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x03\xff\x01\x00", 15)};
}

}  // namespace silurus::fuzz
