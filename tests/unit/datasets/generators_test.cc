// SPDX-License-Identifier: Apache-2.0

#include "datasets/generators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "datasets/open.h"
#include "datasets/portable_math.h"
#include "datasets/windows.h"

namespace silurus::datasets {
namespace {

using rtree::Box;
using rtree::Entry;

/// FNV-1a over the bits of ids and coordinates.
class Checksum {
 public:
  void add(std::uint64_t bits) {
    for (int byte = 0; byte < 8; ++byte) {
      value_ = (value_ ^ (bits >> (8 * byte) & 0xff)) * 0x100000001b3u;
    }
  }
  template <int D>
  void add(const Box<D>& box) {
    for (int d = 0; d < D; ++d) {
      add(std::bit_cast<std::uint64_t>(box.min[d]));
      add(std::bit_cast<std::uint64_t>(box.max[d]));
    }
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

template <int D>
std::vector<Entry<D>> entries_of(const std::string& spec) {
  auto source = open_dataset<D>(spec);
  EXPECT_TRUE(source.has_value()) << source.error().message;
  auto entries = read_all(**source);
  EXPECT_TRUE(entries.has_value()) << entries.error().message;
  return *entries;
}

template <int D>
std::uint64_t checksum_of(const std::string& spec) {
  Checksum sum;
  for (const auto& entry : entries_of<D>(spec)) {
    sum.add(entry.id);
    sum.add(entry.box);
  }
  return sum.value();
}

// These numbers were computed once; every machine, compiler and build type must get the same.
TEST(Generators, MakeTheSameBoxesOnEveryMachine) {
  EXPECT_EQ(checksum_of<2>("uniform:10000:seed=1:edge=0.0001"), 10620303232169774784u);
  EXPECT_EQ(checksum_of<3>("uniform:10000:seed=1:edge=0.0001"), 16494698218907018459u);
  EXPECT_EQ(checksum_of<2>("powerlaw:10000:seed=2"), 2188280696807954585u);
  EXPECT_EQ(checksum_of<3>("powerlaw:10000:seed=2:exponent=1"), 3030839031832770433u);
  EXPECT_EQ(checksum_of<2>("clusters:10000:seed=3:clusters=20:sigma=0.05"), 5642405166931438698u);
  EXPECT_EQ(checksum_of<3>("clusters:10000:seed=3"), 7712539298135088607u);
  EXPECT_EQ(checksum_of<2>("roads:10000:seed=4"), 14989980698265906926u);
  EXPECT_EQ(checksum_of<3>("roads:10000:seed=4:towns=5:step=0.001"), 11679093351165451647u);
}

TEST(Generators, MakeTheSameWindowsOnEveryMachine) {
  Checksum sum;
  auto windows = WindowGenerator<2>::create({});
  for (int i = 0; i < 10000; ++i) sum.add(windows->next());
  EXPECT_EQ(sum.value(), 9695973055375350493u);
}

TEST(Generators, DifferBySeed) {
  for (const char* name : {"uniform", "powerlaw", "clusters", "roads"}) {
    const std::string spec = std::string(name) + ":1000:seed=";
    EXPECT_NE(checksum_of<2>(spec + "1"), checksum_of<2>(spec + "2")) << name;
  }
}

TEST(Generators, DoNotDependOnBatchSizes) {
  for (const char* spec : {"uniform:1000", "powerlaw:1000", "clusters:1000", "roads:1000"}) {
    const auto whole = entries_of<2>(spec);
    auto source = open_dataset<2>(spec);
    std::vector<Entry<2>> pieces;
    for (std::size_t size = 1;; size = size % 7 + 1) {
      std::vector<Entry<2>> batch(size);
      const auto count = (*source)->read(batch);
      ASSERT_TRUE(count.has_value());
      if (*count == 0) break;
      pieces.insert(pieces.end(), batch.begin(), batch.begin() + static_cast<long>(*count));
    }
    EXPECT_EQ(pieces, whole) << spec;
  }
}

TEST(Generators, NumberTheirBoxesAndStayInTheUnitCube) {
  Box<3> unit;
  unit.max.fill(1);
  for (const char* spec : {"uniform:5000:edge=1", "powerlaw:5000:max=1",
                           "clusters:5000:sigma=0.25:edge=0.1", "roads:5000:step=0.1"}) {
    const auto entries = entries_of<3>(spec);
    ASSERT_EQ(entries.size(), 5000u);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      ASSERT_EQ(entries[i].id, i);
      ASSERT_TRUE(rtree::check_box(entries[i].box).has_value());
      ASSERT_TRUE(rtree::contains(unit, entries[i].box)) << spec << " " << i;
    }
  }
}

TEST(Generators, KnowTheirProgress) {
  auto source = open_dataset<2>("roads:10");
  EXPECT_EQ((*source)->total_entries(), 10u);
  std::vector<Entry<2>> batch(4);
  ASSERT_EQ(*(*source)->read(batch), 4u);
  EXPECT_EQ((*source)->progress().done, 4u);
  EXPECT_EQ((*source)->progress().total, 10u);
}

TEST(Uniform, EdgesAreUniformUpToTheGivenOne) {
  double sum = 0;
  double largest = 0;
  const auto entries = entries_of<2>("uniform:20000:edge=0.01");
  for (const auto& entry : entries) {
    const double edge = entry.box.max[0] - entry.box.min[0];
    sum += edge;
    largest = std::max(largest, edge);
    ASSERT_GT(edge, 0);
  }
  EXPECT_NEAR(sum / 20000, 0.005, 0.0001);
  EXPECT_NEAR(largest, 0.01, 0.00001);
}

TEST(PowerLaw, HasAsManyBoxesInEachDecadeAtExponentOne) {
  std::array<int, 3> decades{};
  for (const auto& entry : entries_of<2>("powerlaw:30000:min=0.00001:max=0.01:exponent=1")) {
    const double edge = entry.box.max[0] - entry.box.min[0];
    ++decades[edge < 0.0001 ? 0 : (edge < 0.001 ? 1 : 2)];
  }
  EXPECT_THAT(decades, testing::Each(testing::AllOf(testing::Gt(9600), testing::Lt(10400))));
}

TEST(PowerLaw, IsUniformAtExponentZero) {
  Random random(5);
  double sum = 0;
  for (int i = 0; i < 20000; ++i) sum += power_law(random, 1, 3, 0);
  EXPECT_NEAR(sum / 20000, 2, 0.02);
}

TEST(Clusters, AreDenserThanUniform) {
  // Boxes of five clusters meet far fewer of 100 x 100 cells.
  std::vector<bool> cells(10000);
  for (const auto& entry : entries_of<2>("clusters:20000:clusters=5:sigma=0.01")) {
    const auto cell = [](double x) {
      return std::min<std::size_t>(99, static_cast<std::size_t>(x * 100));
    };
    cells[cell(entry.box.min[0]) * 100 + cell(entry.box.min[1])] = true;
  }
  EXPECT_LT(std::count(cells.begin(), cells.end(), true), 500);
}

TEST(Roads, AreChains) {
  const auto entries = entries_of<2>("roads:20000");
  const auto ends_meet = [](const Box<2>& a, const Box<2>& b) {
    for (int d = 0; d < 2; ++d) {
      if (a.min[d] != b.min[d] && a.min[d] != b.max[d] && a.max[d] != b.min[d] &&
          a.max[d] != b.max[d]) {
        return false;
      }
    }
    return true;
  };
  int links = 0;
  for (std::size_t i = 1; i < entries.size(); ++i) {
    links += ends_meet(entries[i - 1].box, entries[i].box) ? 1 : 0;
  }
  EXPECT_GT(links, 19000);  // all but the first of each road
  EXPECT_LT(links, 19999);
}

TEST(Windows, HaveTheEdgeAskedForAndStayWithinBounds) {
  WindowOptions<2> options;
  options.min_edge = options.max_edge = 0.001;
  options.bounds = {{-180, -90}, {180, 90}};
  auto windows = WindowGenerator<2>::create(options);
  ASSERT_TRUE(windows.has_value());
  for (int i = 0; i < 1000; ++i) {
    const Box<2> window = windows->next();
    ASSERT_TRUE(rtree::contains(options.bounds, window));
    ASSERT_NEAR(window.max[0] - window.min[0], 0.36, 1e-9);
    ASSERT_NEAR(window.max[1] - window.min[1], 0.18, 1e-9);
  }
}

TEST(Windows, RefuseOptionsOutOfRange) {
  WindowOptions<2> options;
  options.min_edge = 0;
  EXPECT_FALSE(WindowGenerator<2>::create(options).has_value());
  options = {};
  options.exponent = std::nan("");
  EXPECT_FALSE(WindowGenerator<2>::create(options).has_value());
  options = {};
  options.bounds.max[1] = -1;
  EXPECT_FALSE(WindowGenerator<2>::create(options).has_value());
}

TEST(PortableMath, AgreesWithTheLibraryToFifteenDigits) {
  Random random(7);
  for (int i = 0; i < 100000; ++i) {
    const double x = std::ldexp(random.uniform(0.5, 1), static_cast<int>(random.below(200)) - 100);
    ASSERT_NEAR(portable_log(x), std::log(x), 1e-15 + 1e-15 * std::abs(std::log(x))) << x;
    const double y = random.uniform(-50, 50);
    ASSERT_NEAR(portable_exp(y) / std::exp(y), 1, 2e-14) << y;
  }
}

TEST(PortableMath, NormalHasMeanZeroAndDeviationOne) {
  Random random(8);
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < 100000; ++i) {
    const double x = normal(random);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / 100000, 0, 0.015);
  EXPECT_NEAR(squares / 100000, 1, 0.02);
}

struct BadSpec {
  const char* spec;
  const char* says;
};
class OpenDataset : public testing::TestWithParam<BadSpec> {};
TEST_P(OpenDataset, RefusesWithWhatIsWrong) {
  const auto source = open_dataset<2>(GetParam().spec);
  ASSERT_FALSE(source.has_value());
  EXPECT_THAT(source.error().message, testing::HasSubstr(GetParam().says));
}
INSTANTIATE_TEST_SUITE_P(
    Bad, OpenDataset,
    testing::Values(
        BadSpec{"uniform", "say how many"}, BadSpec{"uniform:", "count \"\""},
        BadSpec{"uniform:x", "count \"x\""}, BadSpec{"uniform:-1", "count \"-1\""},
        BadSpec{"uniform:99999999999", "count is 99999999999"},
        BadSpec{"uniform:10:edge", "\"edge\" is not of the form"},
        BadSpec{"uniform:10:edge=wide", "edge \"wide\" is not a number"},
        BadSpec{"uniform:10:edge=0", "edge is 0"}, BadSpec{"uniform:10:edge=nan", "edge is nan"},
        BadSpec{"uniform:10:sead=1", "unknown or repeated option \"sead\""},
        BadSpec{"uniform:10:seed=1:seed=2", "repeated option \"seed\""},
        BadSpec{"uniform:10:", "\"\" is not of the form"}, BadSpec{"roads:10:step=9", "step is 9"},
        BadSpec{"clusters:10:clusters=0", "clusters is 0"},
        BadSpec{"clusters:10:sigma=5", "sigma is 5"},
        BadSpec{"powerlaw:10:min=0.5:max=0.1", "window edges"}, BadSpec{"", "a data set is one of"},
        BadSpec{"/no/such/file.csv", "a data set is one of"},
        BadSpec{"/no/such/file.nc", "cannot open"}, BadSpec{"/", "is a directory"}),
    [](const auto& test) { return "Case" + std::to_string(test.index); });

TEST(OpenDatasetOptions, AreOfTextFilesOnly) {
  for (const char* spec : {"gshhg", "uniform:10", "/no/such/file.nc"}) {
    const auto source = open_dataset<2>(spec, {.columns = "id,x,y"});
    ASSERT_FALSE(source.has_value()) << spec;
    EXPECT_EQ(source.error().code, ErrorCode::kInvalidArgument) << spec;
    EXPECT_THAT(source.error().message, testing::HasSubstr("only text files have columns"));
  }
}

TEST(OpenDatasetOptions, ToSkipWhatIsBadMeansNothingForGenerators) {
  for (const char* spec : {"gshhg", "uniform:10"}) {
    const auto source = open_dataset<2>(spec, {.skip_bad = true});
    ASSERT_FALSE(source.has_value()) << spec;
    EXPECT_EQ(source.error().code, ErrorCode::kInvalidArgument) << spec;
    EXPECT_THAT(source.error().message, testing::HasSubstr("--skip-bad means nothing for")) << spec;
  }
}

TEST(OpenDataset3D, RefusesCoastlines) {
  const auto source = open_dataset<3>("gshhg");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace silurus::datasets
