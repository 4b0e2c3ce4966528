// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "silurus/client.h"
#include "tests/support/in_child.h"
#include "tests/support/patient_client.h"
#include "tests/support/server_process.h"

// A client that a child of fork() inherits.

namespace silurus {
namespace {

using testing_support::in_child;
using testing_support::is_refused_after_fork;
using testing_support::patient;
using testing_support::ServerProcess;
using testing_support::TemporaryFolder;

constexpr Box<2> kWholeWorld{{-1e9, -1e9}, {1e9, 1e9}};
constexpr std::uint64_t kEntriesOfForks = 20'000;

class Forks : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const bool is_shm = GetParam() == "shm";
    server_ = std::make_unique<ServerProcess>(std::vector<std::string>{
        "--listen", is_shm ? "shm://" + (folder_ / "socket") : "tcp://127.0.0.1:0", "--log-level",
        "error", "--load", "uniform:" + std::to_string(kEntriesOfForks)});
    ASSERT_EQ(server_->addresses().size(), 1u) << server_->errors();
    auto client = connect();
    ASSERT_TRUE(client) << client.error().message;
    client_.emplace(std::move(*client));
  }
  Result<Client<2>> connect() const {
    return Client<2>::connect(server_->addresses()[0], patient());
  }
  /// Clients that the server has now, and range searches that it was sent so far.
  nlohmann::json statistics() {
    const auto text = client_->server_statistics();
    return text ? nlohmann::json::parse(text->json) : nlohmann::json();
  }

  const TemporaryFolder folder_;
  std::unique_ptr<ServerProcess> server_;
  std::optional<Client<2>> client_;
};

TEST_P(Forks, InAChildEveryOperationFailsAtOnce) {
  Client<2>& client = *client_;
  EXPECT_EQ(
      in_child([&] {
        const Box<2> box{{0, 0}, {1, 1}};
        int wrong = 0;
        const auto expect = [&](bool so) { wrong += so ? 0 : 1; };
        expect(is_refused_after_fork(client.count(box)));
        expect(is_refused_after_fork(client.nearest({{0, 0}}, 1)));
        expect(is_refused_after_fork(client.range_batch({})));
        expect(is_refused_after_fork(client.insert(1, box)));
        expect(is_refused_after_fork(client.load_begin()));
        expect(is_refused_after_fork(client.load_add({})));
        expect(is_refused_after_fork(client.load_commit()));
        expect(is_refused_after_fork(client.load_abort()));
        expect(is_refused_after_fork(client.server_statistics()));
        expect(is_refused_after_fork(client.history()));
        expect(is_refused_after_fork(client.range_async({.window = box}, [](auto) {})));
        expect(is_refused_after_fork(client.nearest_async({.point = {}, .k = 1}, [](auto) {})));
        expect(
            is_refused_after_fork(client.write_async(WriteBatch<2>().insert(1, box), [](auto) {})));
        client.poll();
        client.wait();
        return wrong;
      }),
      0);
  EXPECT_EQ(client.count(kWholeWorld).value(), kEntriesOfForks);
}

TEST_P(Forks, TheParentGoesOnWithWhatIsInFlightThoughTheChildEndsItsClient) {
  Client<2>& client = *client_;
  for (int round = 0; round < 20; ++round) {
    std::optional<std::uint64_t> found;
    ASSERT_TRUE(client.range_async(
        {.window = kWholeWorld, .shape = ResultShape::kIds},
        [&found](Result<RangeAnswer<2>*> answer) { found = answer ? (*answer)->count : 0; }));
    client.poll();  // sends it, and may have the answer already
    const bool had_ended = found.has_value();
    ASSERT_EQ(in_child([&] {
                client_.reset();
                return found.has_value() == had_ended ? 0 : 1;  // no callback is called
              }),
              0);
    client.wait();
    ASSERT_EQ(found, kEntriesOfForks);
    ASSERT_TRUE(client.insert(kEntriesOfForks, {{0, 0}, {1, 1}}));
    ASSERT_TRUE(client.erase(kEntriesOfForks, {{0, 0}, {1, 1}}));
  }
  const auto after = statistics();
  EXPECT_EQ(after["listeners"][0]["clients"], 1) << "it never had to connect again";
  EXPECT_EQ(client.statistics().reconnects, 0u);
}

TEST_P(Forks, NothingOfTheChildReachesTheServer) {
  ASSERT_TRUE(client_->insert(kEntriesOfForks, {{0, 0}, {1, 1}}));
  const auto requests = statistics()["requests"];
  EXPECT_EQ(in_child([&] {
              static_cast<void>(client_->count(kWholeWorld));
              static_cast<void>(client_->insert(7, {{0, 0}, {1, 1}}));
              client_.reset();
              return 0;
            }),
            0);
  auto after = statistics()["requests"];
  after["stats"] = requests["stats"];  // our own
  EXPECT_EQ(after, requests);
}

TEST_P(Forks, AChildMayConnectAClientOfItsOwn) {
  EXPECT_EQ(in_child([&] {
              auto own = connect();
              return own && own->count(kWholeWorld).value() == kEntriesOfForks ? 0 : 1;
            }),
            0);
  EXPECT_EQ(client_->count(kWholeWorld).value(), kEntriesOfForks);
}

INSTANTIATE_TEST_SUITE_P(Fabric, Forks, testing::Values("shm", "tcp"),
                         [](const auto& fabric) { return fabric.param; });

}  // namespace
}  // namespace silurus
