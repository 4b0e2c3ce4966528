// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "transport/sim/host.h"
#include "transport/sim/options.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

/// What travels from one end of a connection to the other, in order and once.
struct Item {
  enum class Kind : std::uint8_t {
    kMessage,  ///< number: bytes of ring that are free again, as with kCredit
    kCredit,   ///< number: bytes of ring that are free again
    kMailbox,  ///< bytes: its new content
    kRegions,  ///< number: of regions exposed so far
    kWindow,   ///< number: bytes of the window offered
    kWrite,    ///< number: offset in the window
    kClose,
  };
  Kind kind;
  std::uint64_t number = 0;
  std::vector<std::byte> bytes;
};

/// One direction of a connection: a reliable, ordered stream of items over links that lose packets
/// and can be cut, by sequence numbers, acknowledgements and going back to what was not
/// acknowledged, all done by the two cards: a paused host's card goes on, a crashed one's is
/// silent.
class Pipe : public std::enable_shared_from_this<Pipe> {
 public:
  /// False: the receiving end is broken, and its card does not acknowledge.
  using Deliver = std::function<bool(const Item&)>;
  using Broken = std::function<void()>;

  /// `deliver` is called at the instant of arrival, `broken` when it gives up. The sender's
  /// options.
  Pipe(Host& from, Host& to, const FabricOptions& options, Deliver deliver, Broken broken);
  void send(Item item);
  /// Nothing is sent, delivered or reported any more.
  void stop();

 private:
  struct Numbered {
    std::uint64_t number;
    Item item;
  };

  bool works() const;
  void transmit(const std::shared_ptr<const Numbered>& numbered);
  void arrive(const Numbered& numbered);
  void acknowledge();
  void acknowledged(std::uint64_t next);
  void watch();
  void retry();

  Host& from_;
  Host& to_;
  const std::uint32_t from_incarnation_;
  const std::uint32_t to_incarnation_;
  const FabricOptions options_;
  Deliver deliver_;
  Broken broken_;
  bool is_stopped_ = false;
  std::uint64_t next_number_ = 0;  // to send
  std::uint64_t expected_ = 0;     // at the receiver
  Nanoseconds last_arrival_ = 0;   // packets don't overtake each other
  std::deque<std::shared_ptr<const Numbered>> unacknowledged_;
  Nanoseconds waiting_since_ = 0;
  Nanoseconds retry_after_ = 0;
  bool is_watched_ = false;
};

}  // namespace silurus::transport::sim
