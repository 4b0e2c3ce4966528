// SPDX-License-Identifier: Apache-2.0

#include "transport/probes/loop.h"
#include "transport/probes/probe.h"
#include "transport/probes/raw_client.h"

namespace silurus::transport::probes {
namespace {

constexpr int kRounds = 20000;
/// What one probe takes at most, on a slow card: fewer rounds tell less, but enough.
constexpr Nanoseconds kMostTime = 4 * kSecond;
constexpr std::uint64_t kOnes = 0x0101010101010101u;

std::atomic_ref<std::uint64_t> at(std::uint64_t& word) { return std::atomic_ref(word); }

std::uint64_t word_of(std::span<const std::byte> bytes, std::size_t index) {
  std::uint64_t word;
  std::memcpy(&word, bytes.data() + 8 * index, 8);
  return word;
}

/// Whether a probe may go on: rounds and time are left.
class Rounds {
 public:
  bool next() { return round_++ < kRounds && SystemClock().now() < end_; }

 private:
  int round_ = 0;
  Nanoseconds end_ = SystemClock().now() + kMostTime;
};

/// A processor stores words of eight equal bytes: a read never shows two different ones in a word.
Status probe_words(Fabric& fabric, const std::string& host) {
  auto loop = Loop::create(fabric, host);
  if (!loop) return fail(std::move(loop.error()));
  std::atomic<bool> stop = false;
  std::jthread writer([&] {
    for (std::uint64_t value = 0; !stop; value = (value + 1) & 0xff) {
      for (int i = 0; i < 64; ++i) {
        at((*loop)->words()[i]).store(value * kOnes, std::memory_order_relaxed);
      }
    }
  });
  Status result;
  for (Rounds rounds; result && rounds.next();) {
    auto seen = (*loop)->read(512);
    if (!seen) {
      result = fail(std::move(seen.error()));
      break;
    }
    for (std::size_t i = 0; i < 64; ++i) {
      const std::uint64_t word = word_of(*seen, i);
      if (word != (word & 0xff) * kOnes) {
        result = fail(ErrorCode::kUnsupported, "a word was torn: " + std::to_string(word));
      }
    }
  }
  stop = true;
  return result;
}

/// A processor counts up: reads, one after the other, never see it go back, in any of many words.
Status probe_order(Fabric& fabric, const std::string& host) {
  auto loop = Loop::create(fabric, host);
  if (!loop) return fail(std::move(loop.error()));
  constexpr std::size_t kWords = Loop::kRegion / 8;
  std::atomic<bool> stop = false;
  std::jthread writer([&] {
    for (std::uint64_t value = 1; !stop; ++value) {
      at((*loop)->words()[value * 513 % kWords]).store(value, std::memory_order_release);
      at((*loop)->words()[0]).store(value, std::memory_order_release);
    }
  });
  Status result;
  std::uint64_t newest = 0;
  for (Rounds rounds; result && rounds.next();) {
    auto seen = (*loop)->read(8);
    if (!seen) {
      result = fail(std::move(seen.error()));
    } else if (word_of(*seen, 0) < newest) {
      result = fail(ErrorCode::kUnsupported, "a later read saw an older value");
    } else {
      newest = word_of(*seen, 0);
    }
  }
  stop = true;
  return result;
}

/// Messages of many lengths, each byte of which says whose it is.
Status probe_messages(Fabric& fabric, const std::string& host) {
  auto loop = Loop::create(fabric, host);
  if (!loop) return fail(std::move(loop.error()));
  (*loop)->server_round = [](Connection& connection) {
    static thread_local std::uint64_t number = 0;
    const std::size_t length = 8 + number * 97 % 6000;
    const auto room = connection.reserve(length);
    if (room.empty()) return;
    std::memset(room.data(), static_cast<int>(number & 0xff), length);
    std::memcpy(room.data(), &number, sizeof(number));
    connection.commit(length);
    ++number;
  };
  std::uint64_t expected = 0;
  const Nanoseconds end = SystemClock().now() + kMostTime;
  while (expected < kRounds && SystemClock().now() < end) {
    (*loop)->progress();
    for (const auto& message : (*loop)->at_client().messages) {
      bool right = word_of(message, 0) == expected && message.size() == 8 + expected * 97 % 6000;
      for (std::size_t i = 8; right && i < message.size(); ++i) {
        right = message[i] == static_cast<std::byte>(expected & 0xff);
      }
      if (!right)
        return fail(ErrorCode::kUnsupported,
                    "message " + std::to_string(expected) + " was damaged");
      ++expected;
    }
    (*loop)->at_client().messages.clear();
  }
  if (expected == 0)
    return fail(ErrorCode::kUnsupported, "no message came; " + (*loop)->at_client().closed);
  return {};
}

/// Mailboxes of equal words that count up.
Status probe_mailbox(Fabric& fabric, const std::string& host) {
  auto loop = Loop::create(fabric, host);
  if (!loop) return fail(std::move(loop.error()));
  (*loop)->server_round = [](Connection& connection) {
    static thread_local std::uint64_t number = 0;
    std::array<std::uint64_t, kMailboxBytes / 8> words;
    words.fill(++number);
    connection.write_mailbox(std::as_bytes(std::span(words)));
  };
  std::uint64_t newest = 0;
  const Nanoseconds end = SystemClock().now() + kSecond;
  std::array<std::byte, kMailboxBytes> content;
  while (SystemClock().now() < end) {
    (*loop)->progress();
    if (!(*loop)->client().read_mailbox(content)) continue;
    for (std::size_t i = 0; i < kMailboxBytes / 8; ++i) {
      if (word_of(content, i) != word_of(content, 0) || word_of(content, 0) < newest) {
        return fail(ErrorCode::kUnsupported, "a mailbox was torn or went back");
      }
    }
    newest = word_of(content, 0);
  }
  if (newest == 0) return fail(ErrorCode::kUnsupported, "no mailbox came");
  return {};
}

/// A client that keeps to no rules: the card must refuse it, and the other connection must go on.
Status probe_rights(Fabric& fabric, const std::string& host) {
  using verbs::RawClient;
  auto loop = Loop::create(fabric, host);
  if (!loop) return fail(std::move(loop.error()));
  enum class Attempt { kWrite, kReadBeyond, kReadRing };
  for (const Attempt attempt : {Attempt::kWrite, Attempt::kReadBeyond, Attempt::kReadRing}) {
    RawClient raw;
    if (!raw.connect((*loop)->address())) return fail(ErrorCode::kIo, "no second connection");
    const Nanoseconds end = SystemClock().now() + kMostTime;
    while (!raw.region(0)) {
      if (SystemClock().now() > end) return fail(ErrorCode::kIo, "no region was announced");
      std::this_thread::yield();
    }
    const auto region = *raw.region(0);
    const ibv_wc_status status =
        attempt == Attempt::kWrite ? raw.run(IBV_WR_RDMA_WRITE, region.address, region.key, 64)
        : attempt == Attempt::kReadBeyond
            ? raw.run(IBV_WR_RDMA_READ, region.address + Loop::kRegion - 32, region.key, 64)
            : raw.run(IBV_WR_RDMA_READ, raw.reply().inbox_address, raw.reply().inbox_key, 64);
    if (status != IBV_WC_REM_ACCESS_ERR) {
      return fail(ErrorCode::kPermission, std::string("not refused: ") + ibv_wc_status_str(status));
    }
    if (auto seen = (*loop)->read(64); !seen) return fail(std::move(seen.error()));
  }
  return {};
}

constexpr Probe kProbes[] = {
    {"word", "an aligned 8-byte word is read in one piece", probe_words},
    {"order", "a later read sees memory no older", probe_order},
    {"message", "a completed write is there whole, and in order", probe_messages},
    {"mailbox", "a mailbox is read whole, and never goes back", probe_mailbox},
    {"rights", "what is not allowed is refused, and harms no other connection", probe_rights},
};

}  // namespace

std::span<const Probe> all() { return kProbes; }

}  // namespace silurus::transport::probes
