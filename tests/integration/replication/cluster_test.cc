// SPDX-License-Identifier: Apache-2.0

#include "tests/integration/replication/cluster_of_servers.h"

// Clusters of real servers: primaries are killed under load, stopped and woken, etcd goes away,
// members come with empty directories.

namespace silurus {
namespace {

TEST_P(ClusterOfServers, KeepsEveryAcknowledgedWriteThroughTheDeathOfItsPrimaries) {
  start(3);
  expect_no_write_lost_through([this] {
    for (int round = 0; round < 3; ++round) {
      ASSERT_TRUE(wait_for_writes(50));
      // No other member could succeed one that a busy machine has left alone in its view.
      ASSERT_TRUE(wait_for_view(3)) << "who was killed comes back";
      Member* const killed = primary();
      ASSERT_NE(killed, nullptr);
      killed->kill_it();
      ASSERT_TRUE(wait_for_writes(50)) << "at its successor";
      killed->start();
    }
    ASSERT_TRUE(wait_for_view(3));
  });
}

TEST_P(ClusterOfServers, AStoppedPrimaryThatIsWokenAnswersNothingThatIsOld) {
  start(3);
  Client<2> writer = client();
  ASSERT_TRUE(writer.insert(1, box_of(1)));
  Member* const old = primary();
  ASSERT_NE(old, nullptr);
  auto own = RawClient::connect(old->url());
  ASSERT_TRUE(own.has_value());
  ASSERT_TRUE((*own)->range(1, {.window = kEverything}));
  ASSERT_EQ((*own)->reply(1)->count, 1u);
  old->process().freeze();
  // What it finds in its ring when it wakes.
  ASSERT_TRUE((*own)->range(2, {.window = kEverything}));
  ASSERT_TRUE((*own)->write(3, {{.id = 9,
                                 .kind = protocol::OperationKind::kInsert,
                                 .record_bytes = 0,
                                 .box = box_of(9),
                                 .to = {}}}));
  const auto next = writer.insert(2, box_of(2));
  ASSERT_TRUE(next.has_value()) << "at the next primary: " << next.error().message;
  old->process().signal(SIGCONT);
  const auto read = (*own)->reply(2, 5 * kSecond);
  if (read) {
    ASSERT_TRUE(read->error) << "it believed its lease after it had ended";
    EXPECT_EQ(read->error->code, ErrorCode::kNotPrimary);
  }
  const auto wrote = (*own)->reply(3, 5 * kSecond);
  EXPECT_TRUE(!wrote || wrote->error) << "it cannot commit alone";
  ASSERT_TRUE(wait_for_view(3));
  expect_everywhere({1, 2});
}

TEST_P(ClusterOfServers, GoesOnWhileEtcdIsAway) {
  lease_ = long_lease();  // without etcd a member that is given up stays away
  start(3);
  Client<2> writer = client();
  etcd_->stop();
  std::set<std::uint64_t> ids;
  for (std::uint64_t id = 1; id <= 300; ++id) {
    ASSERT_TRUE(writer.insert(id, box_of(id)));
    ids.insert(id);
  }
  EXPECT_TRUE(wait_until([&] {
    Member* const leads = primary();
    return leads != nullptr && leads->cluster()["view_store"] == "away";
  }));
  EXPECT_EQ(writer.count(kEverything).value(), 300u) << "and reads";
  expect_everywhere(ids);
}

TEST_P(ClusterOfServers, AMemberWithAnEmptyDirectoryIsTakenIn) {
  options_ = {"--min-members", "1"};
  start(1);
  Client<2> writer = client();
  std::set<std::uint64_t> ids;
  for (std::uint64_t id = 1; id <= 200; ++id) {
    ASSERT_TRUE(writer.insert(id, box_of(id)));
    ids.insert(id);
  }
  start(2);
  expect_everywhere(ids);
  members_[0].kill_it();
  Client<2> another = client();
  ASSERT_TRUE(another.insert(201, box_of(201))) << "the one that came has everything";
  const json replicated = primary()->cluster()["replication"];
  EXPECT_GT(replicated["bytes_sent"], 0) << replicated;
  ids.insert(201);
  expect_everywhere(ids);
}

TEST_P(ClusterOfServers, ABulkLoadWhosePrimaryDiesIsThereEverywhereOrNowhere) {
  start(3);
  std::set<std::uint64_t> ids;
  const std::vector<Entry<2>> entries = many_entries(100'000, ids);
  Member* const first = primary();
  ASSERT_NE(first, nullptr);
  Member& backup = first == &members_[0] ? members_[1] : members_[0];
  std::atomic<bool> is_over{false};
  bool is_loaded = false;
  {
    Client<2> loader = client();
    std::jthread loading([&] {
      is_loaded = loader.load(entries).has_value();
      is_over = true;
    });
    wait_until([&] {
      return is_over || backup.process().errors().find("has copied the") != std::string::npos;
    });
    first->kill_it();
  }
  first->start();
  ASSERT_TRUE(wait_for_view(3));
  Client<2> after = client();
  const auto count = after.count(kEverything);
  ASSERT_TRUE(count.has_value()) << count.error().message;
  std::printf("%s, and %llu entries are there\n", is_loaded ? "acknowledged" : "not acknowledged",
              static_cast<unsigned long long>(*count));
  EXPECT_TRUE(*count == ids.size() || (*count == 0 && !is_loaded));
  if (*count == 0) {
    const auto again = after.load(entries);
    ASSERT_TRUE(again.has_value()) << again.error().message;
  }
  expect_everywhere(ids);
}

TEST_P(ClusterOfServers, AFullTreeSaysSoAndTakesErasures) {
  options_ = {"--memory", "8M"};
  start(1);
  Client<2> writer = client();
  constexpr std::uint64_t kBatch = 500;
  std::uint64_t id = 0;
  Result<WriteAnswer> answer;
  do {
    WriteBatch<2> batch;
    for (std::uint64_t i = 0; i < kBatch; ++i, ++id) batch.insert(id, box_of(id));
    answer = writer.write(batch);
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    ASSERT_LT(id, 1'000'000u);
  } while (answer->failed.empty());
  EXPECT_EQ(answer->failed[0].code, ErrorCode::kOutOfMemory);
  const std::uint64_t held = id - answer->failed.size();
  EXPECT_EQ(writer.count(kEverything).value(), held);
  for (std::uint64_t erased = 0; erased < 2 * kBatch; ++erased) {
    ASSERT_TRUE(writer.erase(erased, box_of(erased)).has_value());
  }
  EXPECT_TRUE(writer.insert(id, box_of(id)).has_value()) << "there is room again";
  EXPECT_EQ(writer.count(kEverything).value(), held - 2 * kBatch + 1);
}

TEST_P(ClusterOfServers, ACompactionPacksTheNodesOfEveryMember) {
  start(3);
  auto writer = client();
  std::set<std::uint64_t> ids;
  const auto write = [&](std::uint64_t first, bool erases) {
    WriteBatch<2> batch;
    for (std::uint64_t id = first; id < first + 500; ++id) {
      if (erases && id % 8 < 3) continue;
      erases ? batch.erase(id, box_of(id)) : batch.insert(id, box_of(id));
      erases ? static_cast<void>(ids.erase(id)) : static_cast<void>(ids.insert(id));
    }
    const auto written = writer.write(batch);
    ASSERT_TRUE(written) << written.error().message;
    EXPECT_TRUE(written->failed.empty());
  };
  for (std::uint64_t first = 0; first < 5000; first += 500) write(first, false);
  for (std::uint64_t first = 0; first < 5000; first += 500) write(first, true);
  std::uint64_t saved = 0;
  std::uint64_t cursor = 0;
  for (bool is_done = false; !is_done;) {
    const auto step = writer.compact(cursor, 1);
    ASSERT_TRUE(step) << step.error().message;
    saved += step->saved_nodes;
    cursor = step->next;
    is_done = step->is_done;
    ASSERT_TRUE(writer.erase(100'000, box_of(100'000)) ||
                writer.insert(100'000, box_of(100'000)));  // others write in between
    if (step->must_wait) usleep(5000);                     // pacing: memory comes back meanwhile
  }
  EXPECT_GT(saved, 0u);
  (void)writer.erase(100'000, box_of(100'000));
  expect_everywhere(ids);
}

