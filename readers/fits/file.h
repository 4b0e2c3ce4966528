// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <fitsio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"

namespace silurus::readers {

/// A column of a table.
struct FitsColumn {
  int number = 0;  ///< from 1
  std::string name = {};
  std::string unit = {};
  int type = 0;           ///< as scaled: TDOUBLE, TSTRING ...
  std::int64_t each = 0;  ///< values in a row

  bool is_number() const {
    return each == 1 && type >= TBYTE && type < TCOMPLEX && type != TSTRING && type != TLOGICAL;
  }
  bool is_whole() const { return is_number() && type != TFLOAT && type != TDOUBLE; }
};

/// A table: one of the extensions behind the primary.
struct FitsTable {
  int number = 0;         ///< from 1; 0 is the primary
  std::string name = {};  ///< may be empty, and need not be unique
  std::uint64_t rows = 0;
  bool is_packed = false;  ///< by fpack
  std::vector<FitsColumn> columns = {};
};

/// An open FITS file, of which one table at a time is read. One owner, one thread.
class FitsFile {
 public:
  static constexpr int kMaxTables = 1000;

  static Result<FitsFile> open(const std::string& path);
  FitsFile(FitsFile&& other) noexcept;
  FitsFile& operator=(FitsFile&&) = delete;
  ~FitsFile();

  const std::string& path() const { return path_; }
  /// All tables, in the order of the file.
  Result<std::vector<FitsTable>> tables();
  /// What the other calls are about.
  Status move_to(const FitsTable& table);

  /// How many rows are best read together.
  std::size_t best_rows() const;
  /// Values of a column in rows from `first` on (from 0). NaN: none.
  Status read(const FitsColumn& column, std::uint64_t first, std::vector<double>& values);
  /// Whole numbers; none where there is none, or where it is negative.
  Status read(const FitsColumn& column, std::uint64_t first,
              std::vector<std::optional<std::uint64_t>>& values);
  /// Whether a condition can be answered for rows.
  Status check_condition(const std::string& condition);
  /// Which rows from `first` on it keeps.
  Status keep(const std::string& condition, std::uint64_t first, std::vector<bool>& is_kept);

  /// kProtocol, with the file's name before it.
  tl::unexpected<Error> damaged(const std::string& what) const;

 private:
  FitsFile(std::string path, fitsfile* file) : path_(std::move(path)), file_(file) {}
  Result<FitsTable> describe(int number);
  /// What the library says of a status, its own messages with it.
  std::string say(int status) const;

  std::string path_;
  fitsfile* file_;
};

}  // namespace silurus::readers
