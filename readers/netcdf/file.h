// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <netcdf.h>

#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"

namespace silurus::readers {

/// A variable of a netCDF file: its name, and the ids of its dimensions, the slowest first.
struct NcVariable {
  int id = -1;
  std::string name = {};
  nc_type type = NC_NAT;
  std::vector<int> dimensions = {};

  bool is_numeric() const { return type != NC_CHAR && type > NC_NAT && type <= NC_UINT64; }
};

/// What a variable has where it has no value.
struct NcFill {
  double fill = std::numeric_limits<double>::quiet_NaN();
  double missing = std::numeric_limits<double>::quiet_NaN();
  bool is(double value) const { return value != value || value == fill || value == missing; }
};

/// An open netCDF file of any version (groups are not looked into), whose numbers are read as
/// doubles. Lengths are checked before anything is allocated. One owner, one thread.
class NcFile {
 public:
  static constexpr std::size_t kMaxVariables = 4096;
  static constexpr std::size_t kMaxValues = 1 << 26;  // that are held at once

  static Result<NcFile> open(const std::string& path);
  NcFile(NcFile&& other) noexcept;
  NcFile& operator=(NcFile&&) = delete;
  ~NcFile();

  const std::string& path() const { return path_; }
  const std::vector<NcVariable>& variables() const { return variables_; }
  const NcVariable* find(std::string_view name) const;
  std::size_t length(int dimension) const;
  std::string dimension_name(int dimension) const;
  /// A text; empty if there is no such attribute, or it is none.
  std::string text(const NcVariable& variable, const char* attribute) const;
  std::optional<double> number(const NcVariable& variable, const char* attribute) const;
  NcFill fill(const NcVariable& variable) const;
  /// Makes the numbers of a coordinate what they stand for (CF 8.1): each times scale_factor and
  /// plus add_offset; NaN where there is none. Bounds have the attributes of their coordinate, if
  /// they have none of their own.
  void unpack(const NcVariable& variable, std::span<double> numbers,
              const NcVariable* coordinate_of_bounds = nullptr) const;

  /// Fills `into` from the block that begins at `start` and is `count` long in each dimension.
  Status read(const NcVariable& variable, std::span<const std::size_t> start,
              std::span<const std::size_t> count, std::span<double> into) const;
  /// All values of a coordinate, or of its bounds, unpacked.
  Result<std::vector<double>> read_all(const NcVariable& variable,
                                       const NcVariable* coordinate_of_bounds = nullptr) const;

  /// kProtocol, with the file's name before it.
  tl::unexpected<Error> damaged(const std::string& what) const;

 private:
  NcFile(std::string path, int id) : path_(std::move(path)), id_(id) {}
  Status list_variables();

  std::string path_;
  int id_;
  std::vector<NcVariable> variables_;
};

/// The words of an attribute that lists names.
std::vector<std::string> words_of(const std::string& text);

}  // namespace silurus::readers
