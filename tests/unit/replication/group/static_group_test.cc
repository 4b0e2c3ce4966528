// SPDX-License-Identifier: Apache-2.0

#include "replication/group/static_group.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "common/random.h"
#include "replication/group/driver.h"
#include "replication/group/member.h"
#include "replication/group/remote_view_store.h"
#include "replication/group/static_view_store.h"
#include "tests/support/crash_memory.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"
#include "transport/sim/fabric.h"

// The views of a static group: the file, who may follow and take over, the keeper and who asks it.

namespace silurus::replication::group {
namespace {

namespace sim = transport::sim;
using testing_support::TemporaryFolder;

constexpr GroupId kStaticGroup = 77;

View view_of(Epoch epoch, MemberId primary = 1, const std::vector<MemberId>& members = {1, 2, 3}) {
  View view{
      .epoch = epoch, .members = {}, .primary = primary, .incarnation = 9, .since = 1, .ack = {}};
  for (const MemberId id : members) {
    view.members.push_back({id, "tcp://host:" + std::to_string(id), ""});
  }
  return view;
}
PersistedView kept_of(Epoch epoch, MemberId primary = 1) {
  return {.founder = 1, .taken_over_at = 0, .view = view_of(epoch, primary)};
}
Registration registration_of(MemberId member) {
  return {.member = {member, "tcp://host:" + std::to_string(member), ""}, .incarnation = 5};
}

TEST(StaticAddress, SaysWhereTheFirstMemberListens) {
  const auto tcp = StaticAddress::parse("static://10.0.0.1:7400/maps", "tcp");
  ASSERT_TRUE(tcp) << tcp.error().message;
  EXPECT_EQ(tcp->keeper.to_string(), "tcp://10.0.0.1:7400");
  EXPECT_EQ(tcp->cluster(), "static:maps");
  EXPECT_EQ(StaticAddress::parse("static://[::1]:7400/m", "rdma")->keeper.to_string(),
            "rdma://[::1]:7400");
  EXPECT_EQ(StaticAddress::parse("static:///run/a.sock/maps", "shm")->keeper.to_string(),
            "shm:///run/a.sock");
}

TEST(StaticAddress, IsCheckedBeforeItIsUsed) {
  for (const char* text :
       {"", "static://", "static://maps", "static:///maps", "static://a/maps", "static://a:0/maps",
        "static://a:1/", "static://a:1/b c", "static://a:1/b/c", "static:///run/a/maps",
        "etcd://a:1/maps", "static://a:99999/maps"}) {
    EXPECT_FALSE(StaticAddress::parse(text, "tcp")) << text;
  }
  EXPECT_FALSE(StaticAddress::parse("static://a:1/maps", "shm"));
}

// --- the file

class PersistedViewFile : public testing::Test {
 protected:
  std::string content() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void put(const std::string& text) const { std::ofstream(path_) << text; }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / kPersistedViewName;
};

TEST_F(PersistedViewFile, IsReadAsItWasWritten) {
  EXPECT_EQ(read_persisted_view(path_).value(), std::nullopt) << "there is none yet";
  for (const Epoch epoch : {1, 2, 70000}) {
    ASSERT_TRUE(write_persisted_view(path_, kept_of(epoch)));
    EXPECT_EQ(read_persisted_view(path_).value(), kept_of(epoch));
  }
}

TEST_F(PersistedViewFile, IsTheOldOneAfterACrashInTheMidstOfWriting) {
  ASSERT_TRUE(write_persisted_view(path_, kept_of(4)));
  std::ofstream(path_ + ".new") << content().substr(0, 20);  // what a write begins with
  EXPECT_EQ(read_persisted_view(path_).value(), kept_of(4));
  ASSERT_TRUE(write_persisted_view(path_, kept_of(5))) << "what is left over is in no one's way";
  EXPECT_EQ(read_persisted_view(path_).value(), kept_of(5));
}

TEST_F(PersistedViewFile, IsRefusedWithWhatToDoIfNoMemberWroteItSo) {
  ASSERT_TRUE(write_persisted_view(path_, kept_of(4)));
  const std::string good = content();
  Random random(testing_support::fresh_seed());
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    switch (random.below(3)) {
      case 0:
        bad[random.below(bad.size())] ^= static_cast<char>(1 + random.below(255));
        break;
      case 1:
        bad.resize(random.below(bad.size()));
        break;
      default:
        bad += static_cast<char>(random.below(256));
    }
    put(bad);
    const auto read = read_persisted_view(path_);
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().code, ErrorCode::kProtocol);
    EXPECT_NE(read.error().message.find("restore that file"), std::string::npos);
  }
}

