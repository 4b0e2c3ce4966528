// SPDX-License-Identifier: Apache-2.0

#include <sys/mman.h>

#include <atomic>
#include <thread>

#include "tests/verbs/pair.h"
#include "transport/probes/raw_client.h"
#include "transport/verbs/address.h"
#include "transport/verbs/connector.h"

namespace silurus::transport::verbs::testing {
namespace {

/// A server that is driven by a thread of its own, and one honest client.
class BadClient : public Pair {
 protected:
  static constexpr std::size_t kRegion = 64 * 1024;

  void SetUp() override {
    Pair::SetUp();
    if (IsSkipped()) return;
    memory_ = static_cast<std::byte*>(
        mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::memset(memory_, 0x5a, kRegion);
    server.answer = [](Connection& to, std::span<const std::byte> message) { send(to, message); };
    listen();
    ASSERT_TRUE(listener->expose({{memory_, kRegion}, -1}));
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested()) server_poller->progress();
      accepted.clear();
    });
    honest_ = &connect();
    expect_service();
  }
  void TearDown() override {
    if (thread_.joinable()) {
      thread_.request_stop();
      thread_.join();
    }
    Pair::TearDown();
    if (memory_ != nullptr) munmap(memory_, kRegion);
  }

  /// The honest client is served as if nothing were.
  void expect_service() {
    client.messages.clear();
    ASSERT_TRUE(send(*honest_, bytes_of("still there?")));
    testing_support::Patience patience;
    while (client.messages.empty() && !patience.is_over()) client_poller->progress();
    EXPECT_EQ(client.messages.size(), 1u);
    EXPECT_FALSE(client.closed);
  }
  RegionEntry region_seen_by(const RawClient& bad) {
    while (!bad.region(0)) std::this_thread::yield();
    return *bad.region(0);
  }

  std::byte* memory_ = nullptr;
  Connection* honest_ = nullptr;
  std::jthread thread_;
};

TEST_F(BadClient, OfAnotherVersionIsRefusedWithTheReason) {
  RawClient bad;
  EXPECT_FALSE(bad.connect(listener->address(), kHandshakeVersion + 1));
  ASSERT_TRUE(bad.refusal());
  EXPECT_NE(bad.refusal()->message.find("version 2"), std::string::npos) << bad.refusal()->message;
  expect_service();
}

/// Asks for a connection, is accepted, and says no more.
class HalfOpenClient {
 public:
  void ask(const Address& server) {
    const std::string name = server.to_string();
    rdma_cm_id* raw = nullptr;
    ASSERT_EQ(rdma_create_id(waiter_.channel(), &raw, nullptr, RDMA_PS_TCP), 0);
    id_.reset(raw);
    const auto at = resolve(server, false, RDMA_PS_TCP);
    ASSERT_TRUE(at);
    ASSERT_EQ(rdma_resolve_addr(raw, nullptr, (*at)->ai_dst_addr, 2000), 0);
    ASSERT_TRUE(waiter_.expect(RDMA_CM_EVENT_ADDR_RESOLVED, "rdma_resolve_addr", name));
    ASSERT_EQ(rdma_resolve_route(raw, 2000), 0);
    ASSERT_TRUE(waiter_.expect(RDMA_CM_EVENT_ROUTE_RESOLVED, "rdma_resolve_route", name));
    ConnectRequest request = *make_request({});
    request.max_ring_bytes = kMaxRingBytes;
    rdma_conn_param parameters{};
    parameters.private_data = &request;
    parameters.private_data_len = sizeof(request);
    parameters.qp_num = 4711;  // there is none
    ASSERT_EQ(rdma_connect(raw, &parameters), 0);
    ASSERT_TRUE(waiter_.expect(RDMA_CM_EVENT_CONNECT_RESPONSE, "rdma_connect", name));
  }

 private:
  EventWaiter waiter_ = std::move(*EventWaiter::create(10 * kSecond));
  CmId id_;
};

TEST_F(BadClient, ThatLeavesInMidHandshakeGivesItsRingsBack) {
  const std::uint64_t before = listener->ring_bytes();
  {
    HalfOpenClient half_open;
    ASSERT_NO_FATAL_FAILURE(half_open.ask(listener->address()));
    EXPECT_GT(listener->ring_bytes(), before);
  }
  testing_support::wait_until([&] { return listener->ring_bytes() == before; });
  EXPECT_EQ(listener->ring_bytes(), before);
  expect_service();
}

