#include "datasets/isolated.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "datasets/open.h"

namespace silurus::datasets {
namespace {

using testing::HasSubstr;
using Opened = Result<std::unique_ptr<Source<2>>>;

/// Two boxes, then whatever a library with a broken heap does.
class Dying final : public Source<2> {
 public:
  Result<std::size_t> read(std::span<rtree::Entry<2>> batch) override {
    if (reads_++ == 1) ::raise(SIGKILL);
    batch[0] = {1, {{1, 2}, {3, 4}}};
    batch[1] = {2, {{1, 2}, {3, 4}}};
    return 2;
  }
  std::optional<std::uint64_t> total_entries() const override { return 5; }
  Progress progress() const override { return {}; }

 private:
  int reads_ = 0;
};

TEST(Isolated, HandsOnWhatTheSourceSays) {
  auto source = isolate<2>("x", [] { return open_dataset<2>("roads:10000"); });
  ASSERT_TRUE(source.has_value());
  EXPECT_EQ((*source)->total_entries(), 10'000u);
  EXPECT_EQ(*read_all(**source), *read_all(**open_dataset<2>("roads:10000")));
  EXPECT_EQ((*source)->progress().done, 10'000u);
}

TEST(Isolated, HandsOnErrorsOfOpening) {
  const auto source = isolate<2>("x", [] { return open_dataset<2>("/no/such/file"); });
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(source.error().message, open_dataset<2>("/no/such/file").error().message);
}

TEST(Isolated, ACrashWhileOpeningIsAnError) {
  const auto source = isolate<2>("x.nc", []() -> Opened { ::raise(SIGKILL), std::abort(); });
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kProtocol);
  EXPECT_THAT(source.error().message, HasSubstr("x.nc: the file is damaged"));
  EXPECT_THAT(source.error().message, HasSubstr("died of signal 9"));
}

TEST(Isolated, ACrashWhileReadingIsAnErrorAfterWhatWasRead) {
  auto source = isolate<2>("x.nc", []() -> Opened { return std::make_unique<Dying>(); });
  ASSERT_TRUE(source.has_value());
  std::vector<rtree::Entry<2>> batch(10);
  EXPECT_EQ(*(*source)->read(batch), 2u);
  const auto count = (*source)->read(batch);
  ASSERT_FALSE(count.has_value());
  EXPECT_THAT(count.error().message, HasSubstr("died of signal 9"));
  EXPECT_EQ(*(*source)->read(batch), 0u);
}

TEST(Isolated, AReaderGivenUpLeavesNoProcess) {
  auto source = isolate<2>("x", [] { return open_dataset<2>("uniform:4000000000"); });
  std::vector<rtree::Entry<2>> batch(10);
  EXPECT_EQ(*(*source)->read(batch), 10u);
  source->reset();  // returns: the child was ended and waited for
}

}  // namespace
}  // namespace silurus::datasets
