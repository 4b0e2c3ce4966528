// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/listener.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "common/log.h"
#include "tests/fake_verbs/fake_device.h"
#include "tests/fake_verbs/fake_manager.h"
#include "tests/support/patience.h"
#include "transport/ring.h"
#include "transport/verbs/connection.h"
#include "transport/verbs/handshake.h"

// What a listener does with clients that ask for a connection and do not complete it.

namespace silurus::transport::verbs {
namespace {

using State = testing_support::FakeManager::State;

class VerbsListening : public testing::Test, private AcceptHandler {
 protected:
  VerbsListening() { log::set_level(log::Level::kOff); }
  void listen(ListenOptions options) {
    options.allow_other_users = true;
    auto listener =
        VerbsListener::create(control_, {"rdma", "10.0.0.1", "7471", ""}, options, pollers_, *this);
    ASSERT_TRUE(listener) << listener.error().message;
    listener_ = std::move(*listener);
  }
  void TearDown() override {
    accepted_.clear();
    listener_.reset();
  }
  /// A client asks, and has its answer. Meanwhile the poller rests: the device is one thread's.
  std::size_t ask(const std::string& from) {
    ConnectRequest request = *make_request({});
    request.max_ring_bytes = kMaxRingBytes;
    return ask(from, request);
  }
  template <typename Request>
  std::size_t ask(const std::string& from, const Request& request) {
    const std::size_t client = manager_.ask(from, &request, sizeof(request));
    EXPECT_TRUE(
        testing_support::wait_until([&] { return manager_.state(client) != State::kAsks; }));
    poller_->progress();
    return client;
  }
  template <typename IsSo>
  bool progress_until(IsSo&& is_so) {
    return testing_support::wait_until([&] {
      poller_->look();
      poller_->progress();
      return is_so();
    });
  }
  std::uint64_t refused(RefusalReason reason) const {
    return listener_->refusals()[static_cast<std::size_t>(reason)];
  }

  testing_support::FakeDevice device_;
  testing_support::FakeManager manager_{device_};
  std::shared_ptr<Control> control_ = *Control::create();
  std::unique_ptr<VerbsPoller> poller_ = *VerbsPoller::create(control_);
  std::vector<Poller*> pollers_{poller_.get()};
  std::unique_ptr<VerbsListener> listener_;
  std::vector<std::unique_ptr<Connection>> accepted_;
  const access::Key key_ = *access::Key::make("alice");
  std::vector<Caller> callers_;
  bool may_read_ = true;

