// SPDX-License-Identifier: Apache-2.0

#include "silurus/client.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include "common/random.h"
#include "rtree/geometry.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/seed.h"
#include "tests/support/server_process.h"

// The client library against the real server.

namespace silurus {
namespace {

using testing_support::pace;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

constexpr Mode kModes[] = {Mode::kMessaging, Mode::kOffload, Mode::kAdaptive};

Box<2> random_box(Random& random, double edge) {
  const double x = random.uniform();
  const double y = random.uniform();
  return {{x, y}, {x + edge * random.uniform(), y + edge * random.uniform()}};
}

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> ids) {
  std::ranges::sort(ids);
  return ids;
}

std::vector<std::uint64_t> matching(const std::vector<Entry<2>>& entries, const Box<2>& window,
                                    Predicate predicate) {
  const rtree::RangeQuery<2> query{.window = window, .predicate = predicate};
  std::vector<std::uint64_t> ids;
  for (const auto& entry : entries) {
    if (rtree::matches(query, entry.box)) ids.push_back(entry.id);
  }
  return sorted(std::move(ids));
}

class ClientTest : public testing::Test {
 protected:
  std::string url() const { return "shm://" + (folder_ / "socket"); }

  void start(std::vector<std::string> arguments = {}) {
    arguments.insert(arguments.begin(), {"--listen", url(), "--log-level", "error"});
    server_ = std::make_unique<ServerProcess>(arguments);
    ASSERT_FALSE(server_->addresses().empty()) << server_->errors();
  }
  Client<2> connect(const ClientOptions& options = {}) {
    auto client = Client<2>::connect(url(), patient(options));
    EXPECT_TRUE(client) << client.error().message;
    return std::move(*client);
  }
  std::vector<Entry<2>> load(std::size_t count) {
    Random random(1);
    std::vector<Entry<2>> entries;
    for (std::uint64_t id = 0; id < count; ++id) entries.push_back({id, random_box(random, 0.01)});
    auto client = connect();
    const auto loaded = client.load(entries);
    EXPECT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ(loaded->entries, count);
    return entries;
  }

  /// Runs what shall happen while this thread is blocked in its next call, on a thread of its own
  /// that begins when this one has fallen asleep.
  static std::jthread when_blocked(std::function<void()> act) {
    return std::jthread([caller = gettid(), act = std::move(act)] {
      EXPECT_TRUE(wait_until([&] { return testing_support::is_asleep(caller); }));
      act();
    });
  }

  TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(ClientTest, EveryModeFindsWhatBruteForceFinds) {
  start();
  const auto entries = load(20'000);
  Random random(testing_support::seed(2));
  for (const Mode mode : kModes) {
    auto client = connect({.mode = mode});
    for (int i = 0; i < 60; ++i) {
      const Box<2> window = random_box(random, 0.1);
      for (const auto predicate :
           {Predicate::kIntersects, Predicate::kWithin, Predicate::kContains}) {
        const auto expected = matching(entries, window, predicate);
        const auto found = client.range(window, {.predicate = predicate});
        ASSERT_TRUE(found) << found.error().message;
        EXPECT_EQ(sorted(found->ids), expected);
        EXPECT_EQ(client.count(window, predicate).value(), expected.size());
      }
      const auto whole = client.range(window, {.shape = ResultShape::kEntries});
      ASSERT_TRUE(whole);
      for (std::size_t e = 0; e < whole->ids.size(); ++e) {
        EXPECT_EQ(whole->boxes[e], entries[whole->ids[e]].box);
      }
      const Point<2> point{{random.uniform(), random.uniform()}};
      auto all = entries;
      const auto nearer = [&](const Entry<2>& a, const Entry<2>& b) {
        const double da = rtree::distance(point, a.box);
        const double db = rtree::distance(point, b.box);
        return da != db ? da < db : a.id < b.id;
      };
      std::ranges::partial_sort(all, all.begin() + 10, nearer);
      const auto near = client.nearest(point, 10);
      ASSERT_TRUE(near);
      ASSERT_EQ(near->size(), 10u);
      for (std::size_t n = 0; n < 10; ++n) EXPECT_EQ((*near)[n].id, all[n].id);
      EXPECT_EQ(client.range(window, {.limit = 3})->count,
                std::min<std::uint64_t>(3, client.count(window).value()));
    }
    const auto statistics = client.statistics();
    if (mode == Mode::kMessaging) {
      EXPECT_EQ(statistics.offload.completed, 0u);
    }
    if (mode == Mode::kOffload) {
      EXPECT_EQ(statistics.messaging.completed, 0u);
      EXPECT_GT(statistics.offload.cache_hits, 0u);
    }
  }
}

TEST_F(ClientTest, AnswersAreThoseOfTheirVersionWhileInsertsGoOn) {
  start({"--grace", "20ms"});
  const auto loaded = load(5'000);
  struct Inserted {
    Entry<2> entry;
    Version version;
  };
  std::vector<Inserted> inserted;
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    auto client = Client<2>::connect(url(), patient()).value();
    Random random(3);
    for (std::uint64_t id = 1'000'000; !stop; ++id) {
      const Entry<2> entry{id, random_box(random, 0.01)};
      const auto version = client.insert(entry.id, entry.box);
      ASSERT_TRUE(version) << version.error().message;
      inserted.push_back({entry, *version});
    }
  });
  struct Answer {
    Box<2> window;
    RangeAnswer<2> found;
    Version known;  // the client had seen this version before it asked
  };
  std::vector<Answer> answers;
  Random random(testing_support::seed(4));
  std::vector<Client<2>> clients;
  for (const Mode mode : kModes) clients.push_back(connect({.mode = mode}));
  Version known = 0;
  for (int i = 0; i < 900; ++i) {
    const Box<2> window = random_box(random, 0.1);
    auto found = clients[static_cast<std::size_t>(i % 3)].range(window);
    ASSERT_TRUE(found) << found.error().message;
    // A client that saw a version never sees an older one later, whichever way it asks.
    EXPECT_GE(found->version, known);
    known = found->version;
    answers.push_back({window, std::move(*found), known});
  }
  stop = true;
  writer.join();
  for (const auto& answer : answers) {
    auto then = loaded;
    for (const auto& one : inserted) {
      if (one.version <= answer.found.version) then.push_back(one.entry);
    }
    ASSERT_EQ(sorted(answer.found.ids), matching(then, answer.window, Predicate::kIntersects));
  }
}

TEST_F(ClientTest, ManySearchesAreInFlightOnOneThread) {
  start();
  const auto entries = load(20'000);
  for (const Mode mode : kModes) {
    auto client = connect({.mode = mode});
    Random random(5);
    std::vector<rtree::RangeQuery<2>> queries(500);
    for (auto& query : queries) query.window = random_box(random, 0.05);
    const auto found = client.range_batch(queries);
    ASSERT_TRUE(found) << found.error().message;
    for (std::size_t i = 0; i < queries.size(); ++i) {
      EXPECT_EQ(sorted((*found)[i].ids),
                matching(entries, queries[i].window, Predicate::kIntersects));
    }
    int answered = 0;
    for (const auto& query : queries) {
      ASSERT_TRUE(client.range_async(
          query, [&](Result<RangeAnswer<2>*> answer) { answered += answer ? 1 : 0; }));
    }
    client.wait();
    EXPECT_EQ(answered, 500);
  }
}

TEST_F(ClientTest, OffloadWithAWarmCacheTakesOneRoundTrip) {
  start({"--grace", "10s"});  // no search takes so long that it begins again
  load(100'000);
  auto client = connect({.mode = Mode::kOffload});
  ASSERT_TRUE(client.range({{0, 0}, {1, 1}}, {.shape = ResultShape::kCount}));
  client.reset_statistics();
  Random random(6);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(client.range(random_box(random, 0.00001)));
  EXPECT_EQ(client.statistics().offload.round_trips, 500u);
  EXPECT_EQ(client.statistics().offload.cache_misses, 0u);
}

TEST_F(ClientTest, AClientStoppedForLongerThanTheGracePeriodGetsRightAnswers) {
  const Nanoseconds grace = patient(10 * kMillisecond);
  start({"--grace", std::to_string(grace) + "ns"});
  constexpr std::uint64_t kEntries = 20'000;
  auto entries = load(kEntries);
  const pid_t child = fork();
  if (child == 0) {
    // Entries only ever move: every answer must hold each of them once.
    auto client = Client<2>::connect(url(), patient({.mode = Mode::kOffload}));
    if (!client) _exit(2);
    for (int i = 0; i < 300; ++i) {
      const auto found = client->range({{-1, -1}, {2, 2}});
      if (!found) _exit(3);
      auto ids = sorted(found->ids);
      if (ids.size() != kEntries) _exit(4);
      for (std::uint64_t id = 0; id < kEntries; ++id) {
        if (ids[id] != id) _exit(5);
      }
    }
    _exit(0);
  }
  auto client = connect();
  Random random(7);
  int status = 0;
  bool ended = false;
  for (int round = 0; round < 100 && !ended; ++round) {
    kill(child, SIGSTOP);
    // The stop lasts for longer than the grace period, and memory is recycled meanwhile.
    for (const SystemClock clock; const Nanoseconds until = clock.now() + grace * 3 / 2;) {
      while (clock.now() < until) {
        Entry<2>& entry = entries[random.below(kEntries)];
        const Box<2> to = random_box(random, 0.01);
        ASSERT_TRUE(client.update(entry.id, entry.box, to));
        entry.box = to;
      }
      break;
    }
    kill(child, SIGCONT);
    pace(patient(2 * kMillisecond));  // pacing: the child may search, or not
    ended = waitpid(child, &status, WNOHANG) == child;
  }
  if (!ended) waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(ClientTest, AServerThatDiesEndsTheBlockedCall) {
  start();
  load(1'000);
  auto client = connect(
      {.mode = Mode::kMessaging, .deadline = 60 * kSecond, .reconnect_for = 300 * kMillisecond});
  ASSERT_TRUE(client.count({{0, 0}, {1, 1}}));
  server_->freeze();
  std::jthread killer = when_blocked([&] { server_->signal(SIGKILL); });
  const auto insert = client.insert(1, {{0, 0}, {1, 1}});
  killer.join();
  ASSERT_FALSE(insert);
  EXPECT_EQ(insert.error().code, ErrorCode::kInDoubt);
  EXPECT_NE(insert.error().message.find("unknown"), std::string::npos) << insert.error().message;
  const auto later = client.count({{0, 0}, {1, 1}});
  ASSERT_FALSE(later);
  EXPECT_EQ(later.error().code, ErrorCode::kConnectionLost);
}

TEST_F(ClientTest, ASearchIsAskedAgainOfTheServerThatTakesTheOthersPlace) {
  start();
  load(1'000);
  auto client = connect({.mode = Mode::kMessaging, .reconnect_for = 30 * kSecond});
  server_->freeze();
  std::jthread successor = when_blocked([&] {
    server_->signal(SIGKILL);
    server_->wait();
    pace(100 * kMillisecond);  // pacing: the client may look for it in vain
    start();
  });
  const auto found = client.count({{0, 0}, {1, 1}});
  successor.join();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, 0u) << "the new server's tree is empty";
  EXPECT_EQ(client.statistics().reconnects, 1u);
}

TEST_F(ClientTest, AsynchronousSearchesSurviveTheirServer) {
  start();
  load(1'000);
  auto client = connect({.mode = Mode::kMessaging, .reconnect_for = 30 * kSecond});
  server_->freeze();
  std::size_t found = 0;
  std::size_t failed = 0;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(client.range_async({.window = {{0, 0}, {1, 1}}},
                                   [&](auto answer) { answer ? ++found : ++failed; }));
  }
  std::size_t in_doubt = 0;
  WriteBatch<2> batch;
  batch.insert(7, {{0, 0}, {1, 1}});
  ASSERT_TRUE(client.write_async(batch, [&](auto answer) {
    if (!answer && answer.error().code == ErrorCode::kInDoubt) ++in_doubt;
  }));
  client.poll();
  server_->signal(SIGKILL);
  server_->wait();
  start();
  client.wait();
  EXPECT_EQ(found, 50u);
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(in_doubt, 1u) << "a server without a group remembers no writes";
  EXPECT_EQ(client.count({{0, 0}, {1, 1}}).value(), 0u);
}

TEST_F(ClientTest, OfSeveralServersOneThatIsThereIsTaken) {
  start();
  load(1'000);
  const std::string urls = "shm:///tmp/silurus-no-such-socket," + server_->addresses().front();
  auto client = Client<2>::connect(urls, patient());
  ASSERT_TRUE(client) << client.error().message;
  EXPECT_EQ(client->count({{0, 0}, {1, 1}}).value(), 1'000u);
  EXPECT_EQ(client->cluster().value().role, "primary");
}

TEST_F(ClientTest, NothingOfALostServerIsBelievedOfTheNextOne) {
  for (const Mode mode : {Mode::kOffload, Mode::kAdaptive}) {
    start();
    load(1'000);
    auto client = connect({.mode = mode});
    ASSERT_EQ(client.count({{0, 0}, {1, 1}}).value(), 1'000u);
    server_->signal(SIGKILL);
    server_->wait();
    start();
    EXPECT_TRUE(wait_until([&] {
      EXPECT_TRUE(client.count({{0, 0}, {1, 1}}));
      return client.statistics().reconnects != 0;
    }));
    EXPECT_EQ(client.statistics().reconnects, 1u);
    EXPECT_EQ(client.count({{0, 0}, {1, 1}}).value(), 0u);
    ASSERT_TRUE(client.insert(1, {{0, 0}, {1, 1}}));
    EXPECT_EQ(client.count({{0, 0}, {1, 1}}).value(), 1u);
    server_->stop();
  }
}

TEST_F(ClientTest, AClientThatMayNotReconnectStaysDisconnected) {
  start();
  auto client = connect({.mode = Mode::kMessaging, .reconnect_for = 0});
  ASSERT_TRUE(client.insert(1, {{0, 0}, {1, 1}}));
  server_->signal(SIGKILL);
  server_->wait();
  start();
  const auto found = client.count({{0, 0}, {1, 1}});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kConnectionLost);
  EXPECT_EQ(client.count({{0, 0}, {1, 1}}).error().message, found.error().message);
}

TEST_F(ClientTest, NoAnswerInTimeIsAnErrorAndTheClientGoesOn) {
  start();
  load(1'000);
  auto client = connect({.mode = Mode::kMessaging, .deadline = 200 * kMillisecond});
  server_->freeze();
  const auto insert = client.insert(5'000, {{0, 0}, {1, 1}});
  server_->signal(SIGCONT);
  ASSERT_FALSE(insert);
  EXPECT_EQ(insert.error().code, ErrorCode::kInDoubt);
  EXPECT_NE(insert.error().message.find("unknown"), std::string::npos) << insert.error().message;
  EXPECT_TRUE(wait_until([&] { return client.count({{0, 0}, {1, 1}}).has_value(); }));
}

TEST_F(ClientTest, AServerThatIsNotThereIsNamed) {
  const auto client = Client<2>::connect("shm:///tmp/silurus-no-such-socket");
  ASSERT_FALSE(client);
  EXPECT_NE(client.error().message.find("silurus-no-such-socket"), std::string::npos);
  const auto tcp = Client<2>::connect("tcp://127.0.0.1:1");
  ASSERT_FALSE(tcp);
  EXPECT_FALSE(Client<2>::connect("carrier-pigeon://x"));
}

TEST_F(ClientTest, AnotherNumberOfDimensionsIsRefused) {
  start();
  const auto client = Client<3>::connect(url(), patient());
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(client.error().message.find("dimensions"), std::string::npos);
}

TEST_F(ClientTest, ThreeDimensionsWorkTheSame) {
  start({"--dimensions", "3"});
  auto client = Client<3>::connect(url(), patient({.mode = Mode::kOffload}));
  ASSERT_TRUE(client) << client.error().message;
  ASSERT_TRUE(client->insert(1, {{0, 0, 0}, {1, 1, 1}}));
  ASSERT_TRUE(client->insert(2, {{0, 0, 5}, {1, 1, 6}}));
  EXPECT_EQ(client->range({{0, 0, 2}, {1, 1, 7}})->ids, std::vector<std::uint64_t>{2});
  EXPECT_EQ(client->nearest({{0, 0, 2}}, 1).value()[0].id, 1u);
}

TEST_F(ClientTest, NonsenseIsRefusedBeforeItIsSent) {
  start();
  auto client = connect();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(client.range({{nan, 0}, {1, 1}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(client.range({{2, 0}, {1, 1}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(client.nearest({{0, 0}}, 0).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(client.insert(1, {{0, nan}, {1, 1}}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(client.write({}).error().code, ErrorCode::kInvalidArgument);
  WriteBatch<2> batch;
  for (std::size_t i = 0; i <= client.max_batch(); ++i) batch.insert(i, {{0, 0}, {1, 1}});
  EXPECT_EQ(client.write(batch).error().code, ErrorCode::kTooLarge);
}

TEST_F(ClientTest, WritesSayWhatFailedAndLeaveTheRestAlone) {
  start();
  auto client = connect();
  const Box<2> box{{0, 0}, {1, 1}};
  const auto first = client.insert(1, box);
  ASSERT_TRUE(first);
  const auto missing = client.erase(9, box);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  const auto answer = client.write(WriteBatch<2>().insert(2, box).erase(9, box).insert(3, box));
  ASSERT_TRUE(answer) << answer.error().message;
  ASSERT_EQ(answer->failed.size(), 1u);
  EXPECT_EQ(answer->failed[0].index, 1u);
  EXPECT_EQ(answer->failed[0].code, ErrorCode::kNotFound);
  EXPECT_GT(answer->version, *first);
  EXPECT_EQ(client.count(box).value(), 3u);
  ASSERT_TRUE(client.update(1, box, {{5, 5}, {6, 6}}));
  EXPECT_EQ(client.count(box).value(), 2u);
}

TEST_F(ClientTest, ACallbackMaySearchAgainWhileItsClientIsDestroyed) {
  start();
  auto client = std::make_unique<Client<2>>(connect());
  Client<2>* const own = client.get();
  int ended = 0;
  int refused = 0;
  const std::function<void()> search = [&] {
    const Status begun = own->range_async({.window = {{0, 0}, {1, 1}}}, [&](auto) {
      ++ended;
      search();
    });
    if (!begun) ++refused;
  };
  for (int i = 0; i < 8; ++i) search();
  client->poll();
  client.reset();
  EXPECT_GE(ended, 8);
  EXPECT_EQ(refused, 8) << "one more each: the end of a client is not for ever";
}

TEST_F(ClientTest, ASearchGoesOnAtAServerThatAnswersMessagesAlone) {
  start();
  const ServerProcess next({"--listen", "tcp://127.0.0.1:0", "--log-level", "error"});
  ASSERT_EQ(next.addresses().size(), 1u);
  auto client =
      Client<2>::connect(url() + "," + next.addresses()[0],
                         patient({.deadline = 20 * kSecond, .reconnect_for = 20 * kSecond}));
  ASSERT_TRUE(client) << client.error().message;
  server_->freeze();
  std::optional<Status> answer;
  ASSERT_TRUE(client->range_async({.window = {{0, 0}, {1, 1}}}, [&](const auto& found) {
    answer = found ? Status() : fail(found.error());
  }));
  client->poll();
  server_.reset();
  client->wait();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(*answer) << answer->error().message;
}

TEST_F(ClientTest, ABulkLoadNeedsAnEmptyTree) {
  start();
  load(1'000);
  auto client = connect();
  const auto again = client.load(std::vector<Entry<2>>{{1, {{0, 0}, {1, 1}}}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_EQ(client.count({{-1, -1}, {2, 2}}).value(), 1'000u);
}

TEST_F(ClientTest, ABulkLoadAfterAnAbortedOneCountsItsOwnEntriesOnly) {
  start();
  auto client = connect();
  const std::vector<Entry<2>> dropped{{1, {{0, 0}, {1, 1}}}, {2, {{0, 0}, {1, 1}}}};
  ASSERT_TRUE(client.load_begin());
  ASSERT_TRUE(client.load_add(dropped));
  ASSERT_TRUE(client.load_abort());
  const auto loaded = client.load(std::vector<Entry<2>>{{3, {{0, 0}, {1, 1}}}});
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->entries, 1u);
  EXPECT_EQ(client.range({{-1, -1}, {2, 2}})->ids, std::vector<std::uint64_t>{3});
}

TEST_F(ClientTest, ABulkLoadBeginsAtTheServerThatTookTheOthersPlace) {
  start();
  auto client = connect({.reconnect_for = 30 * kSecond});
  ASSERT_EQ(client.count({{0, 0}, {1, 1}}).value(), 0u);
  server_->signal(SIGKILL);
  server_->wait();
  start();
  // The client, which has not noticed, begins the load on the lost connection.
  const auto loaded = client.load(std::vector<Entry<2>>{{1, {{0, 0}, {1, 1}}}});
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->entries, 1u);
  EXPECT_EQ(client.statistics().reconnects, 1u);
}

}  // namespace
}  // namespace silurus
