// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "replication/group/assembler.h"
#include "replication/group/links.h"
#include "replication/group/replicator.h"

namespace silurus::replication::group {

struct ReplicatorOptions {
  /// Age from which on a gap is asked for: datagrams that are only out of order fill it by
  /// themselves.
  Nanoseconds gap_patience = 200 * kMicrosecond;
  /// Time after which an unanswered request is repeated.
  Nanoseconds fetch_timeout = 20 * kMillisecond;
  /// Shortest pause between two looks of a receiver at its window, since what is pushed there wakes
  /// no thread. The pauses grow while nothing comes.
  Nanoseconds soonest_look = 50 * kMicrosecond;
  /// Longest of these pauses.
  Nanoseconds latest_look = 2 * kMillisecond;
};

/// What all ways of replication have in common: how a member falls in step with a primary, puts
/// pieces of its log together, and fetches those that are missing, from the primary's window,
/// without the primary's processor, or by asking for them where that doesn't work; and what the
/// primary answers. How the primary's log goes out in the first place is its subclasses' matter.
/// See Replicator.
class LogReplicator : public Replicator {
 public:
  /// log, links: must outlive it.
  LogReplicator(const ReplicatorOptions& options, GroupId group, Log& log, Links& links);

  void enter(const View& view) override { asks_first_ = view.ack == Ack::kMetadata; }
  void lead(const SenderId& self) override;
  void tell(Lsn commit, std::uint64_t heartbeat) override;
  void beat(Lsn commit, std::uint64_t heartbeat) override;
  void serve(const Message<FetchBody>& fetch) override;

  void follow(const SenderId& self, const SenderId& primary, LogPosition safe,
              Nanoseconds now) override;
  void leave() override;
  void on_log(const Message<LogBody>& message, Nanoseconds now) override;
  void on_fetched(const Message<FetchBody>& message, Nanoseconds now) override;
  void on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes,
                       Nanoseconds now) override;
  Status step(Nanoseconds now) override;
  std::optional<Nanoseconds> deadline() const override;
  /// False if the tree must be copied, though what is here of the log is right.
  bool in_step() const override { return phase_ == Phase::kFollowing && !needs_copy_; }
  Lsn received() const override;
  Lsn known() const override { return std::max(told_.lsn, answered_end_.value_or(0)); }
  bool needs_copy() const override { return needs_copy_; }
  Lsn copy_needs() const override;
  bool contradicts() const override { return contradicts_; }

  ReplicatorCounters counters() const override;

 protected:
  /// At the primary: [from, end) of the log is new, and goes out for the first time.
  virtual void ship(Lsn from, Lsn end, Lsn commit, std::uint64_t heartbeat) = 0;
  /// At any other member: bytes of the primary's log came that we did not have.
  virtual void pass_on(const Message<LogBody>& /*message*/) {}

  /// Encodes [from, end) of the log as messages of at most `most` bytes and hands each one to
  /// `use`; one without payload if there is nothing.
  template <typename Use>
  void in_messages(Lsn from, Lsn end, std::size_t most, Lsn commit, std::uint64_t heartbeat,
                   const Use& use) {
    do {
      const std::size_t bytes = std::min<std::uint64_t>(payload_room(most), end - from);
      use(log_message(from, bytes, commit, heartbeat));
      from += bytes;
    } while (from < end);
  }
  /// Sends to all at once.
  void broadcast(std::span<const std::byte> message);
  /// The same message, as we would send it.
  std::span<const std::byte> again(const Message<LogBody>& message);
  bool is_following() const { return phase_ != Phase::kIdle; }
  /// Looks for what was pushed, if it is time.
  void look(Nanoseconds now);
  Links& links() { return links_; }
  MemberId self() const { return self_.member; }
  std::string label() const {
    return "member " + std::to_string(self_.member) + ", epoch " + std::to_string(self_.epoch);
  }
  ReplicatorCounters& counting() { return counters_; }

 private:
  /// How a member gets in step with a primary that it has not followed yet.
  enum class Phase : std::uint8_t {
    kIdle,       ///< follows no member
    kListening,  ///< knows nothing of the primary's log yet
    kTrying,  ///< does a record of the primary's log follow the end of ours? Then ours is a part.
    kComparing,  ///< record by record, from where both are surely equal
    kFollowing,  ///< in step
  };
  struct Fetch {
    Lsn lsn = 0;
    std::size_t bytes = 0;
    Nanoseconds asked_at = 0;
    bool by_read = false;
    std::uint64_t cookie = 0;
  };

  static std::size_t payload_room(std::size_t message_bytes) {
    return (message_bytes - kLogOverheadBytes) / 8 * 8;
  }
  template <typename Body>
  std::span<const std::byte> encode(Kind kind, std::uint8_t flags, const Body& body,
                                    std::span<const std::byte> payload);
  std::span<const std::byte> log_message(Lsn from, std::size_t bytes, Lsn commit,
                                         std::uint64_t heartbeat);
  void answer(MemberId to, Lsn lsn, std::span<const std::byte> bytes, std::uint8_t flags);
  void fill_window();
  std::span<const std::byte> log_bytes(Lsn from, std::size_t bytes);

  void ask(Lsn lsn, std::uint64_t bytes, Nanoseconds now);
  void ask_by_message(const Fetch& fetch);
  void on_bytes(Lsn lsn, std::span<const std::byte> bytes, Nanoseconds now);
  Status find_step(Nanoseconds now);
  Status settle(LogPosition common);
  void compare(std::span<const std::byte> bytes);
  Status place();
  void ask_for_gap(Nanoseconds now);
  std::optional<Nanoseconds> fetch_deadline() const;

  const ReplicatorOptions options_;
  const GroupId group_;
  Log& log_;
  Links& links_;
  SenderId self_;
  std::array<std::byte, kMaxGroupMessageBytes> message_;
  std::vector<std::byte> copy_;  ///< bytes of the log that wrap around, in one piece

  // The primary.
  bool is_leading_ = false;
  Lsn sent_ = 0;    ///< all before it was sent once
  Lsn filled_ = 0;  ///< all before it is in the window, as far as it reaches back

  // Any other.
  Phase phase_ = Phase::kIdle;
  SenderId primary_;
  LogPosition told_;  ///< the newest end of the primary's log that we know of
  Assembler assembler_;
  std::optional<Fetch> fetch_;
  bool avoid_reads_ = false;  ///< the last one brought nothing of use
  std::uint64_t cookies_ = 0;
  LogPosition same_;    ///< records before it were compared, and are equal
  LogPosition common_;  ///< the last batch among them ends there
  bool differs_ = false;
  /// Where the primary's log ended when it was asked: what a datagram says may be long past.
  std::optional<Lsn> answered_end_;
  bool follows_ = false;  ///< kTrying: a record follows our end
  /// Whether what members know counts (--ack metadata): then the end of the log is asked for, since
  /// an old datagram could be taken for it.
  bool asks_first_ = false;
  int failures_ = 0;  ///< to find any record where there must be one
  bool needs_copy_ = false;
  /// What a record needs that was to be appended is not here (Log::admit_copied): that far, at
  /// least, the copy must go.
  Lsn refused_ = 0;
  bool lacks_room_ = false;  ///< on the medium of our log, when it was last placed
  bool contradicts_ = false;
  Lsn gap_at_ = 0;  ///< since gap_since_ the log is missing from here on
  Nanoseconds gap_since_ = 0;
  Nanoseconds now_ = 0;
  Nanoseconds look_after_;  ///< how long until the next look for what was pushed
  std::optional<Nanoseconds> next_look_;
  ReplicatorCounters counters_;
};

}  // namespace silurus::replication::group
