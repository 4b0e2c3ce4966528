// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/log.h"
#include "server/session.h"
#include "tests/support/visible_slabs.h"
#include "tests/unit/server/world.h"

namespace silurus::server {
namespace {

using test::Loopback;
using Need = SessionHost<2>::Need;

/// A host that keeps what its session asks of it.
class FakeHost final : public SessionHost<2> {
 public:
  explicit FakeHost(const Served<2>& served) : SessionHost<2>(served, sweep_, counters_) {}

  void search(Session<2>&, std::uint32_t request_id, bool, const rtree::RangeQuery<2>&) override {
    ranges.push_back(request_id);
  }
  void search(Session<2>&, std::uint32_t request_id, bool, const rtree::NearestQuery<2>&) override {
    nearests.push_back(request_id);
  }
  std::unique_ptr<WriteJob<2>> new_job() override { return std::make_unique<WriteJob<2>>(); }
  Status submit(std::unique_ptr<WriteJob<2>> job) override {
    if (is_full) return fail(ErrorCode::kUnavailable, "too many writes are waiting");
    writes.push_back(std::move(job));
    return {};
  }
  Status submit(std::unique_ptr<TaskJob> job) override {
    tasks.push_back(std::move(job));
    return {};
  }
  void submit(std::unique_ptr<LoadJob<2>> job) override { loads.push_back(std::move(job)); }
  void look_after(Session<2>&, Need need) override { needs.push_back(need); }
  std::string text(protocol::MessageType) override { return "{}"; }
  void warn_of(const transport::Connection&, std::string_view) override {}

  std::size_t count(Need need) const {
    return static_cast<std::size_t>(std::ranges::count(needs, need));
  }

  bool is_full = false;
  std::vector<std::uint32_t> ranges;
  std::vector<std::uint32_t> nearests;
  std::vector<std::unique_ptr<WriteJob<2>>> writes;
  std::vector<std::unique_ptr<TaskJob>> tasks;
  std::vector<std::unique_ptr<LoadJob<2>>> loads;
  std::vector<Need> needs;

 private:
  Sweep sweep_;
  WorkerCounters counters_;
};

/// A session without a worker.
class SessionAlone : public testing::Test {
 protected:
  static constexpr std::uint64_t kId = 77;
  SessionAlone() {
    log::set_level(log::Level::kOff);
    auto made = rtree::Tree<2>::create({}, slabs_, clock_);
    SILURUS_CHECK(made.has_value());
    collections_ = std::make_unique<ServedCollections<2>>(
        replication::Collections<2>(std::move(*made)), HistoryOptions{});
    served_ = {.collections = collections_.get(),
               .admission = &admission_,
               .load_slot = &load_slot_,
               .segmented_bytes = &segmented_bytes_,
               .clock = &clock_};
    connect({.dimensions = 2});
  }
  ~SessionAlone() override { log::set_level(log::Level::kInfo); }

  void connect(const protocol::ClientHello& hello) {
    const auto bytes = std::as_bytes(std::span(&hello, 1));
    auto connection =
        std::make_unique<Loopback>(4096, std::vector<std::byte>(bytes.begin(), bytes.end()));
    client_ = connection.get();
    session_ = std::make_unique<Session<2>>(host_, kId, 0, std::move(connection));
    client_->set_handler(session_.get());
  }

