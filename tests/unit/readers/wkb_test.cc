// SPDX-License-Identifier: Apache-2.0

#include "readers/wkb.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "common/random.h"
#include "readers/request.h"
#include "tests/support/seed.h"

namespace silurus::readers {
namespace {

using rtree::Box;

/// Well-known binary in the order of bytes of this machine, written front to back.
class Wkb {
 public:
  explicit Wkb(std::uint32_t type) { geometry(type); }

  Wkb& geometry(std::uint32_t type) {
    text_ += '\x01';
    return count(type);
  }
  Wkb& count(std::uint32_t value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Wkb& numbers(std::initializer_list<double> values) {
    for (const double value : values) {
      text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    return *this;
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(text_)); }

 private:
  std::string text_;
};

template <int D = 2>
std::vector<Box<D>> boxes_of(const Wkb& wkb, As as = As::kBoxes) {
  std::vector<Box<D>> boxes;
  EXPECT_EQ(append_boxes_of_wkb<D>(wkb.bytes(), as, boxes), "");
  return boxes;
}

template <int D = 2>
std::string wrong_with(std::span<const std::byte> bytes) {
  std::vector<Box<D>> boxes;
  return std::string(append_boxes_of_wkb<D>(bytes, As::kBoxes, boxes));
}

Wkb polygon() {
  return Wkb(3)
      .count(2)
      .count(4)
      .numbers({0, 0, 4, 0, 4, 5, 0, 0})
      .count(4)
      .numbers({1, 1, 2, 1, 2, 2, 1, 1});
}

TEST(Wkb, OfAPolygonIsOneBoxAVertexEachOrASegmentEach) {
  EXPECT_EQ(boxes_of(polygon()), (std::vector<Box<2>>{{{0, 0}, {4, 5}}}));
  EXPECT_EQ(boxes_of(polygon(), As::kPoints).size(), 8u);
  const auto segments = boxes_of(polygon(), As::kSegments);
  ASSERT_EQ(segments.size(), 6u) << "no segment leads from ring to ring";
  EXPECT_EQ(segments[1], (Box<2>{{4, 0}, {4, 5}}));
  EXPECT_EQ(segments[3], (Box<2>{{1, 1}, {2, 1}}));
}

TEST(Wkb, OfAPointIsABoxWithoutExtentInEveryForm) {
  const Wkb point = Wkb(1).numbers({3, 4});
  for (const As as : {As::kBoxes, As::kPoints, As::kSegments}) {
    EXPECT_EQ(boxes_of(point, as), (std::vector<Box<2>>{{{3, 4}, {3, 4}}}));
  }
}

TEST(Wkb, OfACollectionHasTheBoxesOfAllItsParts) {
  const Wkb all =
      Wkb(7).count(2).geometry(1).numbers({-1, 9}).geometry(2).count(2).numbers({0, 0, 1, 1});
  EXPECT_EQ(boxes_of(all), (std::vector<Box<2>>{{{-1, 0}, {1, 9}}}));
  EXPECT_EQ(boxes_of(all, As::kSegments).size(), 2u);
}

TEST(Wkb, KeepsZForThreeDimensionsAndLeavesMOut) {
  const Wkb of_iso = Wkb(3002).count(2).numbers({0, 1, 2, 99, 3, 4, 5, 99});
  EXPECT_EQ(boxes_of<3>(of_iso), (std::vector<Box<3>>{{{0, 1, 2}, {3, 4, 5}}}));
  EXPECT_EQ(boxes_of<2>(of_iso), (std::vector<Box<2>>{{{0, 1}, {3, 4}}}));
  const Wkb of_postgis = Wkb(0xa0000001).count(4326).numbers({0, 1, 2});
  EXPECT_EQ(boxes_of<3>(of_postgis), (std::vector<Box<3>>{{{0, 1, 2}, {0, 1, 2}}}));
  EXPECT_EQ(wrong_with<3>(Wkb(1).numbers({1, 2}).bytes()),
            "has no z, and the tree has three dimensions");
}

TEST(Wkb, MayBeBigEndian) {
  std::string bytes("\0\0\0\0\1\x3f\xf0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0", 21);  // 1, 2
  std::vector<Box<2>> boxes;
  EXPECT_EQ(append_boxes_of_wkb<2>(std::as_bytes(std::span(bytes)), As::kBoxes, boxes), "");
  EXPECT_EQ(boxes, (std::vector<Box<2>>{{{1, 2}, {1, 2}}}));
}

TEST(Wkb, WithoutAVertexIsEmpty) {
  EXPECT_EQ(wrong_with(Wkb(2).count(0).bytes()), "is empty");
  EXPECT_EQ(wrong_with(Wkb(1).numbers({NAN, NAN}).bytes()), "is empty");
  EXPECT_EQ(wrong_with(Wkb(7).count(0).bytes()), "is empty");
}

TEST(Wkb, ThatIsBadSaysWhy) {
  EXPECT_EQ(wrong_with(Wkb(2).count(1).numbers({1, INFINITY}).bytes()),
            "has a coordinate that is not finite");
  EXPECT_EQ(wrong_with(Wkb(2).count(0xffffffff).bytes()), "is cut off");
  EXPECT_EQ(wrong_with(Wkb(8).count(0).bytes()), "is of a type that is not known");
  EXPECT_EQ(wrong_with({}), "is cut off");
  Wkb nested(7);
  for (int i = 0; i < 20; ++i) nested.count(1).geometry(7);
  EXPECT_EQ(wrong_with(nested.count(0).bytes()), "has collections in more than 16 others");
  const auto whole = polygon();
  for (std::size_t size = 0; size < whole.bytes().size(); ++size) {
    EXPECT_NE(wrong_with(whole.bytes().first(size)), "") << size;
  }
}

TEST(Wkb, DamagedAnywhereGivesBoxesOrAReason) {
  Random random(testing_support::seed(20261201));
  const auto whole = polygon();
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> bytes(whole.bytes().begin(), whole.bytes().end());
    for (int i = 0; i < 3; ++i) bytes[random.below(bytes.size())] = std::byte(random.below(256));
    std::vector<Box<2>> boxes;
    const auto wrong = append_boxes_of_wkb<2>(bytes, As::kSegments, boxes);
    ASSERT_TRUE(!wrong.empty() || !boxes.empty());
    for (const auto& box : boxes) ASSERT_TRUE(rtree::check_box(box));
  }
}

TEST(Wkb, WithArcsIsToldApart) {
  EXPECT_TRUE(is_curved_wkb(Wkb(8).bytes()));
  EXPECT_TRUE(is_curved_wkb(Wkb(1010).bytes()));
  EXPECT_FALSE(is_curved_wkb(Wkb(3).bytes()));
  EXPECT_FALSE(is_curved_wkb({}));
}

TEST(ReaderRequest, IsTheSameAfterACommandLine) {
  const Request all{.path = "a b.gpkg",
                    .dimensions = 3,
                    .layer = "l=1",
                    .where = "x > 'y=z'",
                    .id = "gid",
                    .as = As::kSegments,
                    .skip_bad = true};
  EXPECT_EQ(*parse_request(to_arguments(all)), all);
  const Request plain{.path = "x"};
  EXPECT_EQ(to_arguments(plain), std::vector<std::string>{"x"});
  EXPECT_EQ(*parse_request({"x"}), plain);
}

TEST(ReaderRequest, ThatMakesNoSenseIsRefused) {
  EXPECT_FALSE(parse_request({}));
  EXPECT_FALSE(parse_request({"x", "layer"}));
  EXPECT_FALSE(parse_request({"x", "dimensions=4"}));
  EXPECT_FALSE(parse_request({"x", "colour=red"}));
  EXPECT_EQ(parse_request({"x", "as=circles"}).error().message,
            "'circles' is none of boxes, points, segments");
}

}  // namespace
}  // namespace silurus::readers