// --- who may follow, and take over

TEST(StaticViews, OfAGroupFoundedAnewAreNotFollowed) {
  PersistedView anew = kept_of(9, 2);
  anew.founder = 2;
  const Status may = may_follow(kept_of(3), anew);
  ASSERT_FALSE(may);
  EXPECT_NE(may.error().message.find("lost or emptied"), std::string::npos);
  EXPECT_NE(may.error().message.find("--take-over"), std::string::npos);
}

TEST(StaticViews, ThatAreOlderThanWhatIsKnownAreNotFollowed) {
  EXPECT_TRUE(may_follow(kept_of(3), kept_of(3)));
  EXPECT_TRUE(may_follow(kept_of(3), kept_of(4)));
  EXPECT_FALSE(may_follow(kept_of(4), kept_of(3)));
  PersistedView other = kept_of(4);
  other.view.incarnation = 10;
  EXPECT_FALSE(may_follow(kept_of(4), other)) << "an epoch is of one view only";
  PersistedView later = kept_of(6);  // the first member's next life
  later.view.incarnation = 10;
  later.view.since = 5;
  EXPECT_TRUE(may_follow(kept_of(4), later));
  EXPECT_FALSE(may_follow(kept_of(5), later)) << "it began without knowing of view 5";
}

TEST(StaticViews, OfAnHeirThatWasNotInALaterViewAreNotFollowed) {
  PersistedView heirs = kept_of(4 + kEpochsOfALeader, 2);
  heirs.view.since = heirs.view.epoch;
  heirs.taken_over_at = 4;
  EXPECT_TRUE(may_follow(kept_of(4), heirs));
  PersistedView later = kept_of(5);
  EXPECT_TRUE(may_follow(later, heirs)) << "it was in that one, though it does not know";
  later.view = view_of(5, 1, {1, 3});
  EXPECT_FALSE(may_follow(later, heirs));
  heirs.taken_over_at = 6;
  EXPECT_TRUE(may_follow(later, heirs)) << "it came back";
}

TEST(StaticViews, AreTakenOverByMembersOfTheLastOneOnly) {
  EXPECT_TRUE(may_take_over(kept_of(4), 2));
  EXPECT_FALSE(may_take_over(kept_of(4), 4));
  PersistedView quorum = kept_of(4);
  quorum.view.ack = Ack::kQuorum;
  EXPECT_FALSE(may_take_over(quorum, 2));
}

// --- the keeper and who asks it

/// A member's host with what it has of a fabric.
struct Side {
  Side(sim::World& world, const std::string& name)
      : host(world.add_host(name)),
        fabric(world, host),
        poller(std::move(*fabric.create_poller())) {}
  Dialer dialer() {
    return [this](const transport::Address& address, Nanoseconds timeout,
                  std::span<const std::byte> hello, transport::ConnectionHandler& handler,
                  Connected done) {
      fabric.connect_later(address, {.timeout = timeout}, *poller, hello, handler, std::move(done));
    };
  }
  sim::Host& host;
  sim::SimFabric fabric;
  std::unique_ptr<transport::Poller> poller;
};

