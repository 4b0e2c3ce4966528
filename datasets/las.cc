// SPDX-License-Identifier: Apache-2.0

#include "datasets/las.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include "datasets/records.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;

// Offsets in the header, of all versions.
constexpr std::size_t kVersionAt = 24;
constexpr std::size_t kHeaderSizeAt = 94;
constexpr std::size_t kPointsAt = 96;
constexpr std::size_t kNotesAt = 100;  // number of variable-length records
constexpr std::size_t kFormatAt = 104;
constexpr std::size_t kRecordSizeAt = 105;
constexpr std::size_t kCountAt = 107;
constexpr std::size_t kScaleAt = 131;
constexpr std::size_t kOffsetAt = 155;
constexpr std::size_t kLongCountAt = 247;  // in files of version 1.4

constexpr std::size_t kLeastHeader = 227;
constexpr std::size_t kHeader14 = 375;
constexpr std::uint8_t kCompressed = 0x80;  // LAZ sets this bit of the format, or the next one
constexpr std::uint8_t kFormatBits = 0x3f;
/// Bytes of a point of each format, at least.
constexpr std::array<std::uint16_t, 11> kRecordSizes = {20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67};

// A variable-length record, and what it has of the coordinate system (GeoTIFF's keys).
constexpr std::size_t kNoteHeader = 54;
constexpr std::uint32_t kMaxNotes = 64;
constexpr std::uint16_t kGeoKeys = 34735;
constexpr std::uint16_t kProjectedKey = 3072;
constexpr std::uint16_t kGeographicKey = 2048;
constexpr std::uint16_t kOwnSystem = 32767;
constexpr std::size_t kGeoKeyBytes = 8;

/// What the header says.
struct Header {
  std::uint64_t points_at = 0;
  std::uint64_t count = 0;
  std::size_t record_size = 0;
  std::size_t header_size = 0;
  std::uint32_t notes = 0;
  std::array<double, 3> scale{};
  std::array<double, 3> offset{};
};

tl::unexpected<Error> damaged(const BinaryFile& file, const std::string& what) {
  return fail(ErrorCode::kProtocol, file.path() + ": " + what + " (truncated or damaged?)");
}

Status check_format(const BinaryFile& file, std::uint8_t format, std::size_t record_size) {
  if ((format & ~kFormatBits) != 0) {
    return fail(ErrorCode::kUnsupported,
                file.path() + ": is LAZ, which is not read: unpack it first (laszip -i " +
                    "FILE.laz -o FILE.las, or pdal translate FILE.laz FILE.las)");
  }
  if (format >= kRecordSizes.size()) {
    return damaged(file, "points of format " + std::to_string(format) + ", 0 to 10 are known");
  }
  if (record_size < kRecordSizes[format]) {
    return damaged(file, "points of " + std::to_string(record_size) + " bytes, format " +
                             std::to_string(format) + " takes " +
                             std::to_string(kRecordSizes[format]));
  }
  return {};
}

/// Checks that the points lie behind the header, and within the file.
Status check_extent(const BinaryFile& file, const Header& header) {
  if (header.points_at < header.header_size || header.points_at > file.size()) {
    return damaged(file, "points from byte " + std::to_string(header.points_at) + " on, the file " +
                             "has " + std::to_string(file.size()) + " bytes");
  }
  const std::uint64_t room = (file.size() - header.points_at) / header.record_size;
  if (header.count > room) {
    return damaged(file, "has " + std::to_string(room) + " points, its header says " +
                             std::to_string(header.count));
  }
  for (int d = 0; d < 3; ++d) {
    if (!std::isfinite(header.scale[d]) || !std::isfinite(header.offset[d])) {
      return damaged(file, "a scale or an offset is not finite");
    }
  }
  return {};
}

Result<Header> read_header(const BinaryFile& file) {
  std::array<std::byte, kHeader14> bytes{};
  const std::size_t size = std::min<std::uint64_t>(bytes.size(), file.size());
  if (size < kLeastHeader) return damaged(file, "too short for a header");
  if (auto ok = file.read(0, std::span(bytes).first(size)); !ok) return fail(ok.error());
  const auto at = [&](std::size_t offset) { return bytes.data() + offset; };
  const auto major = std::to_integer<int>(*at(kVersionAt));
  const auto minor = std::to_integer<int>(*at(kVersionAt + 1));
  if (std::memcmp(bytes.data(), "LASF", 4) != 0 || major != 1 || minor > 4) {
    return damaged(file, "LAS of version " + std::to_string(major) + "." + std::to_string(minor) +
                             ", 1.0 to 1.4 are read");
  }
  Header header;
  header.header_size = number_at<std::uint16_t>(at(kHeaderSizeAt));
  header.points_at = number_at<std::uint32_t>(at(kPointsAt));
  header.notes = number_at<std::uint32_t>(at(kNotesAt));
  header.record_size = number_at<std::uint16_t>(at(kRecordSizeAt));
  header.count = number_at<std::uint32_t>(at(kCountAt));
  const std::size_t least = minor == 4 ? kHeader14 : kLeastHeader;
  if (header.header_size < least || size < least) {
    return damaged(file, "a header of " + std::to_string(header.header_size) + " bytes");
  }
  // Files of 1.4 have the old count only if it fits.
  const auto long_count = minor == 4 ? number_at<std::uint64_t>(at(kLongCountAt)) : 0;
  if (long_count > 0) header.count = long_count;
  for (std::size_t d = 0; d < 3; ++d) {
    header.scale[d] = number_at<double>(at(kScaleAt + d * sizeof(double)));
    header.offset[d] = number_at<double>(at(kOffsetAt + d * sizeof(double)));
  }
  const auto format = std::to_integer<std::uint8_t>(*at(kFormatAt));
  if (auto ok = check_format(file, format, header.record_size); !ok) return fail(ok.error());
  if (auto ok = check_extent(file, header); !ok) return fail(ok.error());
  return header;
}

