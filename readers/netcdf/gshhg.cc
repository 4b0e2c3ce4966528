// SPDX-License-Identifier: Apache-2.0

#include "readers/netcdf/gshhg.h"

#include <netcdf.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace silurus::readers {
namespace {

using rtree::Entry;

constexpr std::size_t kMaxBins = 21600;                   // a side; the bins of 1 minute
constexpr std::size_t kMaxSegments = 1 << 24;             // 214,376 in the full resolution
constexpr std::size_t kMaxPoints = std::size_t{1} << 31;  // 10,995,687
constexpr std::size_t kBlockPoints = 1 << 18;             // read at a time
constexpr int kMinutesAround = 360 * 60;
constexpr unsigned kPointCountShift = 9;  // levels, entry and exit are in the bits below

/// An open netCDF file. Reads whole or parts of one-dimensional variables, whose type and length
/// are checked first.
class NetcdfFile {
 public:
  static Result<NetcdfFile> open(const std::string& path) {
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) {
      const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
      Error error = errno_error(code, "cannot open " + path, errno);
      error.message += ": the coastlines come with Debian's package gmt-gshhg-full";
      return fail(std::move(error));
    }
    // Also keeps a name like "http://..." from libnetcdf, which would go and fetch it.
    if (!S_ISREG(info.st_mode)) {
      return fail(ErrorCode::kInvalidArgument, path + " is not a regular file");
    }
    if (auto ok = check_magic(path); !ok) return fail(ok.error());
    int id = -1;
    const int status = ::nc_open(path.c_str(), NC_NOWRITE, &id);
    if (status != NC_NOERR)
      return damaged(path, std::string("not readable: ") + nc_strerror(status));
    return NetcdfFile(path, id);
  }

  NetcdfFile(NetcdfFile&& other) noexcept : path_(std::move(other.path_)), id_(other.id_) {
    other.id_ = -1;
  }
  NetcdfFile& operator=(NetcdfFile&&) = delete;
  ~NetcdfFile() {
    if (id_ >= 0) ::nc_close(id_);
  }

  tl::unexpected<Error> damaged(const std::string& what) const { return damaged(path_, what); }

  /// A variable of the given type with one dimension of at most `max_length`.
  struct Variable {
    const char* name;
    int id;
    std::size_t length;
  };
  Result<Variable> find(const char* name, nc_type type, std::size_t max_length) const {
    const std::string who = std::string("variable ") + name;
    int variable = -1;
    if (::nc_inq_varid(id_, name, &variable) != NC_NOERR) {
      return damaged(who + " is not there: is this a binned GSHHG file?");
    }
    nc_type actual = NC_NAT;
    int dimensions = 0;
    if (::nc_inq_vartype(id_, variable, &actual) != NC_NOERR ||
        ::nc_inq_varndims(id_, variable, &dimensions) != NC_NOERR) {
      return damaged(who + " cannot be described");
    }
    if (actual != type) {
      return damaged(who + " is of type " + std::to_string(actual) + ", expected " +
                     std::to_string(type));
    }
    if (dimensions != 1) {
      return damaged(who + " has " + std::to_string(dimensions) + " dimensions, expected 1");
    }
    int dimension = -1;
    std::size_t length = 0;
    if (::nc_inq_vardimid(id_, variable, &dimension) != NC_NOERR ||
        ::nc_inq_dimlen(id_, dimension, &length) != NC_NOERR) {
      return damaged(who + " has no readable dimension");
    }
    if (length == 0 || length > max_length) {
      return damaged(who + " has length " + std::to_string(length) + ", expected 1 to " +
                     std::to_string(max_length));
    }
    return Variable{name, variable, length};
  }

  template <typename T>
  Status read(const Variable& variable, std::size_t start, std::span<T> values) const {
    static_assert(std::is_same_v<T, short> || std::is_same_v<T, int>);
    const std::size_t count = values.size();
    int status = NC_NOERR;
    if constexpr (std::is_same_v<T, short>) {
      status = ::nc_get_vara_short(id_, variable.id, &start, &count, values.data());
    } else {
      status = ::nc_get_vara_int(id_, variable.id, &start, &count, values.data());
    }
    if (status == NC_NOERR) return {};
    return damaged(std::string("variable ") + variable.name +
                   " is not readable: " + nc_strerror(status));
  }

  template <typename T>
  Result<std::vector<T>> read_all(const char* name, std::size_t length) const {
    auto variable = find(name, std::is_same_v<T, short> ? NC_SHORT : NC_INT, length);
    if (!variable) return fail(variable.error());
    if (variable->length != length) {
      return damaged(std::string("variable ") + name + " has length " +
                     std::to_string(variable->length) + ", expected " + std::to_string(length));
    }
    std::vector<T> values(length);
    if (auto status = read<T>(*variable, 0, values); !status) return fail(status.error());
    return values;
  }

 private:
  NetcdfFile(std::string path, int id) : path_(std::move(path)), id_(id) {}

