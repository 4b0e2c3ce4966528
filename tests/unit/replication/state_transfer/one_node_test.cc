// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "replication/group/side_messages.h"
#include "replication/state_transfer/receiver.h"
#include "replication/state_transfer/source.h"
#include "tests/support/received_tree.h"
#include "transport/sim/fabric.h"

// A copy of a tree of one node from a source that is given time, or none.

namespace silurus::replication {
namespace {

namespace sim = transport::sim;

std::uint64_t word_in(const group::SideMessage& message, std::size_t index = 0) {
  std::uint64_t word = 0;
  if (message.payload.size() >= (index + 1) * sizeof word) {
    std::memcpy(&word, message.payload.data() + index * sizeof word, sizeof word);
  }
  return word;
}

/// Asks for nodes of other names than it was told.
class NosyCopier final : public transport::ConnectionHandler {
 public:
  void begin(std::unique_ptr<transport::Connection> connection) {
    connection_ = std::move(connection);
    EXPECT_TRUE(group::send_side_message(*connection_, kHoldMessage, 0, {}));
  }
  bool is_held() const { return root_ != 0; }
  bool is_closed() const { return is_closed_; }
  /// A node that the held root does not lead to: in the slab, and of no tree.
  void ask_for_chunk(std::uint32_t chunk) {
    const std::uint64_t word = rtree::NodeRef(chunk, 1).word();
    EXPECT_NE(word, root_);
    EXPECT_TRUE(group::send_side_message(*connection_, kNodesMessage, 0,
                                         std::as_bytes(std::span(&word, 1))));
  }

  void on_message(transport::Connection&, std::span<const std::byte> message) override {
    if (const auto taken = group::decode_side_message(message); taken && root_ == 0) {
      root_ = word_in(*taken);
    }
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override { is_closed_ = true; }

 private:
  std::unique_ptr<transport::Connection> connection_;
  std::uint64_t root_ = 0;
  bool is_closed_ = false;
};

/// What is done to a node before it is sent.
using Lie = std::function<void(rtree::Node<2>&)>;

/// Gives a copy of a tree of two levels, the root of which is not as it was.
class LyingSource final : public transport::AcceptHandler, public transport::ConnectionHandler {
 public:
  LyingSource(std::vector<std::byte> hello, Lie lie)
      : hello_(std::move(hello)), lie_(std::move(lie)) {
    tree_ = std::move(*rtree::Tree<2>::create({}, slabs_, clock_));
    for (std::uint64_t id = 0; id < 2 * rtree::kLeafFanout<2>; ++id) {
      const double x = static_cast<double>(id);
      EXPECT_TRUE(tree_->insert({id, {{x, 0}, {x, 1}}}));
    }
    tree_->publish();
  }
  /// Messages that asked for nodes.
  int questions() const { return questions_; }

  Result<std::vector<std::byte>> on_hello(std::span<const std::byte>,
                                          const transport::Caller&) override {
    return hello_;
  }
  void on_accept(std::unique_ptr<transport::Connection> connection, transport::Poller&) override {
    connection_ = std::move(connection);
    connection_->set_handler(this);
  }
  void on_message(transport::Connection& to, std::span<const std::byte> message) override {
    const auto taken = group::decode_side_message(message);
    ASSERT_TRUE(taken);
    const rtree::Snapshot<2> held = tree_->snapshot();
    const std::uint64_t root = held.root().ref.word();
    if (taken->head.kind == kHoldMessage) {  // root, lsn, chain, stamp, epoch, bytes that follow
      const std::uint64_t facts[] = {root, 80, 7, 1, 0, 0};
      ASSERT_TRUE(group::send_side_message(to, kHoldMessage, 0, std::as_bytes(std::span(facts))));
      return;
    }
    ++questions_;
    for (std::size_t i = 0; i < taken->payload.size() / sizeof(std::uint64_t); ++i) {
      const std::uint64_t word = word_in(*taken, i);
      rtree::Node<2> node;
      rtree::copy_node(node, held.node(rtree::NodeRef::from_word(word)));
      if (word == root) {
        ASSERT_EQ(node.level(), 1u);
        lie_(node);
      }
      const auto bytes =
          std::as_bytes(std::span(&node, 1)).first(rtree::node_bytes<2>(node.level()));
      ASSERT_TRUE(group::send_side_message(to, kNodesMessage, word, bytes));
    }
  }
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}

