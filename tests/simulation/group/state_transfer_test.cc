// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/group_rules.h"

// Members whose log is of no use copy the tree.

namespace silurus::simulation {
namespace {

using testing_support::ReceivedTree;

class TreeCopies : public GroupRules {
 protected:
  static inline const replication::TransferOptions kOptions{.group = kTestGroup,
                                                            .reads_in_flight = 4};

  /// A fourth host that copies, from its first step on, what a member has.
  struct Copying {
    Copying(GroupWorld& world, sim::Host& host, const sim::Host& source)
        : fabric(world.world, host, world.fabric),
          poller(std::move(*fabric.create_poller())),
          copy(std::make_unique<ReceivedTree<2>>()),
          copier(kOptions, *poller, *copy) {
      fabric.connect_later(transport::Address::parse(address_of(source)).value(),
                           {.timeout = 10 * kMillisecond}, *poller, copier.hello(), copier,
                           [this](auto connection) {
                             ASSERT_TRUE(connection) << connection.error().message;
                             copier.begin(std::move(*connection));
                           });
      process = host.spawn("copier", [this](sim::Process& step) {
        poller->progress();
        const Nanoseconds now = step.host().clock().now();
        copier.step(now);
        step.wake_at(now + kMillisecond);
      });
      process->watch(*poller);
    }
    ~Copying() { process.reset(); }
    sim::SimFabric fabric;
    std::unique_ptr<transport::Poller> poller;
    std::unique_ptr<ReceivedTree<2>> copy;
    replication::TransferReceiver<2> copier;
    std::unique_ptr<sim::Process> process;
  };

  void fill() {
    for (std::uint64_t i = 0; i < kKeys * kValues - 20; ++i) put(*primary());
    ASSERT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond));
    world_.run_for(10 * kMillisecond);
  }
  bool run_until_copied(const Copying& copying) {
    world_.run_until([&] { return copying.copier.outcome().has_value(); }, world_.now() + kSecond);
    return copying.copier.outcome() && copying.copier.outcome()->has_value();
  }
  /// A member whose tree is a copy, or empty, at a host of its own.
  MemberLife& start_fourth(sim::Host& host, const ReceivedTree<2>* copy) {
    contents_.push_back(CrashMemory::fresh(std::size_t{256} << 10));
    nodes_.push_back(std::make_unique<MemberLife>(*group_, host, kMembers + 1, contents_.back(),
                                                  77 + 2 * nodes_.size(), Power::Failure::kPowerCut,
                                                  copy));
    return *nodes_.back();
  }
  std::unique_ptr<ReceivedTree<2>> copy_onto(sim::Host& host, int puts_meanwhile);
  void joins_from_a_copy(int puts_meanwhile = 5);
};

TEST_F(TreeCopies, AreTakenWhileTheSourceStandsStill) {
  begin_with_copies({});
  fill();
  MemberLife& source = backup();
  Copying copying(*group_, world_.add_host("member4"), source.host());
  ASSERT_TRUE(
      world_.run_until([&] { return copying.copier.nodes_read() > 0; }, world_.now() + kSecond));
  source.host().pause();
  ASSERT_TRUE(run_until_copied(copying));
  source.host().resume();
  // One question to hold a version, one for what belongs to it: how large the tree is matters not.
  EXPECT_EQ(source.copies().counters().messages, 2u);
  EXPECT_EQ(source.copies().counters().nodes, 0u);
  EXPECT_GT(copying.copier.nodes_read(), 3u);
}

TEST_F(TreeCopies, AreOfTheVersionThatWasHeldThoughTheTreeGoesOn) {
  begin_with_copies({});
  fill();
  MemberLife& source = backup();
  const LogPosition at = source.member().applied();
  const rtree::Version version = source.machine().snapshot().version();
  Copying copying(*group_, world_.add_host("member4"), source.host());
  ASSERT_TRUE(
      world_.run_until([&] { return source.copies().holds() == 1; }, world_.now() + kSecond));
  for (int i = 0; i < 10; ++i) put(*primary());
  ASSERT_TRUE(run_until_copied(copying));
  const auto copy = std::move(copying.copy);
  EXPECT_EQ(copy->facts.log, at);
  ASSERT_TRUE(
      world_.run_until([&] { return source.copies().holds() == 0; }, world_.now() + kSecond))
      << "nothing is held when it is done";
  const TreeMachine machine(*group_, source.host().clock(), copy.get());
  EXPECT_EQ(machine.snapshot().version(), version);
  EXPECT_TRUE(machine.snapshot().validate());
  EXPECT_EQ(machine.snapshot().size(), kKeys * kValues - 20);
  EXPECT_TRUE(world_.run_until([&] { return done_ == sequence_; }, world_.now() + kSecond));
}

/// The tree of a backup, copied by a member that finds no log to begin with.
std::unique_ptr<ReceivedTree<2>> TreeCopies::copy_onto(sim::Host& host, int puts_meanwhile) {
  fill();
  for (MemberLife* life : lives_) life->trim();
  for (int i = 0; i < puts_meanwhile; ++i) EXPECT_TRUE(put_and_wait(*primary()));
  MemberLife& empty = start_fourth(host, nullptr);
  EXPECT_TRUE(
      world_.run_until([&] { return empty.member().needs_copy(); }, world_.now() + kSecond));
  empty.power().cut();
  host.crash();
  host.restart();
  Copying copying(*group_, host, backup().host());
  EXPECT_TRUE(run_until_copied(copying));
  return std::move(copying.copy);
}

