// SPDX-License-Identifier: Apache-2.0

#include <sys/stat.h>

#include <atomic>
#include <filesystem>

#include "tests/integration/replication/cluster_of_servers.h"

// Members whose log is of no use copy the tree of another one, and go on from there.

namespace silurus {
namespace {

/// Clusters with a log that is soon used again.
class CopiesOfServers : public ClusterOfServers {
 protected:
  static constexpr std::uint64_t kBatch = 500;
  /// More than a log of 4 MiB holds, and more than the 16 MiB of it that others can read out of the
  /// primary's memory.
  static constexpr std::uint64_t kMany = 250'000;

  void SetUp() override {
    // A lease so long that no member is taken for dead because the machine is busy.
    lease_ = testing_support::patient_option(2 * kSecond);
    options_ = {"--log-size", "4M", "--min-members", "1"};
    ClusterOfServers::SetUp();
  }
  /// Writes ids until there are that many.
  void grow(Client<2>& writer, std::uint64_t entries) {
    while (written_ < entries) {
      WriteBatch<2> batch;
      for (std::uint64_t i = 1; i <= kBatch; ++i) batch.insert(written_ + i, box_of(written_ + i));
      const auto done = writer.write(batch);
      ASSERT_TRUE(done.has_value()) << done.error().message;
      written_ += kBatch;
    }
  }
  /// Waits until all that run have the same version of that many entries.
  void expect_equal(std::uint64_t entries) {
    std::set<rtree::Version> versions;
    EXPECT_TRUE(wait_until([&] {
      versions.clear();
      return std::ranges::all_of(members_, [&](const Member& member) {
        if (!member.is_running()) return true;
        const auto found = member.ids();
        if (!found || found->second.size() != entries) return false;
        versions.insert(found->first);
        return versions.size() == 1 &&
               std::ranges::all_of(found->second, [](const auto& one) { return one.second == 1; });
      });
    })) << "members differ, or lack what was acknowledged";
  }
  /// Kills a member that is not the primary.
  Member& kill_a_backup() {
    Member* const leads = primary();
    for (Member& member : members_) {
      if (&member == leads) continue;
      member.kill_it();
      return member;
    }
    return *leads;
  }
  /// Starts it, and stops it in the middle of its copy; false: that was too late.
  bool start_and_freeze_in_mid_copy(Member& member) {
    const std::string nodes = member.data() + "/incoming/nodes.0";
    std::atomic<bool> is_over{false};
    std::atomic<bool> is_seen{false};
    std::thread watcher([&] {
      struct stat file {};
      while (!is_over && !is_seen) is_seen = stat(nodes.c_str(), &file) == 0 && file.st_blocks > 0;
    });
    member.start();
    wait_until([&] { return is_seen || has_copied(member); });
    member.process().freeze();
    is_over = true;
    watcher.join();
    return std::filesystem::exists(nodes);
  }
  /// Starts it with an empty directory, until it can be stopped in the middle of its copy.
  void freeze_in_mid_copy(Member& member) {
    for (int attempt = 0; attempt < 20; ++attempt) {
      std::filesystem::remove_all(member.data());
      if (start_and_freeze_in_mid_copy(member)) return;
      member.kill_it();
    }
    FAIL() << "each copy was whole before it could be stopped";
  }
  std::uint64_t copies_given() const {
    std::uint64_t given = 0;
    for (const Member& member : members_) {
      const json said = member.cluster();
      if (said.is_object()) given += said["copies_given"]["begun"].get<std::uint64_t>();
    }
    return given;
  }
  static bool has_said(Member& member, const char* what) {
    return member.process().errors().find(what) != std::string::npos;
  }
  static bool has_copied(Member& member) { return has_said(member, "starts again with it"); }