  testing_support::VisibleSlabs slabs_;
  ManualClock clock_;
  std::unique_ptr<ServedCollections<2>> collections_;
  AdmissionControl admission_;
  LoadSlot load_slot_{1 << 20};
  SegmentedBytes segmented_bytes_;
  Served<2> served_;
  FakeHost host_{served_};
  Loopback* client_ = nullptr;
  std::unique_ptr<Session<2>> session_;
};

TEST_F(SessionAlone, LeavesSearchesToItsHost) {
  test::ask_range(*client_, 1, {.window = test::window_of(0, 3)});
  test::ask_nearest(*client_, 2, {.point = {{0, 0}}, .k = 1});
  EXPECT_EQ(host_.ranges, (std::vector<std::uint32_t>{1}));
  EXPECT_EQ(host_.nearests, (std::vector<std::uint32_t>{2}));
  EXPECT_EQ(client_->waiting(), 0u);
}

TEST_F(SessionAlone, LeavesNoMoreSearchesOfASweepToItsHostThanItsShare) {
  const auto share = static_cast<std::uint32_t>(host_.current_sweep().share);
  for (std::uint32_t id = 0; id < share; ++id) {
    test::ask_range(*client_, id, {.window = test::window_of(0, 3)});
  }
  EXPECT_EQ(host_.ranges.size(), share);
}

TEST_F(SessionAlone, SubmitsAWriteWithWhomToAnswer) {
  test::ask_write(*client_, 5, {test::insert_of(1), test::erase_of(2)});
  ASSERT_EQ(host_.writes.size(), 1u);
  EXPECT_EQ(host_.writes[0]->session, kId);
  EXPECT_EQ(host_.writes[0]->request_id, 5u);
  EXPECT_EQ(host_.writes[0]->operations.size(), 2u);
}

TEST_F(SessionAlone, SubmitsAWriteWithItsName) {
  constexpr std::uint64_t kClientName = 4711;
  connect({.dimensions = 2, .client = kClientName});
  test::ask_write(*client_, 7, {test::insert_of(1)});
  ASSERT_EQ(host_.writes.size(), 1u);
  EXPECT_EQ(host_.writes[0]->request.client, kClientName);
  EXPECT_EQ(host_.writes[0]->request.sequence, 7u);
}

TEST_F(SessionAlone, AnswersAWriteThatItsHostDoesNotTake) {
  host_.is_full = true;
  test::ask_write(*client_, 5, {test::insert_of(1)});
  ASSERT_EQ(client_->waiting(), 1u);
  EXPECT_EQ(test::code_of(client_->receive()), ErrorCode::kUnavailable);
}

TEST_F(SessionAlone, SubmitsNoWriteWhileALoadIsUnderWay) {
  ASSERT_TRUE(load_slot_.try_take());
  test::ask_write(*client_, 5, {test::insert_of(1)});
  EXPECT_TRUE(host_.writes.empty());
  ASSERT_EQ(client_->waiting(), 1u);
  EXPECT_EQ(test::code_of(client_->receive()), ErrorCode::kConflict);
}

TEST_F(SessionAlone, SubmitsNoWriteOfAMemberThatIsNotThePrimary) {
  const MemberStatus member_status("group", 0, 1);
  served_.member_status = &member_status;
  test::ask_write(*client_, 5, {test::insert_of(1)});
  EXPECT_TRUE(host_.writes.empty());
  ASSERT_EQ(client_->waiting(), 1u);
  EXPECT_EQ(test::code_of(client_->receive()), ErrorCode::kNotPrimary);
}

TEST_F(SessionAlone, LeavesNothingOfARetiredServerToItsHost) {
  admission_.follow({replication::AdmissionState::kRetired, 1}, 0);
  test::ask_range(*client_, 1, {.window = test::window_of(0, 3)});
  test::ask_nearest(*client_, 2, {.point = {{0, 0}}, .k = 1});
  EXPECT_TRUE(host_.ranges.empty() && host_.nearests.empty());
  ASSERT_EQ(client_->waiting(), 2u);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(test::code_of(client_->receive()), ErrorCode::kMoved);
}

TEST_F(SessionAlone, AsksOnceForEachThingThatItNeeds) {
  test::ask_bare(*client_, 1, protocol::MessageType::kStats);
  test::ask_bare(*client_, 2, protocol::MessageType::kStats);
  EXPECT_EQ(host_.count(Need::kHeartbeats), 1u);
  EXPECT_EQ(host_.count(Need::kFlush), 1u);
  session_->in_touched = false;  // as its host does when it flushes
  test::ask_bare(*client_, 3, protocol::MessageType::kStats);
  EXPECT_EQ(host_.count(Need::kFlush), 2u);
}

TEST_F(SessionAlone, TellsItsHostOnceThatItsClientHasGone) {
  client_->hang_up();
  EXPECT_EQ(host_.count(Need::kEnd), 1u);
}

TEST_F(SessionAlone, OnlyTheEndOfTheConnectionAnswersAWriteWhoseFateIsNotKnown) {
  test::ask_write(*client_, 5, {test::insert_of(1)});
  ASSERT_EQ(host_.writes.size(), 1u);
  host_.writes[0]->error = Error{ErrorCode::kConnectionLost, "this member was voted out"};
  session_->answer_write(*host_.writes[0]);
  EXPECT_TRUE(client_->closed());
  EXPECT_EQ(client_->waiting(), 0u) << "an error would say that it was not done";
}

TEST_F(SessionAlone, GivesTheSlotOfItsLoadBackWhenItsClientHasGone) {
  test::ask_bare(*client_, 1, protocol::MessageType::kLoadBegin);
  EXPECT_TRUE(load_slot_.taken());
  client_->hang_up();
  EXPECT_FALSE(load_slot_.taken());
}

}  // namespace
}  // namespace silurus::server
