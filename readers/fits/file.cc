// SPDX-License-Identifier: Apache-2.0

#include "readers/fits/file.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <utility>

#include "readers/regular_file.h"

namespace silurus::readers {
namespace {

constexpr std::size_t kMinRows = 1 << 10;  // that are read together
constexpr std::size_t kMaxRows = 1 << 16;
constexpr std::size_t kMaxLibraryMessages = 3;
constexpr int kMaxAxes = 5;                 // dimensions of a condition's result
constexpr std::size_t kMessageBytes = 100;  // the library's own limit is 80

/// A text of a header's card; empty if there is none.
std::string text_of(fitsfile* file, const std::string& key) {
  std::array<char, FLEN_VALUE> text{};
  int status = 0;
  if (::fits_read_key(file, TSTRING, key.c_str(), text.data(), nullptr, &status) != 0) {
    ::fits_clear_errmsg();
    return {};
  }
  return text.data();
}

bool is_set(fitsfile* file, const char* key) {
  int value = 0;
  int status = 0;
  ::fits_read_key(file, TLOGICAL, key, &value, nullptr, &status);
  if (status != 0) ::fits_clear_errmsg();
  return status == 0 && value != 0;
}

}  // namespace

Result<FitsFile> FitsFile::open(const std::string& path) {
  if (auto ok = check_regular_file(path); !ok) return fail(ok.error());
  fitsfile* opened = nullptr;
  int status = 0;
  // Takes the name as it is: brackets in it are no filters.
  ::fits_open_diskfile(&opened, path.c_str(), READONLY, &status);
  FitsFile file(path, opened);
  if (status != 0) return file.damaged(file.say(status));
  return file;
}

FitsFile::FitsFile(FitsFile&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, nullptr)) {}

FitsFile::~FitsFile() {
  int status = 0;
  if (file_ != nullptr) ::fits_close_file(file_, &status);
}

Result<std::vector<FitsTable>> FitsFile::tables() {
  int count = 0;
  int status = 0;
  if (::fits_get_num_hdus(file_, &count, &status) != 0) return damaged(say(status));
  std::vector<FitsTable> tables;
  for (int number = 1; number < count; ++number) {
    int type = 0;
    if (::fits_movabs_hdu(file_, number + 1, &type, &status) != 0) return damaged(say(status));
    if (type != BINARY_TBL && type != ASCII_TBL) continue;
    if (tables.size() == kMaxTables) {
      return fail(ErrorCode::kTooLarge,
                  path_ + ": has more than " + std::to_string(kMaxTables) + " tables");
    }
    auto table = describe(number);
    if (!table) return fail(table.error());
    tables.push_back(std::move(*table));
  }
  return tables;
}

Result<FitsTable> FitsFile::describe(int number) {
  FitsTable table{.number = number, .name = text_of(file_, "EXTNAME")};
  LONGLONG rows = 0;
  int columns = 0;
  int status = 0;
  ::fits_get_num_rowsll(file_, &rows, &status);
  if (::fits_get_num_cols(file_, &columns, &status) != 0) return damaged(say(status));
  table.rows = static_cast<std::uint64_t>(std::max<LONGLONG>(rows, 0));
  table.is_packed = is_set(file_, "ZTABLE") || is_set(file_, "ZIMAGE");
  for (int i = 1; i <= columns; ++i) {
    FitsColumn column{.number = i,
                      .name = text_of(file_, "TTYPE" + std::to_string(i)),
                      .unit = text_of(file_, "TUNIT" + std::to_string(i))};
    LONGLONG each = 0;
    LONGLONG width = 0;
    if (::fits_get_eqcoltypell(file_, i, &column.type, &each, &width, &status) != 0) {
      return damaged("column " + std::to_string(i) + ": " + say(status));
    }
    column.each = each;
    table.columns.push_back(std::move(column));
  }
  return table;
}

Status FitsFile::move_to(const FitsTable& table) {
  int status = 0;
  if (::fits_movabs_hdu(file_, table.number + 1, nullptr, &status) == 0) return {};
  return damaged(say(status));
}

