// SPDX-License-Identifier: Apache-2.0

#include "datasets/formats.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "datasets/fields.h"

namespace silurus::datasets {
namespace {

constexpr std::size_t kFirstBytes =
    1 << 16;  // bytes read of a file to tell its format: the comments of SWC are long
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::size_t kSwcColumns = 7;

/// What a file begins with that is no text of separated fields.
struct Signature {
  std::string_view bytes;
  FileFormat format;  // kText: one that is not read
  const char* what;   // and what to do with it where text is expected
};
constexpr std::array<Signature, 18> kForeign = {
    {{"\x1f\x8b", FileFormat::kGzip,
      "gzip, piped or packed twice: unpack it first (zcat FILE | ...)"},
     {"\x89HDF\r\n\x1a\n", FileFormat::kNetcdf,
      "netCDF or HDF5: name the file itself, neither piped nor packed"},
     {"CDF", FileFormat::kNetcdf, "netCDF: name the file itself, neither piped nor packed"},
     {"\x93NUMPY", FileFormat::kNpy,
      "an array of NumPy: name the file itself, neither piped nor packed"},
     {"LASF", FileFormat::kLas, "LAS: name the file itself, neither piped nor packed"},
     {"SIMPLE  =", FileFormat::kFits, "FITS: name the file itself, neither piped nor packed"},
     {"fgb\x03", FileFormat::kVector, "FlatGeobuf: name the file itself, neither piped nor packed"},
     {std::string_view("\0\0\x27\x0a\0", 5), FileFormat::kVector,
      "a Shapefile: name the file itself, neither piped nor packed"},
     {"SQLite format 3", FileFormat::kVector,
      "an SQLite database: name the file itself if it is a GeoPackage, else export it as CSV "
      "(sqlite3 -header -csv)"},
     {"\x28\xb5\x2f\xfd", FileFormat::kText, "zstd: unpack it first (zstdcat FILE | ...)"},
     {"\xfd"
      "7zXZ",
      FileFormat::kText, "xz: unpack it first (xzcat FILE | ...)"},
     {"BZh", FileFormat::kText, "bzip2: unpack it first (bzcat FILE | ...)"},
     {"PK\x03\x04", FileFormat::kText,
      "a zip archive (or a spreadsheet): unpack it, or export it as CSV"},
     {"PAR1", FileFormat::kText,
      "Parquet, which Debian's GDAL has no driver for: convert it elsewhere (ogr2ogr -f GPKG "
      "OUT.gpkg FILE, or geopandas.read_parquet(FILE).to_file(\"OUT.gpkg\"))"},
     {"ARROW1", FileFormat::kText,
      "Arrow, which Debian's GDAL has no driver for: convert it elsewhere (ogr2ogr -f GPKG "
      "OUT.gpkg FILE)"},
     {"\xff\xfe", FileFormat::kText,
      "text in UTF-16: make it UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
     {"\xfe\xff", FileFormat::kText,
      "text in UTF-16: make it UTF-8 first (iconv -f UTF-16 -t UTF-8)"},
     {"\x1e{", FileFormat::kVector,
      "a sequence of GeoJSON: name the file itself, neither piped nor packed"}}};

const Signature* signature_of(std::string_view first_bytes) {
  for (const Signature& signature : kForeign) {
    if (!first_bytes.starts_with(signature.bytes)) continue;
    // The classic forms of netCDF: a version follows, which no text has.
    const bool is_classic = first_bytes.size() > 3 && first_bytes[3] >= 1 && first_bytes[3] <= 5;
    if (signature.bytes != "CDF" || is_classic) return &signature;
  }
  return nullptr;
}

/// The head of a block of OpenStreetMap's binary format: its length, then its type, which is first.
bool is_pbf(std::string_view first_bytes) {
  return first_bytes.substr(std::min<std::size_t>(4, first_bytes.size()))
      .starts_with("\x0a\x09OSMHeader");
}

/// GeoJSON, or one of the formats in XML.
bool is_text_of_gdal(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && (text[begin] == '{' || text[begin] == '<');
}

/// Whether all of a line is seven numbers, parted by one of these.
bool is_swc_line(std::string_view line, std::string_view blanks) {
  for (std::size_t count = 0;;) {
    line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
    if (line.empty()) return count == kSwcColumns;
    const std::size_t end = std::min(line.find_first_of(blanks), line.size());
    if (!number_of(line.substr(0, end)) || ++count > kSwcColumns) return false;
    line.remove_prefix(end);
  }
}

/// Comments that begin with "#", if any, and a line of seven numbers. Without comments, tabs make
/// it a file of separated fields, which boxes in three dimensions with their ids have as many of.
bool is_swc(std::string_view text) {
  std::string_view blanks = " ";
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trimmed(line);
    if (line.starts_with('#')) {
      blanks = " \t";
    } else if (!line.empty()) {
      return is_swc_line(line, blanks);
    }
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace

FileFormat format_of(std::string_view first_bytes) {
  if (const Signature* signature = signature_of(first_bytes)) return signature->format;
  if (is_pbf(first_bytes) || is_text_of_gdal(first_bytes)) return FileFormat::kVector;
  return is_swc(first_bytes) ? FileFormat::kSwc : FileFormat::kText;
}

std::string first_bytes_of(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string bytes(kFirstBytes, '\0');
  const ssize_t count = ::pread(fd, bytes.data(), bytes.size(), 0);
  ::close(fd);
  bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  return bytes;
}

FileFormat format_of_file(const std::string& path) {
  const std::string first = first_bytes_of(path);
  if (!first.empty()) return format_of(first);
  if (path.ends_with(".nc")) return FileFormat::kNetcdf;
  const bool is_geodatabase = ::access((path + "/a00000001.gdbtable").c_str(), F_OK) == 0;
  return is_geodatabase ? FileFormat::kVector : FileFormat::kText;
}

Status check_is_text(std::string_view first_bytes, const std::string& name) {
  if (const Signature* signature = signature_of(first_bytes)) {
    return fail(ErrorCode::kProtocol, name + ": not text, but " + signature->what);
  }
  if (is_text_of_gdal(first_bytes)) {
    return fail(ErrorCode::kProtocol,
                name +
                    ": no separated fields, but GeoJSON or XML: name the file itself, neither "
                    "piped nor packed");
  }
  if (first_bytes.find('\0') != std::string_view::npos) {
    return fail(ErrorCode::kProtocol,
                name + ": neither text nor another format that is read (docs/data-sets.md)");
  }
  return {};
}

}  // namespace silurus::datasets
