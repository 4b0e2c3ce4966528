// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>

#include "common/result.h"

namespace silurus {
namespace {

TEST(Printable, KeepsTextOfAllKinds) {
  for (const std::string_view text :
       {"", "a b", "Größe 5 µm", "\xe6\xb5\xb7", "\xf0\x9f\x8c\x8a"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, TakesOutWhatATerminalObeysOrCannotShow) {
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a?b");
  EXPECT_EQ(printable("\x1b[2J"), "?[2J");
  EXPECT_EQ(printable("one\r\ntwo\ttab\x7f"), "one??two?tab?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "2J"),
            "??2J")
      << "the same in two bytes";
  EXPECT_EQ(printable("\xe2\x80\xae"
                      "txt"),
            "???txt")
      << "turns the direction of what follows";
  EXPECT_EQ(printable("\xff\xfe"), "??");
  EXPECT_EQ(printable("\xc3"), "?") << "cut short";
  EXPECT_EQ(printable("\xc0\xaf"), "??") << "longer than need be";
  EXPECT_EQ(printable("\xed\xa0\x80"), "???") << "half of a pair";
}

TEST(Printable, ErrorsOfPeersHaveCodesThatAreKnown) {
  EXPECT_EQ(error_of_peer(2, "x").code, ErrorCode::kNotFound);
  EXPECT_EQ(error_of_peer(17, "x").code, ErrorCode::kNoCollection);
  for (const std::uint32_t code : {0u, 18u, 0xffffffffu}) {
    EXPECT_EQ(error_of_peer(code, "x").code, ErrorCode::kProtocol);
  }
}

}  // namespace
}  // namespace silurus