  /// Only HDF5 goes any further: libnetcdf 4.9 crashes on damaged headers of its classic format.
  static Status check_magic(const std::string& path) {
    constexpr std::string_view kMagic = "\x89HDF\r\n\x1a\n";
    const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rbe"));
    if (file == nullptr) {
      const ErrorCode code = errno == EACCES ? ErrorCode::kPermission : ErrorCode::kIo;
      return fail(errno_error(code, "cannot open " + path, errno));
    }
    std::array<char, kMagic.size()> start{};
    const std::size_t count = std::fread(start.data(), 1, start.size(), file.get());
    if (std::string_view(start.data(), count) != kMagic)
      return damaged(path, "not a netCDF-4 file");
    return {};
  }

  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  static tl::unexpected<Error> damaged(const std::string& path, const std::string& what) {
    return fail(ErrorCode::kProtocol,
                path + ": " + what +
                    " (truncated, damaged, or another kind of file; to restore the original: "
                    "apt-get install --reinstall gmt-gshhg-full)");
  }

  std::string path_;
  int id_;
};

/// A run of consecutive points within one bin.
struct Segment {
  std::uint32_t points;  // at least 1
  std::uint32_t bin;
};

/// What a file holds apart from its points.
struct Layout {
  std::uint32_t bins_around = 0;  // bins in 360 degrees of longitude
  double bin_degrees = 0;
  std::vector<Segment> segments;  // in file order
  std::uint64_t points = 0;       // sum over segments
};

Result<int> read_scalar(const NetcdfFile& file, const char* name) {
  auto values = file.read_all<int>(name, 1);
  if (!values) return fail(values.error());
  return values->front();
}

/// Bin by bin, checks that first-segment numbers continue where the last bin ended.
Status assign_bins(const NetcdfFile& file, std::size_t bins, std::vector<Segment>& segments) {
  auto counts = file.read_all<short>("N_segments_in_a_bin", bins);
  if (!counts) return fail(counts.error());
  auto firsts = file.read_all<int>("Id_of_first_segment_in_a_bin", bins);
  if (!firsts) return fail(firsts.error());
  std::uint64_t next = 0;
  for (std::size_t bin = 0; bin < bins; ++bin) {
    const auto count = static_cast<std::uint16_t>((*counts)[bin]);
    if (count > 0 && static_cast<std::uint32_t>((*firsts)[bin]) != next) {
      return file.damaged("bin " + std::to_string(bin) + " starts at segment " +
                          std::to_string((*firsts)[bin]) + ", expected " + std::to_string(next));
    }
    if (next + count > segments.size()) {
      return file.damaged("the bins up to " + std::to_string(bin) + " have " +
                          std::to_string(next + count) + " segments, the file only " +
                          std::to_string(segments.size()));
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      segments[next++].bin = static_cast<std::uint32_t>(bin);
    }
  }
  if (next != segments.size()) {
    return file.damaged("the bins have " + std::to_string(next) + " segments, the file " +
                        std::to_string(segments.size()));
  }
  return {};
}

/// Point counts of segments, and that each starts where the one before it ended.
Result<std::uint64_t> count_points(const NetcdfFile& file, std::vector<Segment>& segments) {
  auto embedded =
      file.read_all<int>("Embedded_npts_levels_exit_entry_for_a_segment", segments.size());
  if (!embedded) return fail(embedded.error());
  auto firsts = file.read_all<int>("Id_of_first_point_in_a_segment", segments.size());
  if (!firsts) return fail(firsts.error());
  std::uint64_t next = 0;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    segments[i].points = static_cast<std::uint32_t>((*embedded)[i]) >> kPointCountShift;
    if (segments[i].points == 0) {
      return file.damaged("segment " + std::to_string(i) + " has no points");
    }
    if (static_cast<std::uint32_t>((*firsts)[i]) != next) {
      return file.damaged("segment " + std::to_string(i) + " starts at point " +
                          std::to_string((*firsts)[i]) + ", expected " + std::to_string(next));
    }
    next += segments[i].points;
  }
  return next;
}

Result<Layout> read_layout(const NetcdfFile& file) {
  auto minutes = read_scalar(file, "Bin_size_in_minutes");
  if (!minutes) return fail(minutes.error());
  auto around = read_scalar(file, "N_bins_in_360_longitude_range");
  if (!around) return fail(around.error());
  auto down = read_scalar(file, "N_bins_in_180_degree_latitude_range");
  if (!down) return fail(down.error());
  if (*minutes <= 0 || *around <= 0 || *down <= 0 ||
      static_cast<std::uint64_t>(*around) > kMaxBins || *minutes > kMinutesAround ||
      std::int64_t{*minutes} * *around != kMinutesAround ||
      std::int64_t{*minutes} * *down != kMinutesAround / 2) {
    return file.damaged("bins of " + std::to_string(*minutes) + " minutes, " +
                        std::to_string(*around) + " by " + std::to_string(*down) +
                        ", do not cover the world");
  }
  Layout layout;
  layout.bins_around = static_cast<std::uint32_t>(*around);
  layout.bin_degrees = *minutes / 60.0;
  auto segments = file.find("Embedded_npts_levels_exit_entry_for_a_segment", NC_INT, kMaxSegments);
  if (!segments) return fail(segments.error());
  layout.segments.resize(segments->length);
  const auto bins = static_cast<std::size_t>(*around) * static_cast<std::size_t>(*down);
  if (auto ok = assign_bins(file, bins, layout.segments); !ok) return fail(ok.error());
  auto points = count_points(file, layout.segments);
  if (!points) return fail(points.error());
  layout.points = *points;
  return layout;
}

