// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <array>
#include <map>
#include <set>

#include "common/log.h"
#include "replication/group/driver.h"
#include "replication/persistent_memory.h"
#include "tests/support/etcd_process.h"
#include "tests/support/patience.h"

// A group of three processes with real logs and a real etcd, over the fabrics of one machine, of
// which the primary is killed.

namespace silurus::replication::group {
namespace {

using testing_support::EtcdProcess;
using testing_support::patient;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

/// Timing of a group whose members are killed: they are missed as soon as the machine's load
/// allows.
Timing short_timing() {
  return {.lease = patient(400 * kMillisecond),
          .heartbeat = 20 * kMillisecond,
          .silence = patient(250 * kMillisecond),
          .slowness = patient(2 * kSecond),
          .poll = 100 * kMillisecond,
          .candidacy = 50 * kMillisecond};
}
/// Timing of a group whose members must all stay, whatever keeps them from running.
Timing long_timing() {
  return {.lease = patient(4 * kSecond),
          .heartbeat = 20 * kMillisecond,
          .silence = patient(2 * kSecond),
          .slowness = patient(4 * kSecond),
          .poll = 100 * kMillisecond,
          .candidacy = 50 * kMillisecond};
}
constexpr std::uint64_t kLogBytes = std::uint64_t{4} << 20;
constexpr LogPosition kLogStart{.lsn = 0, .chain = 1};

/// What the test asks a member, and what it is told.
struct Question {
  std::uint64_t value;  ///< to be put; 0: how many are there?
};
struct Told {
  enum class Kind : std::uint64_t { kPut = 1, kRefused = 2, kCount = 3 };
  Kind kind;
  std::uint64_t value;    ///< value of the question; kCount: how many
  std::uint64_t members;  ///< members of its view
};

/// The values in the log.
class Values final : public Machine {
 public:
  Result<LogPosition> apply(const Log& log, LogPosition from, Lsn commit) override {
    LogReader reader(log.bytes(), from);
    while (reader.position().lsn < commit) {
      const auto record = reader.next();
      if (!record) break;
      stamp_ = record->header.stamp;
      if (const auto entry = payload_as<EntryPayload<2>>(*record)) values.insert(entry->id);
    }
    return reader.position();
  }
  Stamp stamp() const override { return stamp_; }
  std::set<std::uint64_t> values;

 private:
  Stamp stamp_ = 0;
};

/// One member's process; ends with the test's.
class MemberProcess {
 public:
  MemberProcess(MemberId id, std::string listen, std::string etcd, std::string log,
                ReplicationProtocol protocol, Ack ack, const Timing& timing)
      : id_(id),
        listen_(std::move(listen)),
        etcd_(std::move(etcd)),
        log_(std::move(log)),
        protocol_(protocol),
        ack_(ack),
        timing_(timing) {}
  ~MemberProcess() { kill_it(); }
  MemberProcess(MemberProcess&& other) noexcept
      : id_(other.id_),
        listen_(std::move(other.listen_)),
        etcd_(std::move(other.etcd_)),
        log_(std::move(other.log_)),
        protocol_(other.protocol_),
        ack_(other.ack_),
        timing_(other.timing_),
        pid_(std::exchange(other.pid_, -1)),
        socket_(std::exchange(other.socket_, -1)) {}

  void start() {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(sockets[0]);
      _exit(run(sockets[1]));
    }
    close(sockets[1]);
    socket_ = sockets[0];
  }
  void kill_it() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    close(socket_);
    pid_ = -1;
  }
  bool is_running() const { return pid_ > 0; }

  /// The answer, or nothing within a tenth of a second of an idle machine.
  std::optional<Told> ask(std::uint64_t value) const {
    const Question question{value};
    if (pid_ <= 0 || send(socket_, &question, sizeof question, MSG_NOSIGNAL) < 0) return {};
    pollfd ready{socket_, POLLIN, 0};
    const auto timeout_ms = static_cast<int>(patient(100));
    while (poll(&ready, 1, timeout_ms) > 0) {
      Told told;
      if (recv(socket_, &told, sizeof told, 0) != sizeof told) return {};
      if (told.kind == Told::Kind::kCount ? value == 0 : told.value == value) return told;
    }
    return {};
  }

 private:
  int run(int socket) const {
    silurus::log::set_level(silurus::log::Level::kWarning);
    const auto file = PersistentFile::map(log_, {.create = true, .size = kLogBytes});
    if (!file) return 2;
    auto log = Log::open(PersistentFile::view(*file, 0, kLogBytes), kLogStart);
    if (!log) return 3;
    Values values;
    auto driver = Driver::create({.agreement = EtcdAddress::parse(etcd_).value(),
                                  .shard = 0,
                                  .id = id_,
                                  .listen = listen_,
                                  .clients = {},
                                  .multicast = {},
                                  .protocol = protocol_,
                                  .ack = ack_,
                                  .timing = timing_,
                                  .window_bytes = std::size_t{1} << 20,
                                  .wait = transport::WaitPolicy::kSleep},
                                 **log, kLogStart, values);
    if (!driver) {
      std::cerr << driver.error().message << std::endl;
      return 4;
    }
    std::multimap<Lsn, std::uint64_t> waiting;
    while ((*driver)->turn(kMillisecond)) serve(socket, **driver, **log, values, waiting);
    return 5;
  }