 private:
  std::optional<access::Key> find_key(access::KeyId id) override {
    return id == key_.label().id ? std::optional(key_) : std::nullopt;
  }
  Result<std::vector<std::byte>> on_hello(std::span<const std::byte>,
                                          const transport::Caller& caller) override {
    callers_.push_back(caller);
    return std::vector<std::byte>{};
  }
  bool may_read_regions(const Caller&) override { return may_read_; }
  void on_accept(std::unique_ptr<Connection> connection, Poller&) override {
    accepted_.push_back(std::move(connection));
  }
};

TEST_F(VerbsListening, GivesAClientToTheHandlerWhenItAnswers) {
  listen({.hello_timeout = 600 * kSecond});
  const std::size_t client = ask("10.0.0.2");
  EXPECT_TRUE(accepted_.empty());
  manager_.establish(client);
  EXPECT_TRUE(progress_until([&] { return accepted_.size() == 1; }));
}

TEST_F(VerbsListening, LetsTheCardAnswerReadsOfClientsThatMayReadAlone) {
  listen({.hello_timeout = 600 * kSecond});
  for (const bool may_read : {true, false}) {
    may_read_ = may_read;
    manager_.establish(ask("10.0.0.2"));
    const std::size_t count = may_read ? 1 : 2;
    ASSERT_TRUE(progress_until([&] { return accepted_.size() == count; }));
    EXPECT_EQ(accepted_.back()->shows_regions(), may_read);
    EXPECT_EQ((device_.granted().back() & IBV_ACCESS_REMOTE_READ) != 0, may_read);
    EXPECT_NE(device_.granted().back() & IBV_ACCESS_REMOTE_WRITE, 0) << "messages";
  }
}

TEST_F(VerbsListening, PushesOutTheOldestOfThePeerWithMostHalfOpenHandshakes) {
  listen({.hello_timeout = 600 * kSecond, .max_handshakes = 4});
  const std::size_t first_of_few = ask("10.0.0.3");
  const std::size_t first_of_many = ask("10.0.0.2");
  ask("10.0.0.2");
  ask("10.0.0.2");
  const std::size_t newcomer = ask("10.0.0.4");
  EXPECT_TRUE(progress_until([&] { return manager_.state(first_of_many) == State::kGone; }));
  EXPECT_EQ(manager_.count(State::kGone), 1u);
  EXPECT_EQ(refused(RefusalReason::kHandshakes), 1u);
  manager_.establish(newcomer);
  manager_.establish(first_of_few);
  EXPECT_TRUE(progress_until([&] { return accepted_.size() == 2; }));
}

TEST_F(VerbsListening, KeepsNoMoreThanItsLimitOfAPeerThatNeverCompletes) {
  listen({.hello_timeout = 600 * kSecond, .max_handshakes = 8});
  ask("10.0.0.2");
  const std::uint64_t rings_of_one = listener_->ring_bytes();
  for (int i = 0; i < 100; ++i) {
    ask("10.0.0.2");
    EXPECT_TRUE(progress_until([&] { return manager_.count(State::kAccepted) <= 8; }));
    EXPECT_LE(listener_->ring_bytes(), 9 * rings_of_one);
  }
  EXPECT_EQ(manager_.count(State::kRejected), 0u);
  EXPECT_EQ(refused(RefusalReason::kHandshakes), 101u - 8u);
  EXPECT_TRUE(accepted_.empty());
}

TEST_F(VerbsListening, AClientThatAnswersDoesNotCountAsHalfOpenAnyMore) {
  listen({.hello_timeout = 600 * kSecond, .max_handshakes = 2});
  for (std::size_t i = 0; i < 10; ++i) {
    manager_.establish(ask("10.0.0.2"));
    ASSERT_TRUE(progress_until([&] { return accepted_.size() == i + 1; }));
  }
  EXPECT_EQ(refused(RefusalReason::kHandshakes), 0u);
}

TEST_F(VerbsListening, GivesUpAClientThatDoesNotAnswerInTime) {
  listen({.hello_timeout = kMillisecond});
  ask("10.0.0.2");
  EXPECT_TRUE(progress_until([&] { return manager_.count(State::kGone) == 1; }));
  EXPECT_EQ(refused(RefusalReason::kHandshakeTime), 1u);
  EXPECT_TRUE(accepted_.empty());
}

TEST_F(VerbsListening, TakesBackTheRingsOfAClientThatDoesNotAnswerInTime) {
  listen({.hello_timeout = kMillisecond});
  ask("10.0.0.2");
  EXPECT_TRUE(progress_until([&] { return listener_->ring_bytes() == 0; }));
}

TEST_F(VerbsListening, AClientThatAnswersAfterItWasTurnedAwayIsNotTakenIn) {
  listen({.hello_timeout = 600 * kSecond, .max_handshakes = 1});
  const std::size_t first = ask("10.0.0.2");
  // The poller has it before it is pushed out.
  poller_->look();
  poller_->progress();
  ConnectRequest request = *make_request({});
  request.max_ring_bytes = kMaxRingBytes;
  // Its answer is there before its poller hears that it has been pushed out.
  manager_.establish(first);
  const std::size_t second = manager_.ask("10.0.0.2", &request, sizeof(request));
  EXPECT_TRUE(testing_support::wait_until([&] { return manager_.state(second) != State::kAsks; }));
  EXPECT_EQ(refused(RefusalReason::kHandshakes), 1u);
  EXPECT_TRUE(
      progress_until([&] { return manager_.state(first) == State::kGone || !accepted_.empty(); }));
  EXPECT_TRUE(accepted_.empty());
}

/// A client that has a key.
class VerbsProof : public VerbsListening {
 protected:
  static constexpr const char* kFrom = "10.0.0.2";