class GshhgReader final : public Reader<2> {
 public:
  GshhgReader(NetcdfFile file, Layout layout, NetcdfFile::Variable longitude,
              NetcdfFile::Variable latitude)
      : file_(std::move(file)),
        layout_(std::move(layout)),
        longitude_(longitude),
        latitude_(latitude),
        boxes_(layout_.points - layout_.segments.size()) {}

  Result<std::size_t> read(std::span<Entry<2>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && next_segment_ < layout_.segments.size()) {
      if (next_point_ == block_start_ + block_x_.size()) {
        if (auto status = read_block(); !status) {
          next_segment_ = layout_.segments.size();
          return fail(status.error());
        }
      }
      const rtree::Point<2> point = point_at(next_point_++ - block_start_);
      if (points_of_segment_++ > 0) {
        auto& box = batch[count++];
        box.id = next_id_++;
        for (int d = 0; d < 2; ++d) {
          box.box.min[d] = std::min(last_.at[d], point.at[d]);
          box.box.max[d] = std::max(last_.at[d], point.at[d]);
        }
      }
      last_ = point;
      if (points_of_segment_ == layout_.segments[next_segment_].points) {
        points_of_segment_ = 0;
        if (++next_segment_ < layout_.segments.size()) enter_bin();
      }
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return boxes_; }

 private:
  Status read_block() {
    if (next_point_ == 0) enter_bin();
    const std::size_t count = std::min<std::uint64_t>(kBlockPoints, layout_.points - next_point_);
    block_start_ = next_point_;
    block_x_.resize(count);
    block_y_.resize(count);
    if (auto ok = file_.read<short>(longitude_, block_start_, block_x_); !ok) return ok;
    return file_.read<short>(latitude_, block_start_, block_y_);
  }

  /// South-west corner of the bin of the next segment: rows run from north to south, each from
  /// longitude 0 eastwards.
  void enter_bin() {
    const std::uint32_t bin = layout_.segments[next_segment_].bin;
    const double east = bin % layout_.bins_around * layout_.bin_degrees;
    corner_.at[0] = east >= 180 ? east - 360 : east;
    corner_.at[1] = 90 - (bin / layout_.bins_around + 1) * layout_.bin_degrees;
  }

  /// Points are stored as unsigned 16-bit fractions of a bin, in a signed type.
  rtree::Point<2> point_at(std::size_t index) const {
    const auto fraction = [&](short value) {
      return static_cast<std::uint16_t>(value) / 65535.0 * layout_.bin_degrees;
    };
    return {{corner_.at[0] + fraction(block_x_[index]), corner_.at[1] + fraction(block_y_[index])}};
  }

  NetcdfFile file_;
  Layout layout_;
  NetcdfFile::Variable longitude_;
  NetcdfFile::Variable latitude_;
  std::uint64_t boxes_;
  std::uint64_t next_id_ = 0;
  std::size_t next_segment_ = 0;
  std::uint32_t points_of_segment_ = 0;  // read so far
  std::uint64_t next_point_ = 0;
  std::uint64_t block_start_ = 0;
  std::vector<short> block_x_;
  std::vector<short> block_y_;
  rtree::Point<2> corner_;
  rtree::Point<2> last_;
};

}  // namespace

Result<std::unique_ptr<Reader<2>>> open_gshhg(const Request& request) {
  auto file = NetcdfFile::open(request.path);
  if (!file) return fail(file.error());
  auto layout = read_layout(*file);
  if (!layout) return fail(layout.error());
  auto longitude = file->find("Relative_longitude_from_SW_corner_of_bin", NC_SHORT, kMaxPoints);
  if (!longitude) return fail(longitude.error());
  auto latitude = file->find("Relative_latitude_from_SW_corner_of_bin", NC_SHORT, kMaxPoints);
  if (!latitude) return fail(latitude.error());
  if (longitude->length != layout->points || latitude->length != layout->points) {
    return file->damaged("the segments have " + std::to_string(layout->points) +
                         " points, the file " + std::to_string(longitude->length) +
                         " longitudes and " + std::to_string(latitude->length) + " latitudes");
  }
  return std::make_unique<GshhgReader>(std::move(*file), std::move(*layout), *longitude, *latitude);
}

}  // namespace silurus::readers