class Keeping : public testing::Test {
 protected:
  void start_keeper(bool takes_over = false, MemberId self = 1) {
    keeper_.reset();
    links_.reset();
    links_ =
        Links::create({.group = kStaticGroup, .self = self, .incarnation = 3, .listen = address_},
                      first_.fabric, *first_.poller, first_.dialer(), {})
            .value();
    auto keeper = StaticViewStore::create({.group = kStaticGroup,
                                           .self = self,
                                           .lease = kSecond,
                                           .kept = saved_,
                                           .takes_over = takes_over,
                                           .save = [this](const PersistedView& kept) -> Status {
                                             if (disk_is_full_) return fail(ErrorCode::kIo, "full");
                                             saved_ = kept;
                                             return {};
                                           },
                                           .wake = [] {}},
                                          first_.host.clock());
    ASSERT_TRUE(keeper) << keeper.error().message;
    keeper_ = std::move(*keeper);
    links_->admit(kViewStoreMagic, keeper_.get());
  }
  std::unique_ptr<RemoteViewStore> client(MemberId self = 2) {
    return std::make_unique<RemoteViewStore>(
        RemoteViewStoreOptions{.group = kStaticGroup,
                               .self = self,
                               .incarnation = 5,
                               .keeper = address_,
                               .timeout = 50 * kMillisecond,
                               .kept = kept_there_,
                               .save =
                                   [this](const PersistedView& kept) {
                                     kept_there_ = kept;
                                     return Status{};
                                   },
                               .wake = [] {}},
        other_.dialer(), other_.host.clock());
  }
  /// Until it is so, or for long.
  bool run(ViewStore& store, const std::function<bool()>& is_so) {
    for (int i = 0; i < 2000 && !is_so(); ++i) {
      world_.run_for(100 * kMicrosecond);
      first_.poller->progress();
      other_.poller->progress();
      const Status told = keeper_ == nullptr ? Status{} : keeper_->progress();
      EXPECT_TRUE(told);
      last_progress_ = store.progress();
    }
    return is_so();
  }
  Result<ViewStore::State> read(ViewStore& store) {
    std::optional<Result<ViewStore::State>> answer;
    store.read([&](auto state) { answer = std::move(state); });
    EXPECT_TRUE(run(store, [&] { return answer.has_value(); }));
    return answer.value_or(fail(ErrorCode::kDeadlineExceeded, "nothing was told"));
  }
  Result<std::uint64_t> replace(ViewStore& store, std::uint64_t revision, const View& view) {
    std::optional<Result<std::uint64_t>> answer;
    store.replace(revision, view, [&](auto replaced) { answer = std::move(replaced); });
    EXPECT_TRUE(run(store, [&] { return answer.has_value(); }));
    return answer.value_or(fail(ErrorCode::kDeadlineExceeded, "nothing was told"));
  }
  Status announce(ViewStore& store, const Registration& registration) {
    std::optional<Status> answer;
    store.announce(registration, [&](auto announced) { answer = std::move(announced); });
    EXPECT_TRUE(run(store, [&] { return answer.has_value(); }));
    return answer.value_or(fail(ErrorCode::kDeadlineExceeded, "nothing was told"));
  }

  const transport::Address address_ = transport::Address::parse("sim://first:7").value();
  sim::World world_{3};
  Side first_{world_, "first"};
  Side other_{world_, "other"};
  std::optional<PersistedView> saved_;       ///< at the keeper
  std::optional<PersistedView> kept_there_;  ///< at the other one
  bool disk_is_full_ = false;
  Status last_progress_;
  std::unique_ptr<Links> links_;
  std::unique_ptr<StaticViewStore> keeper_;
};

TEST_F(Keeping, SwapsByRevisionAndRemembersItThroughItsDeath) {
  start_keeper();
  EXPECT_FALSE(read(*keeper_)->view) << "there is none before the first";
  EXPECT_EQ(replace(*keeper_, 0, view_of(1)).value(), 1u);
  EXPECT_EQ(replace(*keeper_, 0, view_of(2)).value(), 0u) << "there is one";
  EXPECT_EQ(replace(*keeper_, 1, view_of(2)).value(), 2u);
  EXPECT_EQ(replace(*keeper_, 1, view_of(3)).value(), 0u);
  start_keeper();
  const auto state = read(*keeper_);
  EXPECT_EQ(state->view, view_of(2));
  EXPECT_EQ(state->revision, 2u);
  EXPECT_EQ(saved_->founder, 1u);
}

TEST_F(Keeping, TellsNoMemberOfAViewThatCouldNotBeSaved) {
  start_keeper();
  const auto asks = client();
  ASSERT_TRUE(replace(*keeper_, 0, view_of(1)));
  disk_is_full_ = true;
  EXPECT_FALSE(replace(*keeper_, 1, view_of(2)));
  EXPECT_EQ(read(*asks)->view, view_of(1));
  disk_is_full_ = false;
  EXPECT_EQ(replace(*keeper_, 1, view_of(2)).value(), 2u) << "it is tried again";
  EXPECT_EQ(read(*asks)->view, view_of(2));
}