TEST_F(BadClient, ThatStaysInMidHandshakeIsGivenUpInTime) {
  const std::uint64_t before = listener->ring_bytes();
  HalfOpenClient half_open;
  ASSERT_NO_FATAL_FAILURE(half_open.ask(listener->address()));
  EXPECT_TRUE(testing_support::wait_until([&] { return listener->ring_bytes() == before; }));
  EXPECT_EQ(listener->refusals()[static_cast<std::size_t>(RefusalReason::kHandshakeTime)], 1u);
  expect_service();
}

TEST_F(BadClient, CannotWriteToExposedMemory) {
  RawClient bad;
  ASSERT_TRUE(bad.connect(listener->address()));
  const RegionEntry region = region_seen_by(bad);
  EXPECT_EQ(bad.run(IBV_WR_RDMA_WRITE, region.address, region.key, 64), IBV_WC_REM_ACCESS_ERR);
  for (std::size_t i = 0; i < kRegion; ++i) ASSERT_EQ(memory_[i], std::byte{0x5a});
  expect_service();
}

TEST_F(BadClient, CannotReadPastExposedMemory) {
  RawClient bad;
  ASSERT_TRUE(bad.connect(listener->address()));
  const RegionEntry region = region_seen_by(bad);
  EXPECT_EQ(bad.run(IBV_WR_RDMA_READ, region.address + kRegion - 32, region.key, 64),
            IBV_WC_REM_ACCESS_ERR);
  expect_service();
}

TEST_F(BadClient, CanReadExposedMemory) {
  RawClient bad;
  ASSERT_TRUE(bad.connect(listener->address()));
  const RegionEntry region = region_seen_by(bad);
  EXPECT_EQ(bad.run(IBV_WR_RDMA_READ, region.address + kRegion - 64, region.key, 64),
            IBV_WC_SUCCESS);
  EXPECT_EQ(bad.scratch()[63], std::byte{0x5a});
}

TEST_F(BadClient, CannotReadMessageRings) {
  RawClient bad;
  ASSERT_TRUE(bad.connect(listener->address()));
  EXPECT_EQ(bad.run(IBV_WR_RDMA_READ, bad.reply().inbox_address, bad.reply().inbox_key, 64),
            IBV_WC_REM_ACCESS_ERR);
  expect_service();
}

TEST_F(BadClient, CannotWriteBeyondItsRing) {
  RawClient bad;
  ASSERT_TRUE(bad.connect(listener->address()));
  const std::uint64_t end =
      bad.reply().inbox_address + inbox_bytes(Role::kServer, bad.reply().ring_bytes);
  EXPECT_EQ(bad.run(IBV_WR_RDMA_WRITE, end - 32, bad.reply().inbox_key, 64), IBV_WC_REM_ACCESS_ERR);
  expect_service();
}

TEST_F(BadClient, ThatSendsNonsenseIsClosedAndNoOtherClient) {
  const std::uint32_t nonsense[] = {
      Immediate::make(Notice::kMessage, 0),         // no message in the ring
      Immediate::make(Notice::kCredit, 12345),      // credit for what was never sent
      Immediate::make(Notice::kRegions, 1),         // regions from a client
      Immediate::make(Notice::kClosing, 0x3ffffff)  // says goodbye in an odd way
  };
  for (const std::uint32_t immediate : nonsense) {
    RawClient bad;
    ASSERT_TRUE(bad.connect(listener->address()));
    bad.run(IBV_WR_RDMA_WRITE_WITH_IMM, bad.reply().inbox_address, bad.reply().inbox_key, 0,
            immediate);
    // Its queue pair at the server is gone: what comes next fails.
    ibv_wc_status status = IBV_WC_SUCCESS;
    testing_support::Patience patience;
    while (status == IBV_WC_SUCCESS && !patience.is_over()) {
      status = bad.run(IBV_WR_RDMA_WRITE, bad.reply().inbox_address, bad.reply().inbox_key, 8);
    }
    EXPECT_NE(status, IBV_WC_SUCCESS) << std::hex << immediate;
    expect_service();
  }
}

}  // namespace
}  // namespace silurus::transport::verbs::testing