void TreeCopies::joins_from_a_copy(int puts_meanwhile) {
  sim::Host& host = world_.add_host("member4");
  const auto copy = copy_onto(host, puts_meanwhile);
  // The log goes on.
  for (int i = 0; i < puts_meanwhile; ++i) ASSERT_TRUE(put_and_wait(*primary()));
  MemberLife& joined = start_fourth(host, copy.get());
  ASSERT_TRUE(
      world_.run_until([&] { return primary()->member().view().members.size() == kMembers + 1; },
                       world_.now() + kSecond));
  if (puts_meanwhile > 0) {
    ASSERT_TRUE(put_and_wait(*primary()));
  }
  world_.run_for(10 * kMillisecond);
  for (unsigned key = 0; key < kKeys; ++key) {
    EXPECT_EQ(joined.machine().values(key), primary()->machine().values(key));
  }
  EXPECT_FALSE(joined.member().needs_copy());
}

TEST_F(TreeCopies, LetAMemberJoinWhoseLogEndsBeforeThePrimarysBegins) {
  begin_with_copies({});
  joins_from_a_copy();
}

TEST_F(TreeCopies, MakeMembersThatCountForAQuorumBeforeAnythingIsWritten) {
  min_members_ = 1;
  begin_with_copies({}, group::Ack::kQuorum);
  joins_from_a_copy(0);
  // Half of four are left, one of which has a copy. That is one of every quorum.
  crash(*primary());
  crash(**std::ranges::find_if(lives_, [](const MemberLife* life) { return life != nullptr; }));
  MemberLife* const next = next_primary(nullptr);
  ASSERT_NE(next, nullptr);
  EXPECT_TRUE(put_and_wait(*next));
}

TEST_F(TreeCopies, MakeMembersThatCountForAQuorumThoughNoRecordEverReachedThem) {
  min_members_ = 1;
  begin_with_copies({}, group::Ack::kQuorum);
  sim::Host& host = world_.add_host("member4");
  const auto copy = copy_onto(host, 0);
  start_fourth(host, copy.get());
  MemberLife& was = *primary();
  ASSERT_TRUE(world_.run_until([&] { return was.member().view().members.size() == kMembers + 1; },
                               world_.now() + kSecond));
  world_.cut(was.host(), host);  // so that the record that begins the view is lost
  crash(was);
  crash(**std::ranges::find_if(lives_, [](const MemberLife* life) { return life != nullptr; }));
  MemberLife* const next = next_primary(nullptr);
  ASSERT_NE(next, nullptr);
  EXPECT_TRUE(put_and_wait(*next));
}

TEST_F(TreeCopies, AreWantedByAMemberThatStoodStillForTooLong) {
  begin_with_copies({}, group::Ack::kQuorum);
  MemberLife& leads = *primary();
  MemberLife& still = backup();
  still.host().pause();
  world_.cut(leads.host(), still.host());  // or all that it missed would lie waiting for it
  fill();
  for (MemberLife* life : lives_) {
    if (life != &still) life->trim();
  }
  world_.heal(leads.host(), still.host());
  still.host().resume();
  ASSERT_TRUE(
      world_.run_until([&] { return still.member().needs_copy(); }, world_.now() + kSecond));
  EXPECT_EQ(primary(), &leads);
  EXPECT_FALSE(still.replicator().in_step()) << "its row says what log it will need";
}

TEST_F(TreeCopies, NeedNothingOfTheLogThatThePrimaryDoesNotHave) {
  begin_with_copies({.capabilities = 0});
  MemberLife& was = *primary();
  ASSERT_TRUE(put_and_wait(was));
  sim::Host* const alone[] = {&was.host()};
  std::vector<sim::Host*> others{&etcd_->host()};
  for (MemberLife* other : lives_) {
    if (other != &was) others.push_back(&other->host());
  }
  world_.partition(alone, others);
  for (int i = 0; i < 30; ++i) put(was);
  MemberLife* const next = next_primary(&was);
  ASSERT_NE(next, nullptr);
  ASSERT_TRUE(put_and_wait(*next));
  world_.run_for(10 * kMillisecond);
  for (MemberLife* life : lives_) {
    if (life != &was) life->trim();
  }
  world_.heal_all();
  const Lsn end = next->log().end().lsn;
  ASSERT_LT(end, was.log().end().lsn) << "what it wrote alone is more than the group has";
  ASSERT_TRUE(world_.run_until([&] { return was.member().needs_copy(); }, world_.now() + kSecond));
  world_.run_for(10 * kMillisecond);
  EXPECT_EQ(was.member().copy_needs(), end)
      << "a group that writes no more would never have enough";
}

TEST_F(TreeCopies, AreTakenByMessageWhereThereAreNoOneSidedReads) {
  begin_with_copies({.capabilities = 0});
  joins_from_a_copy();
}

}  // namespace
}  // namespace silurus::simulation