  VerbsProof() { listen({.hello_timeout = 600 * kSecond}); }
  Challenge challenge(const std::string& from = kFrom) {
    const std::size_t client = ask(from, request_);
    EXPECT_EQ(manager_.state(client), State::kRejected);
    const auto got = parse_challenge(manager_.answer(client));
    EXPECT_TRUE(got);
    return got.value_or(Challenge{});
  }
  ProofRequest proof_of(const Challenge& challenge, const access::Key& key) const {
    ProofRequest proof = make_proof_request(challenge, key.label().id);
    proof.max_ring_bytes = kMaxRingBytes;
    proof.tag = said_before(request_, challenge, proof).tag(key, access::Side::kClient);
    return proof;
  }
  ErrorCode refusal_of(std::size_t client) const {
    EXPECT_EQ(manager_.state(client), State::kRejected);
    return parse_refusal(manager_.answer(client), "the server").code;
  }

  const ChallengeRequest request_ = *make_challenge_request({});
};

TEST_F(VerbsProof, OfAKnownKeyIsAcceptedAndAnswered) {
  const ProofRequest proof = proof_of(challenge(), key_);
  EXPECT_TRUE(callers_.empty());
  EXPECT_EQ(listener_->ring_bytes(), 0u) << "nothing is made for a client before its proof";
  const std::size_t client = ask(kFrom, proof);
  ASSERT_EQ(manager_.state(client), State::kAccepted);
  ASSERT_EQ(callers_.size(), 1u);
  EXPECT_EQ(callers_[0].key, key_.label());
  manager_.establish(client);
  ASSERT_TRUE(progress_until([&] { return accepted_.size() == 1; }));
  EXPECT_EQ(accepted_[0]->key(), key_.label());
}

TEST_F(VerbsProof, OfTheServerIsOverItsAnswer) {
  const Challenge sent = challenge();
  const ProofRequest proof = proof_of(sent, key_);
  const auto reply = parse_reply(manager_.answer(ask(kFrom, proof)), "the server");
  ASSERT_TRUE(reply) << reply.error().message;
  const auto before = said_before(request_, sent, proof);
  EXPECT_TRUE(
      said_at_last(before, proof, *reply).is_proved_by(reply->tag, key_, access::Side::kServer));
  ConnectReply changed = *reply;
  ++changed.inbox_key;
  EXPECT_FALSE(
      said_at_last(before, proof, changed).is_proved_by(reply->tag, key_, access::Side::kServer));
}

TEST_F(VerbsProof, OfAnUnknownKeyIsRefused) {
  const std::size_t client = ask(kFrom, proof_of(challenge(), *access::Key::make("alice")));
  EXPECT_EQ(refusal_of(client), ErrorCode::kPermission);
  EXPECT_TRUE(callers_.empty());
  EXPECT_EQ(refused(RefusalReason::kPermission), 1u);
}

TEST_F(VerbsProof, ThatWasChangedOnTheWayIsRefused) {
  ProofRequest proof = proof_of(challenge(), key_);
  ++proof.inbox_address;
  EXPECT_EQ(refusal_of(ask(kFrom, proof)), ErrorCode::kPermission);
}

TEST_F(VerbsProof, IsGoodOnce) {
  const ProofRequest proof = proof_of(challenge(), key_);
  EXPECT_EQ(manager_.state(ask(kFrom, proof)), State::kAccepted);
  EXPECT_EQ(refusal_of(ask(kFrom, proof)), ErrorCode::kUnavailable);
  EXPECT_EQ(callers_.size(), 1u);
}

TEST_F(VerbsProof, IsNoneForAChallengeOfAnotherHost) {
  const ProofRequest proof = proof_of(challenge("10.0.0.3"), key_);
  EXPECT_EQ(refusal_of(ask(kFrom, proof)), ErrorCode::kUnavailable);
}

TEST_F(VerbsProof, StaysPossibleAfterAnotherProgramHasGuessed) {
  const Challenge sent = challenge();
  ask(kFrom, proof_of(sent, *access::Key::make("alice")));
  EXPECT_EQ(manager_.state(ask(kFrom, proof_of(sent, key_))), State::kAccepted);
}

TEST_F(VerbsListening, KeepsNoMoreChallengesThanItsLimit) {
  listen({.hello_timeout = 600 * kSecond, .max_handshakes = 4});
  for (int i = 0; i < 20; ++i) ask("10.0.0.2", *make_challenge_request({}));
  EXPECT_EQ(refused(RefusalReason::kHandshakes), 20u - 4u);
}

}  // namespace
}  // namespace silurus::transport::verbs