TEST_F(Keeping, TellsOthersWhatTheyThenKeepThemselves) {
  start_keeper();
  const auto asks = client();
  EXPECT_FALSE(read(*asks)) << "nothing is founded yet";
  ASSERT_TRUE(replace(*keeper_, 0, view_of(1)));
  EXPECT_EQ(read(*asks)->view, view_of(1));
  EXPECT_EQ(kept_there_, saved_);
  EXPECT_FALSE(replace(*asks, 1, view_of(2))) << "they change nothing";
}

TEST_F(Keeping, RegistersOthersUntilTheirLeasesAreOver) {
  start_keeper();
  const auto asks = client();
  ASSERT_TRUE(announce(*keeper_, registration_of(1)));
  ASSERT_TRUE(announce(*asks, registration_of(2)));
  EXPECT_EQ(read(*keeper_)->registrations.size(), 2u);
  EXPECT_FALSE(announce(*asks, registration_of(3))) << "a member speaks for itself";
  world_.run_for(kSecond);
  const auto state = read(*keeper_);
  ASSERT_EQ(state->registrations.size(), 1u) << "its own has no end";
  EXPECT_EQ(state->registrations[0].member.id, 1u);
}

TEST_F(Keeping, IsFoundAgainAfterItsDeath) {
  start_keeper();
  ASSERT_TRUE(replace(*keeper_, 0, view_of(1)));
  const auto asks = client();
  ASSERT_TRUE(read(*asks));
  keeper_.reset();
  links_.reset();
  EXPECT_FALSE(read(*asks)) << "and the call ends";
  start_keeper();
  ASSERT_TRUE(replace(*keeper_, 1, view_of(2)));
  EXPECT_EQ(read(*asks)->view, view_of(2));
}

TEST_F(Keeping, IsNotFollowedIfItsDirectoryWasEmptied) {
  start_keeper();
  ASSERT_TRUE(replace(*keeper_, 0, view_of(1)));
  const auto asks = client();
  ASSERT_TRUE(read(*asks));
  saved_.reset();
  start_keeper(false, 8);
  for (Epoch epoch = 1; epoch < 5; ++epoch) {
    ASSERT_TRUE(replace(*keeper_, epoch - 1, view_of(epoch, 8, {8})));
  }
  EXPECT_FALSE(read(*asks));
  ASSERT_FALSE(last_progress_) << "its member is given up";
  EXPECT_NE(last_progress_.error().message.find("lost or emptied"), std::string::npos);
  EXPECT_EQ(kept_there_->founder, 1u);
  const auto anew = client();
  EXPECT_FALSE(announce(*anew, registration_of(2))) << "nor does it take that one in";
}

TEST_F(Keeping, IsTakenOverOnlyWhereThatIsSaid) {
  saved_ = kept_of(4);
  const StaticViewStoreOptions options{.group = kStaticGroup,
                                       .self = 2,
                                       .kept = saved_,
                                       .takes_over = false,
                                       .save = {},
                                       .wake = {}};
  const auto refused = StaticViewStore::create(options, first_.host.clock());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("--take-over"), std::string::npos);
  start_keeper(true, 2);
  ASSERT_TRUE(replace(*keeper_, 4, view_of(4 + kEpochsOfALeader, 2)));
  EXPECT_EQ(saved_->taken_over_at, 4u);
  EXPECT_EQ(saved_->founder, 1u);
  start_keeper(false, 2);
  ASSERT_TRUE(replace(*keeper_, 4 + kEpochsOfALeader, view_of(5 + kEpochsOfALeader, 2)));
  EXPECT_EQ(saved_->taken_over_at, 4u) << "until another member takes over";
}

/// Says what it is told to on any connection.
class Babbler final : public transport::ConnectionHandler, public transport::AcceptHandler {
 public:
  void on_message(transport::Connection& connection, std::span<const std::byte>) override {
    say(connection);
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte> hello,
                                          const transport::Caller&) override {
    return std::vector<std::byte>(hello.begin(), hello.end());
  }
  void on_accept(std::unique_ptr<transport::Connection> connection, transport::Poller&) override {
    connection->set_handler(this);
    connections.push_back(std::move(connection));
  }
  void say(transport::Connection& connection) const {
    if (kind) {  // the message has the right form, but wrong content
      send_side_message(connection, *kind, 0, words);
      return;
    }
    const auto room = connection.reserve(words.size());
    if (room.empty()) return;
    std::ranges::copy(words, room.begin());
    connection.commit(words.size());
    connection.flush();
  }