  static void serve(int socket, Driver& driver, Log& log, const Values& values,
                    std::multimap<Lsn, std::uint64_t>& waiting) {
    Member& member = driver.member();
    const auto tell = [&](Told::Kind kind, std::uint64_t value) {
      const Told told{kind, value, member.view().members.size()};
      [[maybe_unused]] const auto ignored = send(socket, &told, sizeof told, MSG_NOSIGNAL);
    };
    Question question;
    while (recv(socket, &question, sizeof question, MSG_DONTWAIT) == sizeof question) {
      if (question.value == 0) {
        tell(Told::Kind::kCount, values.values.size());
      } else if (!member.may_write()) {
        tell(Told::Kind::kRefused, question.value);
      } else {
        const EntryPayload<2> payload{question.value, {}};
        log.append({.checksum = 0,
                    .lsn = 0,
                    .stamp = values.stamp() + 1,
                    .epoch = member.epoch(),
                    .length = 0,
                    .type = RecordType::kInsert,
                    .flags = 0},
                   std::as_bytes(std::span(&payload, 1)));
        log.end_batch();
        waiting.emplace(log.end().lsn, question.value);
        if (!member.wrote()) return;
      }
    }
    while (!waiting.empty() && waiting.begin()->first <= member.applied().lsn) {
      if (values.values.contains(waiting.begin()->second)) {
        tell(Told::Kind::kPut, waiting.begin()->second);
      }
      waiting.erase(waiting.begin());
    }
  }

  const MemberId id_;
  const std::string listen_;
  const std::string etcd_;
  const std::string log_;
  const ReplicationProtocol protocol_;
  const Ack ack_;
  const Timing timing_;
  pid_t pid_ = -1;
  int socket_ = -1;
};

struct Setting {
  std::string fabric;
  ReplicationProtocol protocol;
  Ack ack = Ack::kAll;
};

class GroupOfProcesses : public testing::TestWithParam<Setting> {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed())
      GTEST_SKIP() << "no etcd here: scripts/setup --test installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
  }
  void start(const Timing& timing) {
    for (MemberId id = 1; id <= 3; ++id) {
      const std::string name = std::to_string(id);
      const std::string listen = GetParam().fabric == "shm"
                                     ? "shm://" + (folder_ / (name + ".sock"))
                                     : "tcp://127.0.0.1:0";
      members_.emplace_back(id, listen, etcd_->address("test"), folder_ / (name + ".log"),
                            GetParam().protocol, GetParam().ack, timing);
      members_.back().start();
    }
  }

  /// Puts a value at the member that takes it; the number of the member.
  std::size_t put(std::uint64_t value) {
    const bool is_put = wait_until([&] {
      const auto told = members_[last_].ask(value);
      if (told && told->kind == Told::Kind::kPut) {
        view_size_ = told->members;
        return true;
      }
      last_ = (last_ + 1) % members_.size();
      return false;
    });
    EXPECT_TRUE(is_put) << "no member took " << value;
    return last_;
  }
  /// Waits until all that run say the same.
  bool all_say(std::uint64_t count, std::uint64_t members) {
    return wait_until([&] {
      return std::ranges::all_of(members_, [&](const MemberProcess& member) {
        if (!member.is_running()) return true;
        const auto told = member.ask(0);
        return told && told->value == count && told->members == members;
      });
    });
  }

  TemporaryFolder folder_;
  std::unique_ptr<EtcdProcess> etcd_;
  std::vector<MemberProcess> members_;
  std::size_t last_ = 0;
  std::uint64_t view_size_ = 0;  ///< when the last value was put
};

TEST_P(GroupOfProcesses, KeepsEveryAcknowledgedWriteThroughTheDeathOfItsPrimaries) {
  start(short_timing());
  ASSERT_TRUE(all_say(0, 3));
  std::uint64_t value = 0;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 200; ++i) put(++value);
    // A busy machine may have had members voted out; the last one must not be killed.
    ASSERT_TRUE(wait_until([&] {
      put(++value);
      return view_size_ == members_.size();
    }));
    MemberProcess& primary = members_[last_];
    primary.kill_it();
    for (int i = 0; i < 200; ++i) put(++value);
    primary.start();
    ASSERT_TRUE(all_say(value, 3)) << "the one that died comes back, and has everything";
  }
}

TEST_P(GroupOfProcesses, GoesOnWhileEtcdIsAway) {
  start(long_timing());
  ASSERT_TRUE(all_say(0, 3));
  put(1);
  etcd_->stop();
  for (std::uint64_t value = 2; value < 400; ++value) put(value);
  ASSERT_TRUE(all_say(399, 3));
  etcd_->start();
  ASSERT_TRUE(etcd_->wait_until_ready());
  ASSERT_TRUE(all_say(399, 3));
  members_[last_].kill_it();
  put(400);
  ASSERT_TRUE(all_say(400, 2));
}

std::vector<Setting> all_settings() {
  std::vector<Setting> settings;
  for (const char* fabric : {"shm", "tcp"}) {
    for (const auto protocol : {ReplicationProtocol::kMulticast, ReplicationProtocol::kLogWrite,
                                ReplicationProtocol::kChain}) {
      settings.push_back({fabric, protocol});
    }
  }
  settings.push_back({"shm", ReplicationProtocol::kChain, Ack::kMetadata});
  settings.push_back({"tcp", ReplicationProtocol::kLogWrite, Ack::kQuorum});
  return settings;
}

INSTANTIATE_TEST_SUITE_P(Settings, GroupOfProcesses, testing::ValuesIn(all_settings()),
                         [](const auto& one) {
                           std::string name = one.param.fabric + "_";
                           for (const char c : to_string(one.param.protocol)) {
                             if (c != '-') name += c;
                           }
                           return name + "_" + std::string(to_string(one.param.ack));
                         });

}  // namespace
}  // namespace silurus::replication::group
