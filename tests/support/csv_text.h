// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "datasets/csv.h"

// Text as a file, and what the reader of CSV makes of it.

namespace silurus::testing_support {

/// A file that is gone at the end of the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content, const std::string& ending = ".csv") {
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("silurus-csv-" + std::to_string(::getpid()) + "-" + std::to_string(number++) + ending);
    std::ofstream(path_, std::ios::binary) << content;
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

template <int D = 2>
Result<std::vector<rtree::Entry<D>>> read_text(const std::string& text,
                                               const datasets::CsvOptions& options = {}) {
  const TemporaryFile file(text);
  auto source = datasets::open_csv<D>(file.path(), options);
  if (!source) return fail(source.error());
  return datasets::read_all(**source);
}

/// What the source says of how it understood the text.
template <int D = 2>
std::string description_of(const std::string& text, const datasets::CsvOptions& options = {}) {
  const TemporaryFile file(text);
  auto source = datasets::open_csv<D>(file.path(), options);
  if (!source) return source.error().message;
  const auto entries = datasets::read_all(**source);
  return entries ? (*source)->description() : entries.error().message;
}

/// The error's message after the file's name: ":LINE: what".
template <int D = 2>
std::string error_of(const std::string& text, const datasets::CsvOptions& options = {}) {
  const auto entries = read_text<D>(text, options);
  if (entries) return "no error";
  EXPECT_EQ(entries.error().code, ErrorCode::kProtocol);
  return entries.error().message.substr(entries.error().message.find(".csv") + 4);
}

}  // namespace silurus::testing_support
