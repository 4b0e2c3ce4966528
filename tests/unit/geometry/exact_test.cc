// SPDX-License-Identifier: Apache-2.0

#include "geometry/exact.h"

#include <gtest/gtest.h>

namespace silurus::geometry {
namespace {

TEST(Exact, SidesAreToldWhereRoundedProductsMistakeThem) {
  // by Kettner et al., "Classroom examples of robustness problems in geometric computations" (2008)
  constexpr double kUnit = 0x1p-53;
  for (int x = 0; x < 256; x += 3) {
    for (int y = 0; y < 256; ++y) {
      const Vertex vertex{0.5 + x * kUnit, 0.5 + y * kUnit};
      const int expected = vertex.y > vertex.x ? 1 : vertex.y < vertex.x ? -1 : 0;
      EXPECT_EQ(side_of({12, 12}, {24, 24}, vertex), expected) << x << " " << y;
      EXPECT_EQ(side_of(vertex, {12, 12}, {24, 24}), expected) << x << " " << y;
      EXPECT_EQ(side_of({24, 24}, {12, 12}, vertex), -expected) << x << " " << y;
    }
  }
}

TEST(Exact, SidesAreToldOfTheLargestCoordinates) {
  const double most = kMaxCoordinate;
  EXPECT_EQ(side_of({-most, -most}, {most, most}, {0, 0}), 0);
  EXPECT_EQ(side_of({-most, -most}, {most, most}, {0, 1}), 1);
  EXPECT_EQ(side_of({-most, -most}, {most, most}, {1, 0}), -1);
}

}  // namespace
}  // namespace silurus::geometry
