// SPDX-License-Identifier: Apache-2.0

#include "datasets/helper.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "datasets/gshhg.h"

namespace silurus::datasets {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Has the helper of tests (tests/readers) read a file, which says what it is to do.
Result<std::unique_ptr<Source<2>>> open_test(const std::string& file) {
  return open_with_helper<2>({"silurus-read-test"}, {.path = file});
}

std::string error_of(const std::string& file) {
  auto source = open_test(file);
  if (!source) return source.error().message;
  const auto entries = read_all(**source);
  return entries ? "no error" : entries.error().message;
}

bool kernel_has_landlock() {
  return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/// A folder of its own, which $SILURUS_LIBEXEC names.
class OwnLibexec {
 public:
  OwnLibexec()
      : path_(std::filesystem::temp_directory_path() /
              ("silurus-libexec-" + std::to_string(::getpid()))) {
    std::filesystem::create_directory(path_);
    ::setenv("SILURUS_LIBEXEC", path_.c_str(), 1);
  }
  OwnLibexec(const OwnLibexec&) = delete;
  OwnLibexec& operator=(const OwnLibexec&) = delete;
  ~OwnLibexec() {
    ::unsetenv("SILURUS_LIBEXEC");
    std::filesystem::remove_all(path_);
  }

  void write_script(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << "#!/bin/sh\n" << text << "\n";
    std::filesystem::permissions(path_ / name, std::filesystem::perms::owner_all);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Helper, HandsOnWhatTheReaderSays) {
  auto source = open_test("boxes-10000");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  EXPECT_EQ((*source)->total_entries(), 10'000u);
  const auto entries = read_all(**source);
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  ASSERT_EQ(entries->size(), 10'000u);
  EXPECT_EQ(entries->back(), (rtree::Entry<2>{9999, {{9999, 9999}, {9999, 9999}}}));
  EXPECT_EQ((*source)->progress().done, 10'000u);
}

TEST(Helper, HandsOnWhatTheReaderTellsOfItsFile) {
  auto source = open_test("notes-2");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  ASSERT_TRUE(read_all(**source).has_value());
  EXPECT_EQ((*source)->description(), "boxes, as they were asked for");
  EXPECT_THAT((*source)->notes(), testing::ElementsAre("in two lines"));
  EXPECT_EQ((*source)->skipped(), 7u);
  EXPECT_EQ((*source)->first_skipped(), "the first was bad");
}

TEST(Helper, ThatNeverEndsItsNotesIsAnErrorOfTheFile) {
  const OwnLibexec libexec;
  // kOpened, in two dimensions; kNote, empty ones
  libexec.write_script("silurus-read-test", R"(printf '\1\0\0\0\2\2\0\0\0\0\0\0\0\0\0\0'
while printf '\6\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0'; do :; done)");
  EXPECT_THAT(error_of("x"), HasSubstr("sent what makes no sense"));
}

TEST(Helper, HandsOnErrorsOfReading) {
  auto source = open_test("fail-2");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  std::vector<rtree::Entry<2>> batch(10);
  EXPECT_EQ(*(*source)->read(batch), 2u);
  const auto count = (*source)->read(batch);
  ASSERT_FALSE(count.has_value());
  EXPECT_EQ(count.error().code, ErrorCode::kProtocol);
  EXPECT_EQ(count.error().message, "no more");
  EXPECT_EQ(*(*source)->read(batch), 0u);
}

TEST(Helper, ThatCrashesWhileOpeningIsAnErrorOfTheFile) {
  const auto source = open_test("x/crash");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kProtocol);
  EXPECT_THAT(source.error().message, HasSubstr("x/crash: the file is damaged"));
  EXPECT_THAT(source.error().message, HasSubstr("died of signal 9"));
}

TEST(Helper, ThatCrashesWhileReadingIsAnErrorAfterWhatWasRead) {
  auto source = open_test("crash-2");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  std::vector<rtree::Entry<2>> batch(10);
  EXPECT_EQ(*(*source)->read(batch), 2u);
  const auto count = (*source)->read(batch);
  ASSERT_FALSE(count.has_value());
  EXPECT_THAT(count.error().message, HasSubstr("died of signal 9"));
  EXPECT_EQ(*(*source)->read(batch), 0u);
}

TEST(Helper, ThatPrintsBeforeItCrashesIsRepeatedInOneLine) {
  EXPECT_THAT(error_of("abort"), HasSubstr("corrupted  list"));
}

TEST(Helper, MayPrintWithoutHarmToItsStream) { EXPECT_EQ(error_of("print"), "no error"); }

TEST(Helper, ThatSaysNothingOrNonsenseIsAnErrorOfTheFile) {
  EXPECT_THAT(error_of("quit"), HasSubstr("quit: the file is damaged"));
  EXPECT_THAT(error_of("lie-5000"), HasSubstr("sent what makes no sense"));
}

TEST(Helper, ThatSendsAFrameOfNoBytesIsAnErrorAndNotTheEnd) {
  const OwnLibexec libexec;
  // kOpened, without dimensions; kBytes, three of them; kBytes, none
  libexec.write_script("silurus-read-test", R"(printf '\1\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0'
printf '\5\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0abc'
printf '\5\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'; exec cat)");
  const auto bytes = unpack_with_helper({"silurus-read-test"}, "x");
  ASSERT_TRUE(bytes.has_value()) << bytes.error().message;
  std::vector<char> into(10);
  EXPECT_EQ(*(*bytes)->read(into), 3u);
  EXPECT_EQ(std::string(into.data(), 3), "abc");
  const auto count = (*bytes)->read(into);
  ASSERT_FALSE(count.has_value());
  EXPECT_EQ(count.error().code, ErrorCode::kProtocol);
  EXPECT_THAT(count.error().message, HasSubstr("sent what makes no sense"));
}

TEST(Helper, GivenUpLeavesNoProcess) {
  auto source = open_test("boxes-4000000000");
  ASSERT_TRUE(source.has_value()) << source.error().message;
  std::vector<rtree::Entry<2>> batch(10);
  EXPECT_EQ(*(*source)->read(batch), 10u);
  source->reset();
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "it was ended and waited for";
  EXPECT_EQ(errno, ECHILD);
}

TEST(Helper, HasItsStandardDescriptorsAndItsStreamOnly) {
  const int leaked = ::open("/dev/null", O_RDONLY);  // NOLINT: not O_CLOEXEC
  EXPECT_EQ(error_of("descriptors"), "4");
  ::close(leaked);
}

TEST(Helper, CanDoNothingButReadItsFile) {
  const auto path =
      std::filesystem::temp_directory_path() / ("attempts-" + std::to_string(::getpid()));
  std::ofstream(path) << "x";
  const std::string said = error_of(path.string());
  std::filesystem::remove(path);
  const auto failed = [](const char* what, int error) {
    return HasSubstr(std::string(what) + ":" + std::to_string(error) + " ");
  };
  EXPECT_THAT(said, failed("read", 0));
  EXPECT_THAT(said, failed("page", 0));
  for (const char* what : {"truncate", "chmod", "times", "signal", "limit", "socket", "remove",
                           "folder", "unknown-call", "code", "page-to-code"}) {
    EXPECT_THAT(said, failed(what, EPERM));
  }
  EXPECT_THAT(said, failed("write", EACCES));
  EXPECT_THAT(said, failed("own-signal", 0));
  EXPECT_THAT(said, failed("own-limit", 0));
  EXPECT_THAT(said, failed("fork", EPERM));
  EXPECT_THAT(said, failed("exec", EPERM));
  EXPECT_THAT(said, HasSubstr("variables:few"));
#ifndef SILURUS_TESTS_SANITIZED
  EXPECT_THAT(said, failed("memory", ENOMEM));
#endif
  if (!kernel_has_landlock()) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_THAT(said, failed("read-other", EACCES));
}

TEST(Helper, ThatIsNotInstalledIsNamedWithItsPackage) {
  const OwnLibexec libexec;
  const auto source = open_gshhg("/no/such/file.nc");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(source.error().message, HasSubstr("silurus-read-netcdf"));
  EXPECT_THAT(source.error().message, HasSubstr(libexec.path().string()));
  EXPECT_THAT(source.error().message, HasSubstr("package silurus-readers"));
}

TEST(Helper, ThatDoesNotFindItsFileNamesItAndCoastlinesOnlyWhereTheseWereMeant) {
  const auto file = open_with_helper<2>({"silurus-read-netcdf"}, {.path = "/no/such/file.nc"});
  ASSERT_FALSE(file.has_value());
  EXPECT_THAT(file.error().message, HasSubstr("/no/such/file.nc"));
  EXPECT_THAT(file.error().message, Not(HasSubstr("coastlines")));
  const auto coastlines = open_gshhg("/no/such/file.nc");
  ASSERT_FALSE(coastlines.has_value());
  EXPECT_THAT(coastlines.error().message, HasSubstr("package gmt-gshhg-full"));
}

TEST(Helper, ThatDoesNotStartIsNoDamageOfTheFile) {
  const OwnLibexec libexec;
  libexec.write_script("silurus-read-test", "echo 'no libnetcdf.so.19' >&2; exit 127");
  const auto source = open_test("x");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(source.error().message, HasSubstr("ended with status 127"));
  EXPECT_THAT(source.error().message, HasSubstr("no libnetcdf.so.19"));
  EXPECT_THAT(source.error().message, Not(HasSubstr("damaged")));
}

TEST(Helper, ThatUsedUpItsProcessorTimeDoesNotSayThatTheFileIsDamaged) {
  const OwnLibexec libexec;
  // kOpened, in two dimensions, or nothing at all
  for (const std::string said : {R"(printf '\1\0\0\0\2\2\0\0\0\0\0\0\0\0\0\0'; )", ""}) {
    libexec.write_script("silurus-read-test", said + "kill -XCPU $$");
    const std::string error = error_of("x");
    EXPECT_THAT(error, HasSubstr("x: its reader used up the processor time"));
    EXPECT_THAT(error, Not(HasSubstr("the file is damaged")));
  }
}

TEST(Helper, OfAnotherVersionIsRefused) {
  const OwnLibexec libexec;
  // kOpened, of a version 99, in two dimensions
  libexec.write_script("silurus-read-test",
                       R"(printf '\1\0\0\0\2\143\0\0\0\0\0\0\0\0\0\0'; exec cat)");
  const auto source = open_test("x");
  ASSERT_FALSE(source.has_value());
  EXPECT_EQ(source.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(source.error().message, HasSubstr("another version"));
}

}  // namespace
}  // namespace silurus::datasets
