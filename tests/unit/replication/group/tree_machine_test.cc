// SPDX-License-Identifier: Apache-2.0

#include "replication/group/tree_machine.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "common/clock.h"
#include "tests/support/crash_memory.h"
#include "tests/support/crowd.h"

namespace silurus::replication::group {
namespace {

using testing_support::CrashMemory;
using testing_support::Power;

constexpr LogPosition kStartOfTree{.lsn = 0, .chain = 7};

rtree::Box<2> box_of(std::uint64_t id) {
  const double x = static_cast<double>(id);
  return {{x, 0}, {x, 1}};
}

/// A log, and members that apply it.
class TreeMachineTest : public testing::Test {
 protected:
  struct Member {
    explicit Member(const Clock& clock, std::uint32_t slice = rtree::kSliceOfWork,
                    const rtree::TreeOptions& options = {})
        : tree(std::move(*rtree::Tree<2>::create(options, slabs, clock))),
          machine(
              *tree, MachineState(), 0,
              [this](const AppliedBatch& batch) {
                versions.push_back(batch.version);
                EXPECT_EQ(machine.stamp(), batch.stamp)
                    << "a reader that sees the version sees its stamp";
                for (const AppliedRequest& one : batch.requests) requests.push_back(one);
                if (batch.order) obeyed.push_back(batch.obeyed.has_value());
              },
              slice) {}
    rtree::AnonymousSlabs slabs;
    std::unique_ptr<rtree::Tree<2>> tree;
    std::vector<rtree::Version> versions;
    std::vector<AppliedRequest> requests;
    std::vector<bool> obeyed;  ///< for each admission order
    TreeMachine<2> machine;
  };

  TreeMachineTest() : content_(CrashMemory::fresh(1 << 20)), power_(1, UINT64_MAX) {
    log_ = std::move(*Log::open(std::make_unique<CrashMemory>(power_, content_), kStartOfTree));
  }
  ~TreeMachineTest() override { log_.reset(); }

  template <typename Payload>
  void put(RecordType type, const Payload& payload) {
    ASSERT_TRUE(log_->append({.checksum = 0,
                              .lsn = 0,
                              .stamp = ++stamp_,
                              .epoch = 1,
                              .length = 0,
                              .type = type,
                              .flags = 0},
                             std::as_bytes(std::span(&payload, 1))));
  }
  void request(std::uint64_t client, std::uint64_t sequence, std::uint64_t first = 1) {
    put(RecordType::kRequest, RequestPayload{client, sequence, first});
  }
  void insert(std::uint64_t id) { put(RecordType::kInsert, EntryPayload<2>{id, box_of(id)}); }
  void erase(std::uint64_t id) { put(RecordType::kErase, EntryPayload<2>{id, box_of(id)}); }
  void end_batch() {
    log_->end_batch();
    ASSERT_TRUE(log_->commit());
  }
  LogPosition apply(Member& member, LogPosition from, Lsn until) {
    return member.machine.apply(*log_, from, until).value();
  }