/// "EPSG:25832" of the GeoTIFF keys; empty if they name none.
std::string system_of_keys(std::span<const std::byte> keys) {
  std::uint16_t found = 0;
  for (; keys.size() >= kGeoKeyBytes; keys = keys.subspan(kGeoKeyBytes)) {
    const auto key = number_at<std::uint16_t>(keys.data());
    const auto location = number_at<std::uint16_t>(keys.data() + 2);
    const auto value = number_at<std::uint16_t>(keys.data() + 6);
    if (location != 0) continue;  // the value is a place in another record
    if (value == 0 || value == kOwnSystem) continue;
    if (key == kProjectedKey || (key == kGeographicKey && found == 0)) found = value;
  }
  return found == 0 ? "" : "EPSG:" + std::to_string(found);
}

/// Coordinate system in the first variable-length record that names one; empty if none does.
std::string find_system(const BinaryFile& file, const Header& header) {
  std::uint64_t at = header.header_size;
  for (std::uint32_t i = 0; i < std::min(header.notes, kMaxNotes); ++i) {
    std::array<std::byte, kNoteHeader> head{};
    if (at + head.size() > header.points_at || !file.read(at, head)) return {};
    const auto size = number_at<std::uint16_t>(head.data() + 20);
    const std::string_view user(reinterpret_cast<const char*>(head.data()) + 2, 16);
    at += head.size();
    if (at + size > header.points_at) return {};
    if (user.starts_with("LASF_Projection") &&
        number_at<std::uint16_t>(head.data() + 18) == kGeoKeys) {
      std::vector<std::byte> keys(size);
      if (!file.read(at, keys)) return {};
      return system_of_keys(keys);
    }
    at += size;
  }
  return {};
}

template <int D>
class LasSource final : public Source<D> {
 public:
  LasSource(std::unique_ptr<BinaryFile> file, const Header& header, std::string system)
      : file_(std::move(file)),
        header_(header),
        system_(std::move(system)),
        points_(*file_, header.points_at, header.record_size, header.count) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && !has_failed_) {
      const std::uint64_t number = points_.done();
      auto record = points_.next();
      has_failed_ = !record;
      if (!record) return fail(record.error());
      if (record->data() == nullptr) break;
      Entry<D>& entry = batch[count++];
      entry.id = number;
      for (std::size_t d = 0; d < D; ++d) {
        const auto steps = number_at<std::int32_t>(record->data() + d * sizeof(std::int32_t));
        const double at = steps * header_.scale[d] + header_.offset[d];
        entry.box.min[d] = entry.box.max[d] = at;
      }
      // A damaged scale.
      if (!rtree::check_box(entry.box)) {
        has_failed_ = true;
        return damaged(*file_, "point " + std::to_string(number) + " is not finite");
      }
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return header_.count; }
  Progress progress() const override { return {points_.done(), header_.count}; }
  std::string description() const override {
    constexpr const char* kText = "LAS: points, ids are their places in the file, from 0";
    return D == 2 ? kText + std::string("; z is left out") : kText;
  }
  std::vector<std::string> notes() const override {
    if (system_.empty()) return {"the file names no coordinate system by an EPSG code"};
    return {"coordinates are in " + system_ + "; they are loaded as they are"};
  }

 private:
  std::unique_ptr<BinaryFile> file_;
  Header header_;
  std::string system_;
  Records points_;
  bool has_failed_ = false;  // and has nothing more
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_las(const std::string& path) {
  auto file = BinaryFile::open(path);
  if (!file) return fail(file.error());
  const auto header = read_header(*file);
  if (!header) return fail(header.error());
  std::string system = find_system(*file, *header);
  return std::make_unique<LasSource<D>>(std::make_unique<BinaryFile>(std::move(*file)), *header,
                                        std::move(system));
}

template Result<std::unique_ptr<Source<2>>> open_las<2>(const std::string&);
template Result<std::unique_ptr<Source<3>>> open_las<3>(const std::string&);

}  // namespace silurus::datasets
