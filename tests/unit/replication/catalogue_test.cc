// SPDX-License-Identifier: Apache-2.0

#include "replication/catalogue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/random.h"
#include "tests/support/seed.h"

namespace silurus::replication {
namespace {

using Action = CollectionAction;

Result<CatalogueChange> obey(Catalogue& catalogue, Action action, std::uint64_t number,
                             std::string_view text = {}, std::uint32_t dimensions = 2,
                             std::uint32_t flags = 0) {
  const auto order = CollectionOrder::make(action, number, text, dimensions, flags);
  if (!order) return fail(order.error());
  const Status checked = catalogue.check(*order);
  auto obeyed = catalogue.obey(*order);
  EXPECT_EQ(static_cast<bool>(checked), obeyed.has_value());
  return obeyed;
}
ErrorCode refusal(const Result<CatalogueChange>& change) {
  EXPECT_FALSE(change);
  return change ? ErrorCode{} : change.error().code;
}
std::vector<std::string> names_of(const Catalogue& catalogue) {
  std::vector<std::string> names;
  for (const auto& one : catalogue.collections()) names.push_back(one.name);
  return names;
}
std::uint64_t create(Catalogue& catalogue, std::string_view name, std::uint32_t flags = 0) {
  const auto created = obey(catalogue, Action::kCreate, 0, name, 2, flags);
  EXPECT_TRUE(created);
  return created->number;
}

TEST(Catalogue, BeginsWithTheDefaultCollection) {
  const Catalogue catalogue(3);
  ASSERT_EQ(catalogue.collections().size(), 1u);
  EXPECT_EQ(
      catalogue.collections().front(),
      (CollectionInfo{.number = 0, .name = "default", .dimensions = 3, .flags = 0, .note = {}}));
}

TEST(Catalogue, CreatesCollectionsWithNumbersThatNeverComeAgain) {
  Catalogue catalogue(2);
  EXPECT_EQ(create(catalogue, "roads", kKeyed | kWithRecords), 1u);
  EXPECT_EQ(create(catalogue, "cities"), 2u);
  EXPECT_TRUE(obey(catalogue, Action::kDrop, 2));
  EXPECT_EQ(create(catalogue, "cities"), 3u);
  EXPECT_EQ(names_of(catalogue), (std::vector<std::string>{"cities", "default", "roads"}));
  const auto roads = catalogue.get("roads");
  ASSERT_TRUE(roads);
  EXPECT_EQ(roads->flags, kKeyed | kWithRecords);
  EXPECT_EQ(catalogue.get("rivers").error().code, ErrorCode::kNotFound);
}

TEST(Catalogue, RefusesANameThatIsTaken) {
  Catalogue catalogue(2);
  create(catalogue, "roads");
  EXPECT_EQ(refusal(obey(catalogue, Action::kCreate, 0, "roads")), ErrorCode::kConflict);
  EXPECT_EQ(refusal(obey(catalogue, Action::kCreate, 0, "default")), ErrorCode::kConflict);
}

TEST(Catalogue, RefusesNamesThatAPathOrAUrlCouldMisread) {
  for (const std::string name :
       {"", ".", "..", "-c", "a b", "a/b", "a\nb", "caf\xc3\xa9", "a%41", "a:b", "a?b", "a#b"}) {
    Catalogue catalogue(2);
    EXPECT_EQ(refusal(obey(catalogue, Action::kCreate, 0, name)), ErrorCode::kInvalidArgument)
        << name;
  }
  EXPECT_FALSE(check_collection_name(std::string(64, 'a')));
  EXPECT_TRUE(check_collection_name(std::string(63, 'a')));
  EXPECT_TRUE(check_collection_name("_Roads-2.1"));
}

TEST(Catalogue, RefusesAKindThatCannotBe) {
  Catalogue catalogue(2);
  EXPECT_FALSE(obey(catalogue, Action::kCreate, 0, "a", 1));
  EXPECT_FALSE(obey(catalogue, Action::kCreate, 0, "a", 4));
  EXPECT_FALSE(obey(catalogue, Action::kCreate, 0, "a", 3, kLonLat));
  EXPECT_FALSE(obey(catalogue, Action::kCreate, 0, "a", 2, 8));
  EXPECT_TRUE(obey(catalogue, Action::kCreate, 0, "a", 2, kLonLat));
}

TEST(Catalogue, HoldsNoMoreThanItsLimit) {
  Catalogue catalogue(2);
  for (std::size_t i = 1; i < Catalogue::kMaxCollections; ++i) {
    create(catalogue, "c" + std::to_string(i));
  }
  EXPECT_EQ(refusal(obey(catalogue, Action::kCreate, 0, "more")), ErrorCode::kTooLarge);
  EXPECT_TRUE(obey(catalogue, Action::kDrop, 7));
  EXPECT_TRUE(obey(catalogue, Action::kCreate, 0, "more"));
}

TEST(Catalogue, RenamesUnderANewNumber) {
  Catalogue catalogue(2);
  const std::uint64_t fresh = create(catalogue, "fresh", kKeyed);
  const auto renamed = obey(catalogue, Action::kRename, fresh, "roads");
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->old_number, fresh);
  EXPECT_NE(renamed->number, fresh);
  EXPECT_EQ(renamed->replaced, std::nullopt);
  EXPECT_EQ(catalogue.find(fresh), nullptr);
  EXPECT_EQ(catalogue.find("roads")->flags, kKeyed);
}

TEST(Catalogue, RenamesOverAnotherOnlyToReplaceIt) {
  Catalogue catalogue(2);
  const std::uint64_t old = create(catalogue, "roads");
  const std::uint64_t fresh = create(catalogue, "fresh");
  EXPECT_EQ(refusal(obey(catalogue, Action::kRename, fresh, "roads")), ErrorCode::kConflict);
  EXPECT_EQ(refusal(obey(catalogue, Action::kReplace, fresh, "fresh")), ErrorCode::kConflict);
  const auto replaced = obey(catalogue, Action::kReplace, fresh, "roads");
  ASSERT_TRUE(replaced);
  EXPECT_EQ(replaced->replaced, old);
  EXPECT_EQ(catalogue.find("roads")->number, replaced->number);
  EXPECT_EQ(catalogue.collections().size(), 2u);
}

TEST(Catalogue, KeepsADefaultCollectionWhateverHappens) {
  Catalogue catalogue(2);
  EXPECT_EQ(refusal(obey(catalogue, Action::kDrop, 0)), ErrorCode::kConflict);
  EXPECT_EQ(refusal(obey(catalogue, Action::kRename, 0, "other")), ErrorCode::kConflict);
  EXPECT_TRUE(obey(catalogue, Action::kClear, 0));
  const std::uint64_t fresh = create(catalogue, "fresh");
  const auto replaced = obey(catalogue, Action::kReplace, fresh, "default");
  ASSERT_TRUE(replaced);
  EXPECT_EQ(replaced->replaced, 0u);
  EXPECT_EQ(refusal(obey(catalogue, Action::kDrop, replaced->number)), ErrorCode::kConflict);
}

TEST(Catalogue, RefusesOrdersToNoCollectionAndOrdersThatAreUnknown) {
  Catalogue catalogue(2);
  for (const Action action :
       {Action::kDrop, Action::kClear, Action::kRename, Action::kReplace, Action::kNote}) {
    EXPECT_EQ(refusal(obey(catalogue, action, 5, "x")), ErrorCode::kNotFound);
  }
  EXPECT_FALSE(obey(catalogue, static_cast<Action>(0), 0, "x"));
  EXPECT_FALSE(obey(catalogue, static_cast<Action>(7), 0, "x"));
}

TEST(Catalogue, KeepsANoteOfPrintableText) {
  Catalogue catalogue(2);
  EXPECT_TRUE(obey(catalogue, Action::kNote, 0, "EPSG:4326"));
  EXPECT_EQ(catalogue.find("default")->note, "EPSG:4326");
  EXPECT_EQ(refusal(obey(catalogue, Action::kNote, 0, "a\033[2J")), ErrorCode::kInvalidArgument);
  EXPECT_EQ(catalogue.find("default")->note, "EPSG:4326");
  EXPECT_FALSE(CollectionOrder::make(Action::kNote, 0, std::string(97, 'a')));
  EXPECT_TRUE(obey(catalogue, Action::kNote, 0, std::string(96, 'a')));
  EXPECT_EQ(catalogue.find("default")->note.size(), 96u);
  EXPECT_FALSE(CollectionOrder::make(Action::kNote, 0, std::string_view("a\0b", 3)));
}

TEST(Catalogue, IsDecodedAsItWasEncoded) {
  Catalogue catalogue(2);
  create(catalogue, "roads", kKeyed);
  EXPECT_TRUE(obey(catalogue, Action::kNote, 1, "of the ministry"));
  EXPECT_TRUE(obey(catalogue, Action::kDrop, create(catalogue, "gone")));
  const auto decoded = Catalogue::decode(catalogue.encode());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, catalogue);
  Catalogue again = *decoded;
  EXPECT_EQ(create(again, "next"), 3u);
}

TEST(Catalogue, RefusesBytesThatAreNone) {
  Catalogue catalogue(2);
  create(catalogue, "roads", kKeyed);
  const std::vector<std::byte> good = catalogue.encode();
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(Catalogue::decode(std::span(good).first(size))) << size;
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(Catalogue::decode(longer));
  Random random(testing_support::seed(1));
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bad = good;
    bad[random.below(bad.size())] = static_cast<std::byte>(random.below(256));
    const auto decoded = Catalogue::decode(bad);
    if (!decoded) continue;
    // What is taken is one that could have been encoded.
    EXPECT_EQ(decoded->encode(), bad);
    EXPECT_NE(decoded->find("default"), nullptr);
  }
}

}  // namespace
}  // namespace silurus::replication
