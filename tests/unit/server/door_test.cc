// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <span>

#include "access/authorization.h"
#include "common/log.h"
#include "protocol/messages.h"
#include "server/core.h"
#include "transport/sim/fabric.h"

// Whom a server lets connect.

namespace silurus::server {
namespace {

namespace sim = transport::sim;

class NoHandler final : public transport::ConnectionHandler {
 public:
  void on_message(transport::Connection&, std::span<const std::byte>) override {}
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}
};

class ListenEndpoint : public testing::Test {
 protected:
  ListenEndpoint() { log::set_level(log::Level::kOff); }
  ~ListenEndpoint() override { log::set_level(log::Level::kInfo); }

  /// How a server with these rules answers a client of another host, of which no user is known.
  Status connect(const access::Rules& rules) {
    access::RuleBook book(rules);
    auto core = Core<2>::create({.memory_budget_bytes = std::uint64_t{16} << 20, .rules = &book},
                                there_.clock(), executor_);
    EXPECT_TRUE(core) << core.error().message;
    const auto address =
        (*core)->listen(fabric_there_, *transport::Address::parse("sim://server:1"), {});
    EXPECT_TRUE(address) << address.error().message;
    const protocol::ClientHello hello{.dimensions = 2};
    std::optional<Result<std::unique_ptr<transport::Connection>>> answer;
    fabric_here_.connect_later(*address, {.timeout = kSecond}, *poller_,
                               std::as_bytes(std::span(&hello, 1)), handler_,
                               [&](auto made) { answer = std::move(made); });
    for (int i = 0; i < 1'000 && !answer; ++i) {
      world_.run_for(100 * kMicrosecond);
      (*core)->worker(0).sweep();
      poller_->progress();
    }
    EXPECT_TRUE(answer);
    clients_ = (*core)->clients();
    if (!answer || !*answer) return fail(answer->error());
    const auto said = protocol::decode_server_hello((**answer)->peer_hello(), 2);
    EXPECT_TRUE(said);
    says_one_sided_ = said && said->one_sided != 0;
    const auto buffer = poller_->allocate_buffer(4096);
    const transport::ReadRequest read{.region = 0,
                                      .offset = 0,
                                      .length = 64,
                                      .buffer = buffer->get(),
                                      .buffer_offset = 0,
                                      .cookie = 1};
    posted_ = (**answer)->post_reads(std::span(&read, 1)).status;
    return {};
  }

  sim::World world_{3};
  sim::Host& there_ = world_.add_host("server");
  sim::SimFabric fabric_there_{world_, there_};
  sim::SimFabric fabric_here_{world_, world_.add_host("client")};
  const std::unique_ptr<transport::Poller> poller_ = *fabric_here_.create_poller();
  NoHandler handler_;
  InlineExecutor executor_;
  std::uint32_t clients_ = 0;  ///< that the server had in the end
  bool says_one_sided_ = false;
  transport::PostStatus posted_{};  ///< what became of a read of the first region
};

TEST_F(ListenEndpoint, IsClosedToAClientWithoutARole) {
  const Status refused = connect(access::Rules::of_user(1000));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kPermission) << refused.error().message;
  EXPECT_EQ(clients_, 0u);
}

TEST_F(ListenEndpoint, IsOpenToAReader) {
  EXPECT_TRUE(connect(access::Rules::of_user(1000, access::Role::kReader)));
  EXPECT_EQ(clients_, 1u);
  EXPECT_TRUE(says_one_sided_);
  EXPECT_EQ(posted_, transport::PostStatus::kPosted);
}

access::Rules reader_of(const std::string& collection) {
  return access::Rules::parse("[[principal]]\nanyone = true\nrole = \"reader\"\ncollections = [\"" +
                                  collection + "\"]\n",
                              "rules", 1000)
      .value();
}

TEST_F(ListenEndpoint, ShowsNoMemoryToAReaderOfSomeCollections) {
  EXPECT_TRUE(connect(reader_of("default")));
  EXPECT_EQ(clients_, 1u);
  EXPECT_FALSE(says_one_sided_);
  EXPECT_EQ(posted_, transport::PostStatus::kUnknownRegion) << "though it asks for it";
}

TEST_F(ListenEndpoint, IsClosedToAReaderOfOtherCollections) {
  const Status refused = connect(reader_of("roads"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kPermission);
  EXPECT_NE(refused.error().message.find("reader of 'roads'"), std::string::npos)
      << refused.error().message;
}

}  // namespace
}  // namespace silurus::server
