// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/log.h"
#include "replication/group/links.h"
#include "replication/group/member.h"
#include "tests/support/crash_memory.h"
#include "transport/sim/fabric.h"

// One member by itself: what others say is put into its hand, what it says is looked at, and the
// test is its view store, its replicator and its machine.

namespace silurus::replication::group::test {

inline constexpr GroupId kGroupOfOne = 0x91;
inline constexpr LogPosition kLogStart{.lsn = 0, .chain = 7};
inline constexpr Timing kTestTiming = {.lease = 400 * kMillisecond,
                                       .heartbeat = 10 * kMillisecond,
                                       .silence = 100 * kMillisecond,
                                       .slowness = 10 * kSecond,
                                       .poll = 20 * kMillisecond,
                                       .candidacy = 20 * kMillisecond};

/// The log is brought by the test itself; what the member tells of it is kept.
class FakeReplicator final : public Replicator {
 public:
  void lead(const SenderId&) override {}
  void tell(Lsn commit, std::uint64_t number) override { said(commit, number); }
  void beat(Lsn commit, std::uint64_t number) override { said(commit, number); }
  void serve(const Message<FetchBody>&) override {}
  void follow(const SenderId&, const SenderId&, LogPosition, Nanoseconds) override {}
  void leave() override {}
  void on_log(const Message<LogBody>&, Nanoseconds) override {}
  void on_fetched(const Message<FetchBody>&, Nanoseconds) override {}
  void on_window_bytes(std::uint64_t, std::span<const std::byte>, Nanoseconds) override {}
  Status step(Nanoseconds) override { return {}; }
  std::optional<Nanoseconds> deadline() const override { return std::nullopt; }
  bool in_step() const override { return is_in_step; }
  Lsn received() const override { return has_received; }
  Lsn known() const override { return knows; }
  bool needs_copy() const override { return wants_copy; }
  Lsn copy_needs() const override { return 0; }
  bool contradicts() const override { return false; }
  ReplicatorCounters counters() const override { return {}; }

  Lsn told_commit = 0;          ///< the most that others were told is committed
  std::uint64_t heartbeat = 0;  ///< the newest one's number
  bool is_in_step = true;
  bool wants_copy = false;
  Lsn has_received = 0;
  Lsn knows = 0;

 private:
  void said(Lsn commit, std::uint64_t number) {
    told_commit = std::max(told_commit, commit);
    heartbeat = number;
  }
};

/// Applies all that it is given, or nothing while it is stuck.
class FakeMachine final : public Machine {
 public:
  Result<LogPosition> apply(const Log& log, LogPosition from, Lsn commit) override {
    if (is_stuck) return from;
    LogReader reader(log.bytes(), from);
    while (reader.position().lsn < commit && reader.next()) {
    }
    return reader.position();
  }
  Stamp stamp() const override { return 1; }

  bool is_stuck = false;
};

/// Answers within progress(), unless the test holds back what it says.
class FakeStore final : public ViewStore {
 public:
  void read(OnRead done) override {
    ++reads;
    if (is_away) {
      told.emplace_back(
          [done = std::move(done)] { done(fail(ErrorCode::kUnavailable, "the store is away")); });
      return;
    }
    auto answer = [done = std::move(done), state = state] { done(state); };
    (holds_reads ? held_reads : told).push_back(std::move(answer));
  }
  void replace(std::uint64_t revision, const View& next, OnReplaced done) override {
    proposals.push_back({revision, next});
    if (ignores_proposals) return;
    if (fails_proposals) {
      told.emplace_back([done = std::move(done)] {
        done(fail(ErrorCode::kDeadlineExceeded, "the answer is lost"));
      });
      return;
    }
    std::uint64_t now = 0;
    if (revision == state.revision) {
      state.view = next;
      now = ++state.revision;
    }
    told.emplace_back([done = std::move(done), now] { done(now); });
  }
  void announce(const Registration& registration, OnAnnounced done) override {
    announced = registration;
    told.emplace_back([done = std::move(done)] { done({}); });
  }
  Status progress() override {
    for (auto now = std::exchange(told, {}); auto& one : now) one();
    return {};
  }
  /// Answers those held so far.
  void release_reads() {
    for (auto& one : std::exchange(held_reads, {})) told.push_back(std::move(one));
  }

