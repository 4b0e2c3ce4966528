// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "readers/request.h"
#include "readers/serve.h"

namespace silurus::readers {

/// Some rows of a table, one behind the other: all vectors have one element for each row, the
/// coordinates several.
struct RowBlock {
  std::vector<double> coordinates;
  std::vector<std::uint64_t> ids;
  /// Why a row is bad; empty if nothing is wrong.
  std::vector<std::string> wrong;
  /// Rows that a condition leaves out have false.
  std::vector<bool> is_kept;

  /// Room for that many rows, which have ids from `first` on and nothing wrong.
  void reset(std::uint64_t first, std::size_t rows, std::size_t coordinates_each);
};

/// A file's table, whose rows become boxes: what readers of columns differ in.
class Table {
 public:
  virtual ~Table() = default;
  virtual std::uint64_t rows() const = 0;
  /// Coordinates of one row: as many as dimensions, for points, or twice as many, minima first.
  virtual std::size_t coordinates_each() const = 0;
  /// Rows that are read together.
  virtual std::size_t rows_of_block() const = 0;
  /// Fills `block`, which has been reset, with rows from `first` on.
  virtual Status read(std::uint64_t first, std::size_t rows, RowBlock& block) = 0;
  /// Whether a condition leaves rows out.
  virtual bool is_filtered() const { return false; }
  /// "cat.fits: table STARS": for messages about a row.
  virtual std::string name() const = 0;
  virtual std::vector<Note> notes() const = 0;
};

/// Makes boxes of rows. A row with a coordinate that is not finite, with a minimum above its
/// maximum or with something else wrong is an error that names it by its place from 0, or is left
/// out and counted (Request::skip_bad). Rows that a condition leaves out are not looked at.
template <int D>
std::unique_ptr<Reader<D>> read_table(std::unique_ptr<Table> table, const Request& request);

}  // namespace silurus::readers
