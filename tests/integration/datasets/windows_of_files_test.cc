// SPDX-License-Identifier: Apache-2.0

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "datasets/open.h"
#include "tests/support/command.h"
#include "tests/support/windows_of_file.h"

// What the readers in this process find in windows of a file, compared with what numpy finds in the
// same file (tests/readers/tables). Readers in helper programs have tests of their own:
// vector_test.cc, netcdf_test.cc, hdf5_test.cc, fits_test.cc.

namespace silurus::datasets {
namespace {

using testing_support::run_command;

constexpr const char* kMorphology =
    "/usr/lib/python3/dist-packages/bmtk/utils/scripts/bionet/morphologies/Rorb_325404214_m.swc";

std::string tables_script(const std::string& arguments) {
  const auto script = std::filesystem::path(__FILE__).parent_path() / "../../readers/tables";
  return "/usr/bin/python3 '" + script.string() + "' " + arguments;
}

void compare_with_numpy(const std::string& file) {
  auto source = open_dataset<2>(file);
  ASSERT_TRUE(source.has_value()) << source.error().message;
  const auto entries = read_all(**source);
  ASSERT_TRUE(entries.has_value()) << entries.error().message;
  EXPECT_EQ(run_command(tables_script("count '" + file + "' - " +
                                      testing_support::counts_of_windows(*entries)))
                .text,
            "all are equal\n");
}

/// The parameter is a kind of file that the script makes.
class WindowsOfFiles : public testing::TestWithParam<const char*> {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  std::string path_ =
      (std::filesystem::temp_directory_path() / ("windows-" + std::to_string(::getpid()) + ".data"))
          .string();
};

TEST_P(WindowsOfFiles, HoldWhatNumpyFindsThere) {
  const int status =
      run_command(tables_script(std::string(GetParam()) + " '" + path_ + "'")).status;
  if (status == 77) GTEST_SKIP() << "python3-numpy is not installed";
  ASSERT_EQ(status, 0);
  compare_with_numpy(path_);
}
INSTANTIATE_TEST_SUITE_P(Formats, WindowsOfFiles, testing::Values("csv", "npy", "las", "swc"),
                         [](const auto& made) { return std::string(made.param); });

TEST(WindowsOfNeurons, HoldWhatNumpyFindsThere) {
  if (!std::filesystem::exists(kMorphology)) GTEST_SKIP() << "python3-bmtk is not installed";
  if (run_command(tables_script("csv /dev/null")).status == 77) {
    GTEST_SKIP() << "python3-numpy is not installed";
  }
  compare_with_numpy(kMorphology);
}

}  // namespace
}  // namespace silurus::datasets