TEST_P(ClusterOfServers, EveryMemberRemembersWhatCameOfAWrite) {
  options_ = {"--min-members", "1"};
  start(2);
  const protocol::ClientHello hello{.dimensions = 2, .client = 77};
  const std::vector<protocol::Operation<2>> write{{.id = 5,
                                                   .kind = protocol::OperationKind::kInsert,
                                                   .record_bytes = 0,
                                                   .box = box_of(5),
                                                   .to = {}},
                                                  {.id = 6,
                                                   .kind = protocol::OperationKind::kErase,
                                                   .record_bytes = 0,
                                                   .box = box_of(6),
                                                   .to = {}}};
  const auto send = [&](Member& to) {
    auto client = RawClient::connect(to.url(), std::as_bytes(std::span(&hello, 1)));
    EXPECT_TRUE(client.has_value() && (*client)->write(1, write));
    return (*client)->reply(1);
  };
  Member* leads = primary();
  ASSERT_NE(leads, nullptr);
  const auto first = send(*leads);
  ASSERT_TRUE(first && !first->error);
  EXPECT_EQ(first->count, 1u) << "the erasure";
  const auto again = send(*leads);
  ASSERT_TRUE(again && !again->error);
  EXPECT_EQ(again->version, first->version);
  // A checkpoint has the table: it is in no log that is read again.
  leads->process().stop();
  leads->kill_it();
  leads = primary();
  ASSERT_NE(leads, nullptr);
  const auto elsewhere = send(*leads);
  ASSERT_TRUE(elsewhere && !elsewhere->error);
  EXPECT_EQ(elsewhere->version, first->version);
  EXPECT_EQ(elsewhere->payload, first->payload);
  leads->process().stop();
  leads->start();
  leads = primary();
  ASSERT_NE(leads, nullptr);
  const auto restarted = send(*leads);
  ASSERT_TRUE(restarted && !restarted->error);
  EXPECT_EQ(restarted->version, first->version);
  expect_everywhere({5});
}

INSTANTIATE_TEST_SUITE_P(Fabrics, ClusterOfServers, testing::Values("shm", "tcp"),
                         [](const auto& one) { return std::string(one.param); });

TEST_F(MemberOptions, AreRefusedWithWhatIsWrong) {
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x"}).find("needs --data"), std::string::npos);
  EXPECT_NE(
      refusal({"--cluster", "http://127.0.0.1:1/x", "--data", folder_ / "d"}).find("--cluster"),
      std::string::npos);
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x", "--data", folder_ / "e"})
                .find("no etcd answers at etcd://127.0.0.1:1/x"),
            std::string::npos);
  EXPECT_NE(refusal({"--data", folder_ / "e"}).find("shard 0 of the cluster x"), std::string::npos);
  EXPECT_NE(refusal({"--cluster", "etcd://127.0.0.1:1/x", "--shard", "2", "--data", folder_ / "e"})
                .find("not that of a member of shard 2"),
            std::string::npos);
}

}  // namespace
}  // namespace silurus