  struct Proposal {
    std::uint64_t revision;
    View view;
  };
  State state;
  std::vector<Proposal> proposals;
  Registration announced;
  std::size_t reads = 0;           ///< times that it was asked for its state
  bool is_away = false;            ///< reads fail
  bool holds_reads = false;        ///< they are answered as things were when they were asked
  bool ignores_proposals = false;  ///< they are lost on the way
  bool fails_proposals = false;    ///< whether anything came of them is unknown
  std::deque<std::function<void()>> told;
  std::deque<std::function<void()>> held_reads;
};

/// Another member, as far as it listens.
class Listens final : public LinksHandler {
 public:
  void on_group_message(std::span<const std::byte> bytes) override {
    const auto envelope = decode_envelope(kGroupOfOne, bytes);
    ASSERT_TRUE(envelope.has_value());
    if (const auto row = decode_row(*envelope, bytes)) rows.push_back(*row);
    if (envelope->kind == Kind::kFetch) fetches.push_back(*decode_fetch(*envelope, bytes));
    if (envelope->kind != Kind::kProbe && envelope->kind != Kind::kProbed) return;
    if (const auto probe = decode_probe(*envelope, bytes)) probes.push_back(*probe);
  }
  void on_window_bytes(std::uint64_t, std::span<const std::byte>) override {}

  std::vector<Message<RowBody>> rows;
  std::vector<Message<FetchBody>> fetches;
  std::vector<Message<ProbeBody>> probes;  ///< and answers to them
};

class MemberTest : public testing::Test {
 protected:
  static constexpr Incarnation kLife = 11;  ///< the member's; that of member n is 100 + n
  static constexpr std::uint64_t kRevision = 40;

  struct Side {
    Side(transport::sim::World& world, const std::string& name)
        : host(world.add_host(name)),
          fabric(world, host, {.capabilities = 0}),
          poller(std::move(*fabric.create_poller())) {}
    std::unique_ptr<Links> links(MemberId self, Incarnation incarnation) {
      return Links::create(
                 {.group = kGroupOfOne,
                  .self = self,
                  .incarnation = incarnation,
                  .listen = transport::Address::parse("sim://" + host.name() + ":7").value()},
                 fabric, *poller,
                 [this](const transport::Address& address, Nanoseconds timeout,
                        std::span<const std::byte> hello, transport::ConnectionHandler& handler,
                        Connected done) {
                   fabric.connect_later(address, {.timeout = timeout}, *poller, hello, handler,
                                        std::move(done));
                 },
                 {})
          .value();
    }
    transport::sim::Host& host;
    transport::sim::SimFabric fabric;
    std::unique_ptr<transport::Poller> poller;
  };

  MemberTest() {
    log::set_level(log::Level::kError);  // views come and go
    log_ = std::move(*Log::open(std::make_unique<CrashMemory>(power_, content_), kLogStart));
    others_links_ = other_.links(2, 102);
    others_links_->set_handler(&listens_);
  }
  ~MemberTest() override { log::set_level(log::Level::kInfo); }

  static MemberInfo info(MemberId id) {
    return {id, "sim://" + std::string(id == 1 ? "self" : "other") + ":7", ""};
  }
  static Incarnation life_of(MemberId id) { return id == 1 ? kLife : 100 + id; }
  static View view_of(Epoch epoch, const std::vector<MemberId>& members, Ack ack = Ack::kAll,
                      MemberId primary = 1) {
    View view{.epoch = epoch,
              .members = {},
              .primary = primary,
              .incarnation = life_of(primary),
              .since = epoch,
              .ack = ack};
    for (const MemberId id : members) view.members.push_back(info(id));
    view.min_members = 1;
    view.count();
    return view;
  }
  static Registration registration_of(MemberId id) {
    return {.member = info(id), .incarnation = life_of(id)};
  }

