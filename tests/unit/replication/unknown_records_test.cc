// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "common/clock.h"
#include "replication/replay.h"

// Records of the log that are intact, and that this program does not understand: a tree that went
// on without them would be another one than was acknowledged.

namespace silurus::replication {
namespace {

class UnknownRecords : public testing::Test {
 protected:
  /// A record of that type, with a payload of that size in bytes, that ends a batch.
  Status take(RecordType type, std::size_t bytes) {
    payload_.assign(bytes, std::byte{0});
    return replay_.take({.header = {.checksum = 0,
                                    .lsn = 64,
                                    .stamp = 1,
                                    .epoch = 1,
                                    .length = static_cast<std::uint16_t>(bytes),
                                    .type = type,
                                    .flags = kBatchEnd},
                         .payload = payload_});
  }

  ManualClock clock_;
  rtree::AnonymousSlabs slabs_;
  Collections<2> collections_{*rtree::Tree<2>::create({}, slabs_, clock_)};
  Replay<2> replay_{collections_};
  std::vector<std::byte> payload_;
};

TEST_F(UnknownRecords, OfATypeThatIsNotKnownEndTheReplay) {
  for (const int type : {0, 8, 15, 17, 22, 255}) {
    const Status refused = take(static_cast<RecordType>(type), 40);
    ASSERT_FALSE(refused) << type;
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported) << type;
  }
}

TEST_F(UnknownRecords, OfAnotherLengthThanTheirTypeHasEndTheReplay) {
  struct Length {
    RecordType type;
    std::size_t bytes;
  };
  const Length lengths[] = {{RecordType::kInsert, sizeof(EntryPayload<2>)},
                            {RecordType::kErase, sizeof(EntryPayload<2>)},
                            {RecordType::kUpdate, sizeof(UpdatePayload<2>)},
                            {RecordType::kSelect, sizeof(SelectPayload)},
                            {RecordType::kCollection, sizeof(CollectionOrder)},
                            {RecordType::kCompact, sizeof(CompactPayload)}};
  for (const Length& length : lengths) {
    for (const std::size_t bytes : {length.bytes - 8, length.bytes + 8, std::size_t{0}}) {
      const Status refused = take(length.type, bytes);
      ASSERT_FALSE(refused) << static_cast<int>(length.type) << " of " << bytes;
      EXPECT_EQ(refused.error().code, ErrorCode::kProtocol) << static_cast<int>(length.type);
    }
  }
  EXPECT_TRUE(take(RecordType::kInsert, sizeof(EntryPayload<2>)));
}

}  // namespace
}  // namespace silurus::replication