std::size_t FitsFile::best_rows() const {
  long rows = 0;
  int status = 0;
  if (::fits_get_rowsize(file_, &rows, &status) != 0 || rows <= 0) return kMinRows;
  return std::clamp(static_cast<std::size_t>(rows), kMinRows, kMaxRows);
}

Status FitsFile::read(const FitsColumn& column, std::uint64_t first, std::vector<double>& values) {
  int status = 0;
  int has_none = 0;
  double none = std::numeric_limits<double>::quiet_NaN();
  ::fits_read_col(file_, TDOUBLE, column.number, static_cast<LONGLONG>(first) + 1, 1,
                  static_cast<LONGLONG>(values.size()), &none, values.data(), &has_none, &status);
  if (status == 0) return {};
  return damaged("column " + column.name + " is not readable: " + say(status));
}

Status FitsFile::read(const FitsColumn& column, std::uint64_t first,
                      std::vector<std::optional<std::uint64_t>>& values) {
  const std::size_t count = values.size();
  std::vector<char> is_none(count);
  int status = 0;
  int has_none = 0;
  const auto read_as = [&](int type, void* into) {
    ::fits_read_colnull(file_, type, column.number, static_cast<LONGLONG>(first) + 1, 1,
                        static_cast<LONGLONG>(count), into, is_none.data(), &has_none, &status);
  };
  std::vector<LONGLONG> numbers(count);
  std::vector<ULONGLONG> wide(column.type == TULONGLONG ? count : 0);
  if (column.type == TULONGLONG) {
    read_as(TULONGLONG, wide.data());
  } else {
    read_as(TLONGLONG, numbers.data());
  }
  if (status != 0) return damaged("column " + column.name + " is not readable: " + say(status));
  for (std::size_t i = 0; i < count; ++i) {
    values[i].reset();
    if (is_none[i] != 0) continue;
    if (!wide.empty()) {
      values[i] = wide[i];
    } else if (numbers[i] >= 0) {
      values[i] = static_cast<std::uint64_t>(numbers[i]);
    }
  }
  return {};
}

Status FitsFile::check_condition(const std::string& condition) {
  int type = 0;
  int axes = 0;
  long values = 0;
  std::array<long, kMaxAxes> lengths{};
  std::string text = condition;
  int status = 0;
  ::fits_test_expr(file_, text.data(), kMaxAxes, &type, &values, &axes, lengths.data(), &status);
  // A constant has a negative number.
  if (status == 0 && type == TLOGICAL && std::abs(values) == 1) return {};
  return fail(ErrorCode::kInvalidArgument,
              path_ + ": --where " + condition + ": " +
                  (status != 0 ? say(status) : "is not true or false for each row"));
}

Status FitsFile::keep(const std::string& condition, std::uint64_t first,
                      std::vector<bool>& is_kept) {
  std::string text = condition;
  std::vector<char> answers(is_kept.size());
  long count = 0;
  int status = 0;
  ::fits_find_rows(file_, text.data(), static_cast<long>(first) + 1,
                   static_cast<long>(answers.size()), &count, answers.data(), &status);
  if (status != 0) return damaged("--where " + condition + ": " + say(status));
  for (std::size_t i = 0; i < answers.size(); ++i) is_kept[i] = answers[i] != 0;
  return {};
}

std::string FitsFile::say(int status) const {
  std::array<char, FLEN_STATUS> short_text{};
  ::fits_get_errstatus(status, short_text.data());
  std::string text = short_text.data();
  std::array<char, kMessageBytes> message{};
  for (std::size_t i = 0; i < kMaxLibraryMessages && ::fits_read_errmsg(message.data()) != 0; ++i) {
    text += (i == 0 ? ": " : "; ") + std::string(message.data());
  }
  ::fits_clear_errmsg();
  return text;
}

tl::unexpected<Error> FitsFile::damaged(const std::string& what) const {
  return fail(ErrorCode::kProtocol,
              path_ + ": " + what + " (truncated, damaged, or another kind of file)");
}

}  // namespace silurus::readers