  /// A batch of one record, as the primary of that epoch wrote it; where it ends.
  Lsn append(Epoch epoch) { return append(*log_, epoch, ++entries_); }
  static Lsn append(Log& log, Epoch epoch, std::uint64_t id) {
    const EntryPayload<2> payload{.id = id, .box = {}};
    EXPECT_TRUE(log.append({.checksum = 0,
                            .lsn = 0,
                            .stamp = id,
                            .epoch = epoch,
                            .length = 0,
                            .type = RecordType::kInsert,
                            .flags = 0},
                           std::as_bytes(std::span(&payload, 1))));
    log.end_batch();
    EXPECT_TRUE(log.commit());
    return log.end().lsn;
  }
  /// The member starts, and finds that view.
  void start(const View& view, Leads leads = Leads::kIfElected) {
    store_.state.view = view;
    store_.state.revision = kRevision;
    replicator_.has_received = log_->end().lsn;
    links_ = self_.links(1, kLife);
    member_ = std::make_unique<Member>(MemberOptions{.self = info(1),
                                                     .incarnation = kLife,
                                                     .group = kGroupOfOne,
                                                     .timing = kTestTiming,
                                                     .leads = leads,
                                                     .ack = view.ack},
                                       *log_, kLogStart, machine_, replicator_, *links_, store_,
                                       self_.host.clock());
    run(4 * kMillisecond);
  }
  void step() {
    self_.poller->progress();
    other_.poller->progress();
    ASSERT_TRUE(store_.progress());
    ASSERT_TRUE(member_->step());
  }
  /// Time goes by, and `meanwhile` happens again and again.
  void run(
      Nanoseconds time, const std::function<void()>& meanwhile = [] {}) {
    for (const Nanoseconds end = world_.now() + time; world_.now() < end;) {
      world_.run_for(kMillisecond);
      meanwhile();
      step();
    }
  }
  Nanoseconds now() const { return self_.host.clock().now(); }

  template <typename Body>
  void hand_over(MemberId from, Epoch epoch, Kind kind, std::uint8_t flags, const Body& body) {
    alignas(8) std::array<std::byte, 256> bytes{};
    const std::size_t length = encode_message(kGroupOfOne,
                                              {.checksum = 0,
                                               .sender = from,
                                               .incarnation = life_of(from),
                                               .epoch = epoch,
                                               .length = 0,
                                               .kind = kind,
                                               .flags = flags},
                                              std::as_bytes(std::span(&body, 1)), {}, bytes);
    member_->on_group_message(std::span(bytes).first(length));
  }
  /// Member `from`, in step, has that much durable, and promises for the newest heartbeat.
  void row(MemberId from, Lsn durable, std::uint8_t flags = kInStep) {
    hand_over(from, member_->epoch(), Kind::kRow, flags,
              RowBody{.received = durable,
                      .durable = durable,
                      .applied = 0,
                      .known = durable,
                      .promised = replicator_.heartbeat});
  }
  /// A heartbeat of the primary, member 2.
  void heartbeat(Lsn commit, std::uint64_t number = 1) {
    hand_over(2, member_->epoch(), Kind::kLog, 0,
              LogBody{.lsn = log_->end().lsn,
                      .end = log_->end().lsn,
                      .end_chain = log_->end().chain,
                      .commit = commit,
                      .heartbeat = number});
  }
  std::vector<MemberId> proposed() const {
    std::vector<MemberId> ids;
    if (store_.proposals.empty()) return ids;
    for (const MemberInfo& one : store_.proposals.back().view.members) ids.push_back(one.id);
    return ids;
  }
  using Ids = std::vector<MemberId>;

  using CrashMemory = testing_support::CrashMemory;
  transport::sim::World world_{5};
  Side self_{world_, "self"};
  Side other_{world_, "other"};
  testing_support::Power power_{1, UINT64_MAX};
  CrashMemory::Content content_ = CrashMemory::fresh(std::size_t{256} << 10);
  std::unique_ptr<Log> log_;
  std::uint64_t entries_ = 0;
  FakeStore store_;
  FakeReplicator replicator_;
  FakeMachine machine_;
  Listens listens_;
  std::unique_ptr<Links> others_links_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<Member> member_;
};

}  // namespace silurus::replication::group::test