  std::optional<std::uint32_t> kind;
  std::vector<std::byte> words;
  std::vector<std::unique_ptr<transport::Connection>> connections;
};

std::vector<std::byte> garbage(Random& random) {
  std::vector<std::byte> bytes(1 + random.below(200));
  for (std::byte& one : bytes) one = static_cast<std::byte>(random.below(256));
  return bytes;
}

TEST_F(Keeping, GoesOnWhateverItIsAsked) {
  start_keeper();
  ASSERT_TRUE(replace(*keeper_, 0, view_of(1)));
  Random random(testing_support::fresh_seed());
  const MemberHello hello{
      .magic = kViewStoreMagic, .group = kStaticGroup, .member = 4, .incarnation = 5};
  for (int i = 0; i < 200; ++i) {
    Babbler stranger;
    std::unique_ptr<transport::Connection> connection;
    other_.dialer()(address_, kSecond, std::as_bytes(std::span(&hello, 1)), stranger,
                    [&](auto made) { connection = std::move(made).value(); });
    ASSERT_TRUE(run(*keeper_, [&] { return connection != nullptr; }));
    stranger.words = garbage(random);
    if (random.below(2) == 0) stranger.kind = 1 + static_cast<std::uint32_t>(random.below(4));
    stranger.say(*connection);
    run(*keeper_, [&, n = 0]() mutable { return ++n > 3; });
  }
  const auto state = read(*keeper_);
  EXPECT_EQ(state->view, view_of(1));
  EXPECT_TRUE(state->registrations.empty());
  const auto asks = client();
  EXPECT_EQ(read(*asks)->view, view_of(1)) << "others are served";
}

TEST_F(Keeping, IsBelievedByNoMemberWhenItBabbles) {
  Babbler babbler;
  transport::Poller* const pollers[] = {first_.poller.get()};
  const auto listener = first_.fabric.listen(address_, {}, pollers, babbler);
  ASSERT_TRUE(listener);
  Random random(testing_support::fresh_seed());
  const auto asks = client();
  for (int i = 0; i < 200; ++i) {
    babbler.words = garbage(random);
    babbler.kind.reset();
    if (random.below(2) == 0) babbler.kind = 1 + static_cast<std::uint32_t>(random.below(4));
    EXPECT_FALSE(read(*asks));
    EXPECT_FALSE(announce(*asks, registration_of(2)));
    EXPECT_TRUE(last_progress_);
  }
  EXPECT_EQ(kept_there_, std::nullopt);
}

// --- who is understood

class NoMachine final : public Machine {
 public:
  Result<LogPosition> apply(const Log&, LogPosition from, Lsn) override { return from; }
  Stamp stamp() const override { return 0; }
};

TEST(Driver, MembersWithAnotherLeaseOrProtocolAreOfAnotherGroup) {
  const auto group_with = [](Nanoseconds lease, ReplicationProtocol protocol) {
    const TemporaryFolder folder;
    const std::string socket = folder / "m.sock";
    DriverOptions options{
        .agreement =
            StaticGroup{
                .address = StaticAddress::parse("static://" + socket + "/maps", "shm").value(),
                .leads = true,
                .view_file = folder / kPersistedViewName},
        .id = 1,
        .listen = "shm://" + socket,
        .clients = "",
        .multicast = "",
        .protocol = protocol,
        .timing = {.lease = lease}};
    testing_support::Power power(1, UINT64_MAX);
    auto content = testing_support::CrashMemory::fresh(Log::kMinBytes);
    const auto log =
        Log::open(std::make_unique<testing_support::CrashMemory>(power, content), {}).value();
    NoMachine machine;
    const auto driver = Driver::create(options, *log, log->end(), machine);
    EXPECT_TRUE(driver) << driver.error().message;
    return driver ? (*driver)->group() : 0;
  };
  const GroupId one = group_with(2 * kSecond, ReplicationProtocol::kChain);
  EXPECT_EQ(group_with(2 * kSecond, ReplicationProtocol::kChain), one);
  EXPECT_NE(group_with(3 * kSecond, ReplicationProtocol::kChain), one);
  EXPECT_NE(group_with(2 * kSecond, ReplicationProtocol::kLogWrite), one);
}

}  // namespace
}  // namespace silurus::replication::group
