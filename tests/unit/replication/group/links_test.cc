#include "replication/group/links.h"

#include <gtest/gtest.h>

#include <map>

#include "transport/sim/fabric.h"

namespace silurus::replication::group {
namespace {

namespace sim = transport::sim;

TEST(Links, WaitForAnUpstreamNoLongerThanTheyAreTold) {
  sim::World world(1);
  sim::SimFabric fabric(world, world.add_host("member"), {.capabilities = 0});
  const auto poller = std::move(*fabric.create_poller());
  std::map<std::string, Nanoseconds> waits;
  const Dialer dialer = [&waits](const transport::Address& address, Nanoseconds timeout,
                                 std::span<const std::byte>, transport::ConnectionHandler&,
                                 const Connected& done) {
    waits[address.to_string()] = timeout;
    done(fail(ErrorCode::kDeadlineExceeded, "nobody answers"));
  };
  const auto links = Links::create({.group = 1,
                                    .self = 1,
                                    .incarnation = 1,
                                    .listen = transport::Address::parse("sim://member:7").value(),
                                    .dial_timeout = 200 * kMillisecond,
                                    .upstream_dial_timeout = 12 * kMillisecond},
                                   fabric, *poller, dialer, {});
  ASSERT_TRUE(links) << links.error().message;
  (*links)->set_primary(MemberInfo{2, "sim://primary:7", ""}, 5, 0);
  (*links)->set_upstream(MemberInfo{3, "sim://before:7", ""});
  (*links)->tick(kSecond);
  const std::map<std::string, Nanoseconds> as_told = {{"sim://primary:7", 200 * kMillisecond},
                                                      {"sim://before:7", 12 * kMillisecond}};
  EXPECT_EQ(waits, as_told);
}

}  // namespace
}  // namespace silurus::replication::group
