// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/inbox.h"

#include <gtest/gtest.h>

#include <vector>

namespace silurus::transport::verbs {
namespace {

using Content = std::array<std::byte, kMailboxBytes>;

struct Mailbox {
  alignas(8) std::array<std::byte, 2 * kMailboxStride> here{};   ///< the writer's copy
  alignas(8) std::array<std::byte, 2 * kMailboxStride> there{};  ///< what the reader sees
  MailboxOut out{here};
  MailboxIn in{there};

  /// What the card does, all or the first `bytes` of it.
  void carry(std::size_t offset, std::size_t bytes = sizeof(MailboxSlot)) {
    std::copy_n(here.begin() + static_cast<std::ptrdiff_t>(offset), bytes,
                there.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  std::size_t fill(int value) {
    return out.fill(std::vector<std::byte>(kMailboxBytes, static_cast<std::byte>(value)));
  }
};

TEST(VerbsMailbox, IsEmptyAtFirst) {
  Mailbox mailbox;
  Content content;
  EXPECT_FALSE(mailbox.in.read(content));
}

TEST(VerbsMailbox, ShowsTheNewest) {
  Mailbox mailbox;
  Content content;
  for (int i = 1; i < 10; ++i) {
    mailbox.carry(mailbox.fill(i));
    ASSERT_TRUE(mailbox.in.read(content));
    EXPECT_EQ(content[77], static_cast<std::byte>(i));
  }
}

TEST(VerbsMailbox, ShowsTheOlderWhileTheNewerIsHalfWritten) {
  Mailbox mailbox;
  Content content;
  mailbox.carry(mailbox.fill(1));
  for (std::size_t bytes = 0; bytes < sizeof(MailboxSlot); bytes += 8) {
    Mailbox copy;
    copy.carry(copy.fill(1));
    copy.carry(copy.fill(2), bytes);
    ASSERT_TRUE(copy.in.read(content));
    EXPECT_EQ(content[0], std::byte{1}) << bytes;
    EXPECT_EQ(content[kMailboxBytes - 1], std::byte{1}) << bytes;
  }
}

TEST(VerbsMailbox, KeepsItsContentWhenBothSlotsAreBeingWritten) {
  Mailbox mailbox;
  Content content;
  mailbox.carry(mailbox.fill(1));
  ASSERT_TRUE(mailbox.in.read(content));
  mailbox.carry(mailbox.fill(2), 40);
  mailbox.carry(mailbox.fill(3), 40);
  ASSERT_TRUE(mailbox.in.read(content));
  EXPECT_EQ(content[0], std::byte{1});
}

TEST(VerbsImmediate, ExtendsACreditOverAnyWrap) {
  constexpr std::uint64_t kLap = std::uint64_t{1} << Immediate::kValueBits;
  for (const std::uint64_t known : {std::uint64_t{0}, kLap - 3, 7 * kLap - 1, 7 * kLap + 5}) {
    for (std::uint64_t more = 0; more < 4096; more += 17) {
      const std::uint32_t word = Immediate::make(Notice::kCredit, known + more);
      EXPECT_EQ(Immediate::extend(known, Immediate::value(word)), known + more);
      EXPECT_EQ(Immediate::notice(word), Notice::kCredit);
    }
  }
}

}  // namespace
}  // namespace silurus::transport::verbs
