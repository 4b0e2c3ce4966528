#include "replication/group/tree_copy.h"

#include <gtest/gtest.h>

#include <memory>

#include "transport/sim/fabric.h"

namespace silurus::replication::group {
namespace {

namespace sim = transport::sim;

TEST(CopySource, EndsTheCopyOfOneThatHangs) {
  constexpr GroupId kOfTheCopy = 5;
  sim::World world(7);
  sim::SimFabric fabric_there(world, world.add_host("source"), {.capabilities = 0});
  sim::SimFabric fabric_here(world, world.add_host("copier"), {.capabilities = 0});
  const auto poller_there = std::move(*fabric_there.create_poller());
  const auto poller_here = std::move(*fabric_here.create_poller());
  const auto address = transport::Address::parse("sim://source:7").value();

  ManualClock clock;
  rtree::AnonymousSlabs slabs;
  const auto tree = std::move(*rtree::Tree<2>::create({}, slabs, clock));
  ASSERT_TRUE(tree->insert({1, {{0, 0}, {1, 1}}}));
  tree->publish();
  CopySource<2> source(kOfTheCopy, {.longest = kSecond}, [&]() -> Result<HeldTree<2>> {
    return HeldTree<2>{
        .tree = tree->snapshot(), .log = {.lsn = 80, .chain = 7}, .stamp = 1, .extra = {}};
  });
  transport::Poller* const pollers[] = {poller_there.get()};
  const auto listener = fabric_there.listen(address, {}, pollers, source);
  ASSERT_TRUE(listener) << listener.error().message;

  TreeCopier<2> copier({.group = kOfTheCopy}, *poller_here,
                       [](rtree::NodeRef, const rtree::Node<2>&) { return Status{}; });
  fabric_here.connect_later(address, {.timeout = kSecond}, *poller_here, copier.hello(), copier,
                            [&](auto connection) {
                              ASSERT_TRUE(connection) << connection.error().message;
                              copier.begin(std::move(*connection));
                            });
  for (int i = 0; i < 1000 && source.holds() == 0; ++i) {
    world.run_for(10 * kMicrosecond);
    poller_here->progress();
    poller_there->progress();
  }
  ASSERT_EQ(source.holds(), 1u);
  EXPECT_EQ(source.oldest(), std::optional<Lsn>(80));
  // From here on it does nothing.
  source.tick(5 * kSecond);
  source.tick(6 * kSecond);
  EXPECT_EQ(source.holds(), 1u) << "it may take so long";
  source.tick(6 * kSecond + 1);
  EXPECT_EQ(source.holds(), 0u);
  EXPECT_EQ(source.oldest(), std::nullopt);
}

}  // namespace
}  // namespace silurus::replication::group
