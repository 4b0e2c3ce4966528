// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gate/source.h"
#include "silurus/result.h"

// An order of what lies in a window that is the same each time, so that pages of one version fit
// together without anything being kept between them.
//
// The window is halved again and again, in each dimension in turn, which makes cells; a cell's code
// is the path of halves to it. An entry belongs to the cell that has its reference point: the least
// corner of what box and window have in common (Dittrich and Seeger, ICDE 2000). So each entry
// belongs to exactly one cell of any depth, and that cell's search finds it. Entries go in the
// order of cells, and within one by id and box.

namespace silurus::gate {

/// Halvings of a window at most: 24 in each of two dimensions.
constexpr int kMaxDepth = 48;

/// Where a walk is: at the entry `skip` of the cell of that code and depth.
struct Place {
  std::uint64_t code = 0;  ///< the first of the cell's codes at depth kMaxDepth
  int depth = 0;
  std::uint64_t skip = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

/// Cells of a window.
class Grid {
 public:
  Grid(const Area& window, int dimensions) : window_(window), dimensions_(dimensions) {}

  /// The closed box of a cell.
  Area cell(std::uint64_t code, int depth) const;
  /// Code of the cell of the greatest depth that an entry belongs to. Its box and the window have
  /// a point in common.
  std::uint64_t code_of(const Area& box) const;
  const Area& window() const { return window_; }

 private:
  Area window_;
  int dimensions_;
};

/// Number of codes of the greatest depth within a cell.
constexpr std::uint64_t codes_within(int depth) { return std::uint64_t{1} << (kMaxDepth - depth); }
constexpr std::uint64_t kEndOfCodes = std::uint64_t{1} << kMaxDepth;

/// Whether a place, which a client may have made up, can be one.
bool is_place(const Place& place);

/// The entries of one window at one version, cell by cell. Any thread may call, one at a time; what
/// it holds is one cell.
class CellWalk {
 public:
  /// `at`: where a page begins. `total`: entries of the window, about.
  /// `step`: entries that a search should find, about.
  CellWalk(std::string collection, const Grid& grid, Version version, Place at, std::uint64_t step)
      : collection_(std::move(collection)), grid_(grid), version_(version), at_(at), step_(step) {}
  /// Where the first page begins: at a depth that promises cells of about `step` entries.
  static Place begin(std::uint64_t total, std::uint64_t step);

  /// The entry at the place; none: that was the last one. It stays until the next call.
  Result<const Entry<3>*> peek(Source& source);
  /// Goes beyond the entry that peek() has returned.
  void pop();
  /// Where the walk is: the place of the entry that peek() returns next.
  Place place() const;

 private:
  Status fetch(Source& source);
  Result<bool> is_worth_splitting(Source& source, std::uint64_t code, int depth);
  void advance(std::uint64_t found);

  std::string collection_;
  Grid grid_;
  Version version_;
  Place at_;  ///< place of the cell that is held, or of the next one to be fetched
  std::uint64_t step_;
  bool is_held_ = false;
  std::uint64_t found_ = 0;  ///< entries that the search of the cell that is held has found
  std::vector<Entry<3>> cell_;
};

/// The least box that has all entries of a collection at a version; nothing if there are none.
/// Found by searches for one entry beyond a line, which is moved by halves: about 64 for each side.
Result<std::optional<Area>> find_extent(Source& source, const std::string& collection,
                                        int dimensions, Version version);

}  // namespace silurus::gate