  std::uint64_t written_ = 0;
};

TEST_P(CopiesOfServers, BringAMemberBackThatWasAwayWhileTheLogWasRecycled) {
  start(3);
  Client<2> writer = client();
  grow(writer, 1'000);
  expect_equal(1'000);
  Member& away = kill_a_backup();
  ASSERT_TRUE(wait_for_view(2));
  grow(writer, kMany);
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> searches{0};
  std::thread searcher([&] {
    Client<2> own = client();
    for (; !is_over; ++searches) {
      const auto found = own.count(box_of(1 + searches % kMany));
      ASSERT_TRUE(found.has_value()) << found.error().message;
      ASSERT_GE(*found, 1u) << "what was there stays there";
    }
  });
  std::thread other_writer([&] {
    Client<2> own = client();
    while (!is_over) {
      const auto done = own.insert(written_ + 1, box_of(written_ + 1));
      ASSERT_TRUE(done.has_value()) << done.error().message;
      ++written_;
    }
  });
  away.start();
  EXPECT_TRUE(wait_for_view(3));
  EXPECT_TRUE(has_copied(away)) << away.process().errors();
  EXPECT_EQ(copies_given(), 1u);
  EXPECT_EQ(primary()->cluster()["copies_given"]["begun"], 0) << "a backup gives it";
  is_over = true;
  searcher.join();
  other_writer.join();
  EXPECT_GT(searches, 0u);
  expect_equal(written_);
}

TEST_P(CopiesOfServers, LetANewMemberJoinThoughTheLogBeginsLate) {
  start(1);
  Client<2> writer = client();
  grow(writer, kMany);
  start(2);
  EXPECT_TRUE(has_copied(members_[1])) << "from the primary, where there is no other member";
  expect_equal(kMany);
  // It is a member like any other: it leads, takes writes, and comes back by itself.
  members_[0].kill_it();
  Client<2> another = client();
  grow(another, kMany + 1'000);
  members_[1].kill_it();
  members_[1].start();
  grow(another, kMany + 2'000);
  expect_equal(kMany + 2'000);
}

/// The log is used again several times while the tree is copied, if the writers are not slowed:
/// then the copy is of no use when it is whole, and so is the next one.
TEST_P(CopiesOfServers, LetANewMemberJoinWhileWritersWriteAsFastAsTheyCan) {
  start(1);
  Client<2> writer = client();
  grow(writer, kMany);
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> moved{0};
  std::vector<std::jthread> movers;
  for (std::uint64_t number = 0; number < kWriters; ++number) {
    movers.emplace_back([&, number] {
      Client<2> own = client();
      const auto high = [](std::uint64_t id) {
        const double x = static_cast<double>(id);
        return rtree::Box<2>{{x, 2}, {x, 3}};
      };
      for (std::uint64_t round = 0; !is_over; ++round) {
        WriteBatch<2> batch;
        for (std::uint64_t i = 1; i <= kBatch; ++i) {
          const std::uint64_t id = number * kBatch + i;
          batch.update(id, round % 2 == 0 ? box_of(id) : high(id),
                       round % 2 == 0 ? high(id) : box_of(id));
        }
        const auto done = own.write(batch);
        ASSERT_TRUE(done.has_value()) << done.error().message;
        ASSERT_TRUE(done->failed.empty());
        moved += kBatch;
      }
    });
  }
  EXPECT_TRUE(wait_until([&] { return moved > 20 * kBatch; }));
  const std::uint64_t before = moved;
  add(options_).start();
  EXPECT_TRUE(wait_for_view(2)) << members_.back().process().errors();
  const json log = json::parse(client().server_statistics().value().json)["durability"]["log"];
  std::printf("%zu updates while it joined, %zu batches waited for it\n",
              static_cast<std::size_t>(moved - before), log["join_waits"].get<std::size_t>());
  is_over = true;
  movers.clear();
  expect_equal(kMany);
}

TEST_P(CopiesOfServers, AreRefusedOnceAndAskedForLessAndLessOftenByAMemberWithoutRoom) {
  start(1);
  Client<2> writer = client();
  grow(writer, kMany);
  std::vector<std::string> small = options_;
  small.insert(small.end(), {"--memory", "4M"});
  Member& member = add(small);
  member.start();
  ASSERT_TRUE(wait_until([&] { return member.cluster().contains("copy_obstacle"); }));
  const std::string why = member.cluster()["copy_obstacle"];
  EXPECT_NE(why.find("larger --memory"), std::string::npos) << why;
  const auto begun = [&] {
    return members_[0].cluster()["copies_given"]["begun"].get<std::uint64_t>();
  };
  EXPECT_TRUE(wait_until([&] { return begun() >= 3; })) << "it tries again";
  const std::string said = member.process().errors();
  EXPECT_NE(said.find(why), std::string::npos) << said;
  EXPECT_EQ(said.find(why), said.rfind(why)) << "and says so once";
  EXPECT_EQ(primary(), &members_[0]);
  grow(writer, kMany + 1'000);
}

TEST_P(CopiesOfServers, AreTakenOfAnotherMemberWhenTheSourceDies) {
  start(3);
  Client<2> writer = client();
  grow(writer, kMany);
  Member& joiner = kill_a_backup();
  freeze_in_mid_copy(joiner);
  for (Member& member : members_) {
    if (&member != &joiner && member.cluster()["copies_given"]["begun"] != 0) member.kill_it();
  }
  joiner.process().signal(SIGCONT);
  EXPECT_TRUE(wait_for_view(2));
  grow(writer, kMany + 1'000);
  expect_equal(kMany + 1'000);
}

TEST_P(CopiesOfServers, BeginAgainWhenTheCopierDies) {
  start(2);
  Client<2> writer = client();
  grow(writer, kMany);
  Member& joiner = kill_a_backup();
  for (int deaths = 0; deaths < 2; ++deaths) {
    freeze_in_mid_copy(joiner);
    joiner.kill_it();
  }
  joiner.start();
  EXPECT_TRUE(wait_for_view(2));
  grow(writer, kMany + 1'000);
  expect_equal(kMany + 1'000);
  EXPECT_FALSE(std::filesystem::exists(joiner.data() + "/incoming"));
  EXPECT_FALSE(std::filesystem::exists(joiner.data() + "/arrived"));
}

/// Before they start again or, if they have not yet noticed that it is away, while they start.
TEST_P(CopiesOfServers, WaitForEtcdWhenTheyAreWhole) {
  start(2);
  Client<2> writer = client();
  grow(writer, kMany);
  Member& joiner = kill_a_backup();
  ASSERT_TRUE(wait_for_view(1)) << "else no write is committed until etcd is back";
  freeze_in_mid_copy(joiner);
  etcd_->stop();
  joiner.process().signal(SIGCONT);
  EXPECT_TRUE(wait_until([&] { return has_said(joiner, "one-sided reads, in"); })) << "it is whole";
  grow(writer, kMany + 1'000);
  etcd_->start();
  ASSERT_TRUE(etcd_->wait_until_ready());
  EXPECT_TRUE(wait_for_view(2));
  EXPECT_TRUE(has_copied(joiner));
  expect_equal(kMany + 1'000);
}

TEST_P(CopiesOfServers, CostTheSourceAFewMessagesWhereThereAreOneSidedReads) {
  start(1);
  Client<2> writer = client();
  for (const std::uint64_t entries : {kMany, 2 * kMany}) {
    grow(writer, entries);
    const json before = members_[0].cluster()["copies_given"];
    const double cpu = members_[0].process().cpu_seconds();
    start(members_.size() + 1);
    const json after = members_[0].cluster()["copies_given"];
    const auto grown = [&](const char* what) {
      return after[what].get<std::uint64_t>() - before[what].get<std::uint64_t>();
    };
    EXPECT_EQ(grown("begun"), 1u);
    std::printf(
        "%zu entries: %zu messages to the source, %zu nodes sent by it, %.2f s of its CPU\n",
        static_cast<std::size_t>(entries), static_cast<std::size_t>(grown("messages")),
        static_cast<std::size_t>(grown("nodes_sent")), members_[0].process().cpu_seconds() - cpu);
    if (std::string(GetParam()) == "tcp") {
      EXPECT_GT(grown("nodes_sent"), entries / 64) << "each node is asked for";
    } else {
      EXPECT_EQ(grown("nodes_sent"), 0u);
      EXPECT_LE(grown("messages"), 2u + (64 << 10) / 4096) << "the table of writes, not the tree";
    }
    members_.back().kill_it();  // the next one copies from the same source
    ASSERT_TRUE(wait_for_view(1));
    members_.pop_back();
  }
}

INSTANTIATE_TEST_SUITE_P(Fabrics, CopiesOfServers, testing::Values("shm", "tcp"),
                         [](const auto& one) { return std::string(one.param); });

}  // namespace
}  // namespace silurus
