#include "replication/group/tree_copy.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "transport/sim/fabric.h"

// A copy of a tree of one node from a source that is given time, or none.

namespace silurus::replication::group {
namespace {

namespace sim = transport::sim;

class CopyOfOneNode : public testing::Test {
 protected:
  static constexpr GroupId kOfTheCopy = 5;
  static constexpr Nanoseconds kPatience = 10 * kSecond;

  CopyOfOneNode() {
    tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_));
    EXPECT_TRUE(tree_->insert({1, {{0, 0}, {1, 1}}}));
    tree_->publish();
    transport::Poller* const pollers[] = {poller_there_.get()};
    auto listener = fabric_there_.listen(address_, {}, pollers, source_);
    EXPECT_TRUE(listener) << listener.error().message;
    listener_ = std::move(*listener);
  }
  void begin() {
    fabric_here_.connect_later(address_, {.timeout = kSecond}, *poller_here_, copier_.hello(),
                               copier_, [this](auto connection) {
                                 ASSERT_TRUE(connection) << connection.error().message;
                                 copier_.begin(std::move(*connection));
                               });
  }
  /// Until it is so, or for long.
  bool run(const std::function<bool()>& is_so) {
    for (int i = 0; i < 10'000 && !is_so(); ++i) {
      world_.run_for(10 * kMicrosecond);
      poller_here_->progress();
      poller_there_->progress();
      copier_.step(clock_.now());
    }
    return is_so();
  }

  sim::World world_{7};
  sim::SimFabric fabric_there_{world_, world_.add_host("source"), {.capabilities = 0}};
  sim::SimFabric fabric_here_{world_, world_.add_host("copier"), {.capabilities = 0}};
  const std::unique_ptr<transport::Poller> poller_there_ = *fabric_there_.create_poller();
  const std::unique_ptr<transport::Poller> poller_here_ = *fabric_here_.create_poller();
  const transport::Address address_ = transport::Address::parse("sim://source:7").value();
  ManualClock clock_;
  rtree::AnonymousSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::vector<std::byte> extra_;
  CopySource<2> source_{
      kOfTheCopy, {.longest = kSecond}, [this]() -> Result<HeldTree<2>> {
        return HeldTree<2>{
            .tree = tree_->snapshot(), .log = {.lsn = 80, .chain = 7}, .stamp = 1, .extra = extra_};
      }};
  std::unique_ptr<transport::Listener> listener_;
  TreeCopier<2> copier_{{.group = kOfTheCopy, .patience = kPatience},
                        *poller_here_,
                        [](rtree::NodeRef, const rtree::Node<2>&) { return Status{}; }};
};

TEST_F(CopyOfOneNode, IsEndedByTheSourceIfTheCopierHangs) {
  begin();
  ASSERT_TRUE(run([this] { return source_.holds() == 1; }));
  EXPECT_EQ(source_.oldest(), std::optional<Lsn>(80));
  // From here on it does nothing.
  source_.tick(5 * kSecond);
  source_.tick(6 * kSecond);
  EXPECT_EQ(source_.holds(), 1u) << "it may take so long";
  source_.tick(6 * kSecond + 1);
  EXPECT_EQ(source_.holds(), 0u);
  EXPECT_EQ(source_.oldest(), std::nullopt);
}

TEST_F(CopyOfOneNode, IsWholeWithAllThatBelongsToItThoughTheNodeWasHereBefore) {
  for (std::size_t i = 0; i < 500'000; ++i) extra_.push_back(static_cast<std::byte>(i % 251));
  begin();
  ASSERT_TRUE(run([this] { return copier_.outcome().has_value(); }));
  ASSERT_TRUE(*copier_.outcome()) << copier_.outcome()->error().message;
  EXPECT_EQ(copier_.nodes(), 1u);
  EXPECT_EQ(copier_.facts().extra, extra_);
}

TEST_F(CopyOfOneNode, IsGivenUpIfNothingComesForSoLong) {
  extra_.resize(500'000);
  begin();
  ASSERT_TRUE(run([this] { return copier_.is_held(); }));
  ASSERT_FALSE(copier_.outcome());
  // The source stands still from here on.
  copier_.step(clock_.now());
  clock_.advance(kPatience);
  copier_.step(clock_.now());
  EXPECT_FALSE(copier_.outcome());
  clock_.advance(1);
  copier_.step(clock_.now());
  ASSERT_TRUE(copier_.outcome());
  EXPECT_EQ(copier_.outcome()->error().code, ErrorCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace silurus::replication::group
