// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "silurus/client.h"
#include "tests/support/etcd_process.h"
#include "tests/support/member_process.h"
#include "tests/support/patience.h"
#include "tests/support/patient_client.h"
#include "tests/support/raw_client.h"
#include "tests/support/server_process.h"

// A cluster of real silurus-server processes and a real etcd on one machine.

namespace silurus {

using nlohmann::json;
using testing_support::EtcdProcess;
using testing_support::long_lease;
using testing_support::MemberProcess;
using testing_support::patient;
using testing_support::RawClient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;
using testing_support::wait_until;

inline constexpr rtree::Box<2> kEverything{{-1, -1}, {1e9, 1e9}};

inline rtree::Box<2> box_of(std::uint64_t id) {
  const double x = static_cast<double>(id);
  return {{x, 0}, {x, 1}};
}

/// That number of entries, and all of their ids.
inline std::vector<Entry<2>> many_entries(std::size_t count, std::set<std::uint64_t>& ids) {
  std::vector<Entry<2>> entries;
  for (std::uint64_t id = 1; id <= count; ++id) {
    entries.push_back({id, box_of(id)});
    ids.insert(id);
  }
  return entries;
}

/// A member whose entries can be asked for.
class Member : public MemberProcess {
 public:
  using MemberProcess::MemberProcess;

  void start() { ASSERT_TRUE(MemberProcess::start()) << process().errors(); }
  /// Ids here, at whatever version it has: the version, and how many of each id.
  std::optional<std::pair<rtree::Version, std::map<std::uint64_t, int>>> ids() const {
    const auto client = RawClient::connect(url());
    if (!client || !(*client)->range(1, {.window = kEverything}, protocol::kAnyMember)) return {};
    const auto reply = (*client)->reply(1, 5 * kSecond);
    if (!reply || reply->error) return {};
    std::map<std::uint64_t, int> found;
    for (std::size_t at = 0; at + 8 <= reply->payload.size(); at += 8) {
      std::uint64_t id = 0;
      std::memcpy(&id, reply->payload.data() + at, sizeof id);
      ++found[id];
    }
    return std::pair(reply->version, std::move(found));
  }
};

class ClusterOfServers : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!EtcdProcess::is_installed())
      GTEST_SKIP() << "no etcd here: scripts/setup --test installs it";
    etcd_ = std::make_unique<EtcdProcess>();
    ASSERT_TRUE(etcd_->wait_until_ready());
  }
  void TearDown() override {
    for (Member& member : members_) {
      if (HasFailure() && member.is_running()) {
        std::printf("--- %s, %s\n%s", member.url().c_str(), member.cluster().dump().c_str(),
                    member.process().errors().c_str());
      }
    }
  }
  void start(std::size_t members) {
    while (members_.size() < members) {
      add(options_).start();
      ASSERT_TRUE(wait_for_view(members_.size()));
    }
  }
  /// One more, which is still to be started.
  Member& add(const std::vector<std::string>& options) {
    const bool is_shm = std::string(GetParam()) == "shm";
    const std::string name = std::to_string(members_.size());
    const std::string url =
        is_shm ? "shm://" + (folder_ / ("c" + name)) : std::string("tcp://127.0.0.1:0");
    const std::string group =
        is_shm ? "shm://" + (folder_ / ("g" + name)) : std::string("tcp://127.0.0.1:0");
    return members_.emplace_back(url, group, folder_ / ("d" + name), etcd_->address("test"), lease_,
                                 options);
  }
  std::string urls() const {
    std::string all;
    for (const Member& member : members_) all += (all.empty() ? "" : ",") + member.url();
    return all;
  }
  Client<2> client() const {
    auto made = Client<2>::connect(
        urls(), patient({.deadline = 30 * kSecond, .reconnect_for = 30 * kSecond}));
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return std::move(*made);
  }
  bool wait_for_view(std::size_t size) const {
    return testing_support::wait_for_view(members_, size);
  }
  Member* primary() { return testing_support::wait_for_primary(members_); }
  /// Waits until all that run have the same version of exactly these ids, each once.
  void expect_everywhere(const std::set<std::uint64_t>& ids) const {
    std::map<std::uint64_t, int> expected;
    for (const std::uint64_t id : ids) expected[id] = 1;
    std::set<rtree::Version> versions;
    const bool all = wait_until([&] {
      versions.clear();
      return std::ranges::all_of(members_, [&](const Member& member) {
        if (!member.is_running()) return true;
        const auto found = member.ids();
        if (!found || found->second != expected) return false;
        versions.insert(found->first);
        return versions.size() == 1;
      });
    });
    EXPECT_TRUE(all) << "members differ, or lack what was acknowledged";
  }

  /// Three clients write while faults happen, and in the end all that was acknowledged is
  /// everywhere. The faults happen between writes: wait_for_writes().
  void expect_no_write_lost_through(const std::function<void()>& faults) {
    std::atomic<bool> is_over{false};
    std::array<std::set<std::uint64_t>, kWriters> acknowledged;
    std::vector<std::jthread> writers;
    for (std::uint64_t w = 0; w < acknowledged.size(); ++w) {
      writers.emplace_back([&, w] {
        Client<2> own = client();
        for (std::uint64_t i = 0; !is_over; ++i) {
          const std::uint64_t id = 1'000'000 * (w + 1) + i;
          const auto written = own.insert(id, box_of(id));
          ASSERT_TRUE(written.has_value()) << written.error().message;
          acknowledged[w].insert(id);
          ++written_by_[w];
        }
      });
    }
    faults();
    is_over = true;
    writers.clear();
    if (HasFatalFailure()) return;
    std::set<std::uint64_t> all;
    for (const auto& of_one : acknowledged) all.insert(of_one.begin(), of_one.end());
    std::printf("%zu writes acknowledged\n", all.size());
    expect_everywhere(all);
  }

  /// Waits until each writing client has had `count` more writes acknowledged.
  bool wait_for_writes(std::uint64_t more) const {
    std::array<std::uint64_t, kWriters> until;
    for (std::size_t w = 0; w < kWriters; ++w) until[w] = written_by_[w] + more;
    return wait_until([&] { return std::ranges::equal(until, written_by_, std::less_equal<>()); });
  }

  static constexpr std::size_t kWriters = 3;

  TemporaryFolder folder_;
  std::array<std::atomic<std::uint64_t>, kWriters> written_by_ = {};
  std::string lease_ = testing_support::short_lease();  ///< the same at all members
  std::vector<std::string> options_;
  std::unique_ptr<EtcdProcess> etcd_;
  std::vector<Member> members_;
};

/// Options that keep a server from starting.
class MemberOptions : public testing::Test {
 protected:
  /// What a server says that does not start with these.
  std::string refusal(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--listen", "shm://" + (folder_ / "c")});
    ServerProcess process(arguments);
    EXPECT_TRUE(process.addresses().empty());
    process.wait();
    return process.errors();
  }
  TemporaryFolder folder_;
};

}  // namespace silurus