 private:
  const std::vector<std::byte> hello_;
  const Lie lie_;
  ManualClock clock_;
  rtree::AnonymousSlabs slabs_;
  std::unique_ptr<rtree::Tree<2>> tree_;
  std::unique_ptr<transport::Connection> connection_;
  int questions_ = 0;
};

class CopyOfOneNode : public testing::Test {
 protected:
  static constexpr group::GroupId kOfTheCopy = 5;
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

  /// A source that lies is asked for nothing below the node that is not as it was.
  void expect_refused(Lie lie) {
    LyingSource liar(*source_.on_hello(copier_.hello(), {}), std::move(lie));
    transport::Poller* const pollers[] = {poller_there_.get()};
    const auto address = transport::Address::parse("sim://source:8").value();
    const auto listener = fabric_there_.listen(address, {}, pollers, liar);
    ASSERT_TRUE(listener) << listener.error().message;
    testing_support::ReceivedTree<2> received;
    TransferReceiver<2> copier({.group = kOfTheCopy, .patience = kPatience}, *poller_here_,
                               received);
    fabric_here_.connect_later(address, {.timeout = kSecond}, *poller_here_, copier.hello(), copier,
                               [&](auto connection) {
                                 ASSERT_TRUE(connection) << connection.error().message;
                                 copier.begin(std::move(*connection));
                               });
    ASSERT_TRUE(run([&] {
      copier.step(clock_.now());
      return copier.outcome().has_value();
    }));
    ASSERT_FALSE(*copier.outcome()) << "a tree with a wrong root passed for whole";
    EXPECT_EQ(copier.outcome()->error().code, ErrorCode::kProtocol);
    EXPECT_EQ(liar.questions(), 1);
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
  TransferSource<2> source_{
      kOfTheCopy, {.longest = kSecond}, [this]() -> Result<PinnedTree<2>> {
        return PinnedTree<2>{
            .tree = tree_->snapshot(), .log = {.lsn = 80, .chain = 7}, .stamp = 1, .extra = extra_};
      }};
  std::unique_ptr<transport::Listener> listener_;
  testing_support::ReceivedTree<2> received_;
  TransferReceiver<2> copier_{
      {.group = kOfTheCopy, .patience = kPatience}, *poller_here_, received_};
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
  EXPECT_EQ(received_.facts.extra, extra_);
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

TEST_F(CopyOfOneNode, IsEndedIfTheCopierAsksForWhatTheRootDoesNotLeadTo) {
  NosyCopier nosy;
  fabric_here_.connect_later(address_, {.timeout = kSecond}, *poller_here_, copier_.hello(), nosy,
                             [&](auto connection) {
                               ASSERT_TRUE(connection) << connection.error().message;
                               nosy.begin(std::move(*connection));
                             });
  ASSERT_TRUE(run([&] { return nosy.is_held(); }));
  nosy.ask_for_chunk(40);
  EXPECT_TRUE(run([&] { return nosy.is_closed(); }));
  EXPECT_EQ(source_.counters().nodes, 0u) << "nothing was read where no node may be";
  EXPECT_EQ(source_.holds(), 0u);
}

TEST_F(CopyOfOneNode, IsRefusedIfTheSourceNamesANodeTwice) {
  expect_refused([](rtree::Node<2>& root) {
    root.inner.children[1] = root.inner.children[0];
    root.header.checksum = rtree::node_checksum(root);
  });
}

TEST_F(CopyOfOneNode, IsRefusedWhateverByteOfANodeIsWrong) {
  std::size_t size = 1;
  for (std::size_t at = 0; at < size; ++at) {
    SCOPED_TRACE(at);
    expect_refused([&](rtree::Node<2>& root) {
      size = rtree::node_bytes<2>(root.level());
      std::as_writable_bytes(std::span(&root, 1))[at] ^= std::byte{0x10};
    });
  }
  EXPECT_GT(size, 100u);
}

}  // namespace
}  // namespace silurus::replication