  ManualClock clock_;
  CrashMemory::Content content_;
  Power power_;
  std::unique_ptr<Log> log_;
  Stamp stamp_ = 0;
};

TEST_F(TreeMachineTest, DecidesWhenItAppliesWhatOperationsComeTo) {
  request(1, 1);
  insert(10);
  erase(11);
  put(RecordType::kRefused, RefusedPayload{static_cast<std::uint64_t>(ErrorCode::kOutOfMemory)});
  insert(12);
  end_batch();
  Member member(clock_);
  apply(member, kStartOfTree, log_->end().lsn);
  ASSERT_EQ(member.requests.size(), 1u);
  const std::vector<Failure> failed{{1, static_cast<std::uint32_t>(ErrorCode::kNotFound)},
                                    {2, static_cast<std::uint32_t>(ErrorCode::kOutOfMemory)}};
  EXPECT_EQ(member.requests[0].outcome.failed, failed);
  EXPECT_EQ(member.tree->snapshot().size(), 2u);
}

TEST_F(TreeMachineTest, DoesAWriteOnceHoweverOftenItIsLogged) {
  request(1, 1);
  insert(10);
  end_batch();
  request(1, 2);
  erase(10);
  request(1, 1);
  insert(10);
  request(1, 2);
  erase(10);
  end_batch();
  Member member(clock_);
  apply(member, kStartOfTree, log_->end().lsn);
  EXPECT_EQ(member.tree->snapshot().size(), 0u);
  ASSERT_EQ(member.requests.size(), 4u);
  EXPECT_TRUE(member.requests[2].is_repeated && member.requests[3].is_repeated);
  EXPECT_EQ(member.requests[2].outcome, member.requests[0].outcome);
  EXPECT_EQ(member.requests[3].outcome, member.requests[1].outcome);
}

TEST_F(TreeMachineTest, DoesAWriteOnceThoughALaterOneCameBeforeIt) {
  for (const std::uint64_t sequence : {2u, 1u, 1u}) {
    request(1, sequence);
    insert(10 + sequence);
    end_batch();
  }
  Member member(clock_);
  apply(member, kStartOfTree, log_->end().lsn);
  EXPECT_EQ(member.tree->snapshot().size(), 2u);
  ASSERT_EQ(member.requests.size(), 3u);
  EXPECT_FALSE(member.requests[0].is_repeated || member.requests[1].is_repeated);
  EXPECT_TRUE(member.requests[2].is_repeated && member.requests[2].is_known);
  EXPECT_EQ(member.requests[2].outcome, member.requests[1].outcome);
}

TEST_F(TreeMachineTest, DoesNoWriteAgainOfWhichTheOutcomeIsForgotten) {
  request(1, 1);
  insert(10);
  end_batch();
  request(1, 2, 2);  // it knows what came of the first one
  insert(11);
  end_batch();
  request(1, 1);
  insert(10);
  end_batch();
  Member member(clock_);
  apply(member, kStartOfTree, log_->end().lsn);
  EXPECT_EQ(member.tree->snapshot().size(), 2u);
  ASSERT_EQ(member.requests.size(), 3u);
  EXPECT_TRUE(member.requests[2].is_repeated);
  EXPECT_FALSE(member.requests[2].is_known);
}

TEST_F(TreeMachineTest, RemembersOfAWriteThatChangedNothingAVersionThatThereIs) {
  request(1, 1);
  insert(10);
  end_batch();
  request(1, 2);
  erase(1000);
  end_batch();
  Member member(clock_);
  apply(member, kStartOfTree, log_->end().lsn);
  const rtree::Version version = member.tree->snapshot().version();
  const Outcome* const kept = member.machine.state().requests.find(1, 2);
  ASSERT_NE(kept, nullptr);
  EXPECT_EQ(kept->version, version);
  EXPECT_EQ(*kept, member.requests[1].outcome);
}

/// A member that went on without an operation that others did would have another tree than they.
TEST_F(TreeMachineTest, GoesNotOnWithoutAnOperationForWhichThereIsNoMemory) {
  Member member(clock_, rtree::kSliceOfWork,
                {.memory_budget_bytes = rtree::Tree<2>::kMinimumBudgetBytes});
  LogPosition at = kStartOfTree;
  std::uint64_t id = 0;
  Status stopped;
  while (stopped) {
    ASSERT_LT(id, 30'000u) << "a tree without end";
    ++id;
    request(1, id, id);
    insert(id);
    end_batch();
    do {
      const auto applied = member.machine.apply(*log_, at, log_->end().lsn);
      if (applied) {
        at = *applied;
      } else {
        stopped = fail(applied.error());
      }
    } while (stopped && member.machine.has_more());
    if (member.machine.waits_for_memory()) break;
    log_->trim(at);
  }
  if (!stopped) {
    EXPECT_EQ(stopped.error().code, ErrorCode::kOutOfMemory);
  }
  EXPECT_GT(id, 100u);
  EXPECT_EQ(member.requests.size(), id - 1);
  EXPECT_EQ(member.tree->snapshot().size(), id - 1);
  EXPECT_FALSE(member.machine.state().requests.is_done(1, id));
  for (const AppliedRequest& one : member.requests) EXPECT_TRUE(one.outcome.failed.empty());
}

TEST_F(TreeMachineTest, PacksTheSameNodesAtEachMember) {
  for (std::uint64_t first = 0; first < 4000; first += 500) {
    request(0, 0);
    for (std::uint64_t id = first; id < first + 500; ++id) insert(id);
    end_batch();
  }
  request(0, 0);
  for (std::uint64_t id = 0; id < 4000; ++id) {
    if (id % 8 > 2) erase(id);
  }
  end_batch();
  Member one(clock_);
  Member other(clock_, rtree::kWorkOfAnOperation);
  LogPosition at_one = kStartOfTree;
  LogPosition at_other = kStartOfTree;
  const auto apply_all = [&](Member& member, LogPosition& at) {
    do {
      at = apply(member, at, log_->end().lsn);
    } while (member.machine.has_more());
  };
  apply_all(one, at_one);
  apply_all(other, at_other);
  const std::uint64_t nodes = one.tree->stats().nodes;
  for (std::uint64_t cursor = 0; cursor != rtree::kCompacted;) {
    request(0, 0);
    put(RecordType::kCompact, CompactPayload{cursor, 0});
    insert(10'000 + stamp_);
    end_batch();
    apply_all(one, at_one);
    apply_all(other, at_other);
    ASSERT_EQ(one.requests.back().compacted.has_value(), true);
    ASSERT_EQ(other.requests.back().compacted.has_value(), true);
    EXPECT_EQ(one.requests.back().compacted->next, other.requests.back().compacted->next);
    cursor = one.requests.back().compacted->next;
  }
  EXPECT_LT(one.tree->stats().nodes, nodes);
  EXPECT_EQ(one.tree->stats().nodes, other.tree->stats().nodes);
  EXPECT_EQ(one.versions, other.versions);
  EXPECT_EQ(one.machine.state().encode(), other.machine.state().encode());
  EXPECT_TRUE(one.tree->snapshot().validate());
  EXPECT_TRUE(other.tree->snapshot().validate());
}

TEST_F(TreeMachineTest, MakesTheSameVersionsWhereverItStops) {
  for (std::uint64_t batch = 0; batch < 40; ++batch) {
    request(1 + batch % 3, batch + 1);
    if (batch % 4 == 3) {
      erase(1000);  // nothing changes: no version
    } else {
      insert(batch);
    }
    end_batch();
  }
  Member at_once(clock_);
  Member in_steps(clock_);
  const LogPosition end = apply(at_once, kStartOfTree, log_->end().lsn);
  LogPosition at = kStartOfTree;
  for (Lsn until = 0; until <= log_->end().lsn; until += 8) at = apply(in_steps, at, until);
  EXPECT_EQ(at, end);
  EXPECT_EQ(at_once.versions, in_steps.versions);
  EXPECT_EQ(at_once.tree->snapshot().version(), 31u);
  EXPECT_EQ(at_once.machine.state().encode(), in_steps.machine.state().encode());
  for (const AppliedRequest& one : at_once.requests) {
    EXPECT_LE(one.outcome.version, at_once.tree->snapshot().version());
  }
}

TEST_F(TreeMachineTest, StopsAfterASliceOfWorkAndGoesOnFromThere) {
  constexpr std::uint64_t kCrowd = 3000;
  const auto crowd = [](std::uint64_t i) { return testing_support::crowd_entry(i, kCrowd); };
  const auto put_entry = [&](RecordType type, const rtree::Entry<2>& entry) {
    put(type, EntryPayload<2>{entry.id, entry.box});
  };
  std::uint64_t sequence = 0;
  for (std::uint64_t i = 0; i < kCrowd; ++i) {
    if (i % 100 == 0) request(1, ++sequence);
    put_entry(RecordType::kInsert, crowd(i));
    if (i % 100 == 99) end_batch();
  }
  request(1, ++sequence);
  constexpr std::uint64_t kAbsent = 40;
  for (std::uint64_t i = 0; i < kAbsent; ++i) {
    put_entry(RecordType::kErase, {kCrowd + 2 * i + 1, {{0, 0}, {0, 0}}});
  }
  put_entry(RecordType::kErase, crowd(1));
  put(RecordType::kUpdate, UpdatePayload<2>{crowd(2).id, crowd(2).box, box_of(2)});
  end_batch();
  Member at_once(clock_, UINT32_MAX);
  Member in_slices(clock_, 64);
  const LogPosition end = apply(at_once, kStartOfTree, log_->end().lsn);
  EXPECT_FALSE(at_once.machine.has_more());
  LogPosition at = kStartOfTree;
  std::size_t slices = 0;
  std::size_t within = 0;
  do {
    at = apply(in_slices, at, log_->end().lsn);
    ++slices;
    within += in_slices.machine.is_within_batch() ? 1 : 0;
  } while (in_slices.machine.has_more());
  EXPECT_EQ(at, end);
  const std::uint64_t work = kCrowd * rtree::kWorkOfAnOperation + kAbsent * kCrowd / 32;
  EXPECT_GE(slices, work / 64);
  EXPECT_GT(within, kCrowd / 100);
  EXPECT_EQ(in_slices.versions, at_once.versions);
  EXPECT_EQ(in_slices.machine.state().encode(), at_once.machine.state().encode());
  EXPECT_EQ(in_slices.requests.back().outcome.failed.size(), kAbsent);
  EXPECT_EQ(in_slices.tree->snapshot().size(), 2999u);
}

TEST_F(TreeMachineTest, ObeysAdmissionOrdersInTheOrderOfTheLogAndRemembersThem) {
  const auto order = [&](AdmissionAction action, std::uint64_t fencing_token) {
    put(RecordType::kAdmission, AdmissionOrder{action, fencing_token, 0});
    end_batch();
  };
  request(1, 1);
  insert(10);
  end_batch();
  order(AdmissionAction::kFreeze, 7);
  order(AdmissionAction::kRetire, 6);  // too late
  order(AdmissionAction::kLapse, 7);
  order(AdmissionAction::kRetire, 7);  // not frozen any more
  order(AdmissionAction::kFreeze, 7);
  order(AdmissionAction::kRetire, 7);
  Member member(clock_);
  apply(member, kStartOfTree, log_->end().lsn);
  const std::vector<bool> turned{true, false, true, false, true, true};
  EXPECT_EQ(member.obeyed, turned);
  EXPECT_EQ(member.machine.state().admission.state, AdmissionState::kRetired);
  EXPECT_EQ(member.tree->snapshot().size(), 1u);
  const std::vector<std::byte> bytes = member.machine.state().encode();
  const auto again = MachineState::decode(bytes);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->admission, member.machine.state().admission);
  EXPECT_TRUE(again->requests.is_done(1, 1));
  for (std::size_t length = 1; length < bytes.size(); ++length) {
    EXPECT_FALSE(MachineState::decode(std::span(bytes).first(length))) << length;
  }
  EXPECT_EQ(MachineState::decode({})->admission, Admission());
}

TEST_F(TreeMachineTest, TellsAnAdmissionOrderWithItsOwnBatchAlone) {
  put(RecordType::kAdmission, AdmissionOrder{AdmissionAction::kFreeze, 7, 0});
  end_batch();
  Member member(clock_);
  LogPosition at = apply(member, kStartOfTree, log_->end().lsn);
  EXPECT_EQ(member.obeyed.size(), 1u);
  EXPECT_FALSE(member.machine.is_within_batch());
  request(1, 1);
  insert(10);
  end_batch();
  at = apply(member, at, log_->end().lsn);
  EXPECT_EQ(at, log_->end());
  EXPECT_EQ(member.requests.size(), 1u);
  EXPECT_EQ(member.obeyed.size(), 1u);
  EXPECT_FALSE(member.machine.is_within_batch());
}

TEST_F(TreeMachineTest, GoesNotOnBehindARecordThatItDoesNotKnow) {
  for (const int type : {0, 6, 15, 21, 255}) {
    const LogPosition from = log_->end();
    request(1, 1);
    put(static_cast<RecordType>(type), EntryPayload<2>{7, box_of(7)});
    end_batch();
    Member member(clock_);
    const auto refused = member.machine.apply(*log_, from, log_->end().lsn);
    ASSERT_FALSE(refused) << type;
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported) << type;
    EXPECT_TRUE(member.versions.empty()) << type;
  }
}

TEST_F(TreeMachineTest, GoesNotOnBehindARecordOfAnotherLength) {
  for (const RecordType type : {RecordType::kInsert, RecordType::kErase, RecordType::kUpdate,
                                RecordType::kCompact, RecordType::kRefused, RecordType::kLoadOffer,
                                RecordType::kLoad, RecordType::kAdmission, RecordType::kRequest}) {
    const LogPosition from = log_->end();
    if (type != RecordType::kAdmission && type != RecordType::kRequest) request(1, 1);
    put(type, std::array<std::uint64_t, 15>{});
    end_batch();
    Member member(clock_);
    const auto refused = member.machine.apply(*log_, from, log_->end().lsn);
    ASSERT_FALSE(refused) << static_cast<int>(type);
    EXPECT_EQ(refused.error().code, ErrorCode::kProtocol) << static_cast<int>(type);
  }
}

TEST_F(TreeMachineTest, RefusesAnOperationThatBelongsToNoRequest) {
  insert(10);
  end_batch();
  Member member(clock_);
  EXPECT_EQ(member.machine.apply(*log_, kStartOfTree, log_->end().lsn).error().code,
            ErrorCode::kProtocol);
}

}  // namespace
}  // namespace silurus::replication::group
