// SPDX-License-Identifier: Apache-2.0

#include "client/tool/export.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "client/exported.h"
#include "client/tool/output.h"
#include "common/units.h"
#include "rtree/lonlat.h"

namespace silurus::tool {
namespace {

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

/// A file that was not there before.
Result<File> create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) return fail(errno_error(ErrorCode::kIo, "cannot make the file " + path, errno));
  File file(::fdopen(fd, "wb"));
  if (file == nullptr) {
    const Error error = errno_error(ErrorCode::kIo, "cannot write " + path, errno);
    ::close(fd);
    return fail(error);
  }
  return file;
}

constexpr const char* kAxes[] = {"x", "y", "z"};

/// The names of the sides, xmin, ymin, xmax, ymax, each with that before and behind it.
template <int D>
std::string sides(const std::string& before, const std::string& behind) {
  std::string text;
  for (const char* side : {"min", "max"}) {
    for (int d = 0; d < D; ++d) text += before + kAxes[d] + side + behind;
  }
  return text;
}

/// The header of an array of structures (NumPy's format 1.0, numpy.lib.format).
template <int D>
std::string npy_header(std::uint64_t entries) {
  std::string text = "{'descr': [('id', '<u8')" + sides<D>(", ('", "', '<f8')") +
                     "], 'fortran_order': False, 'shape': (" + std::to_string(entries) + ",), }";
  constexpr std::size_t kBefore = 10;
  constexpr std::size_t kAlignment = 64;
  text.append(kAlignment - 1 - (kBefore + text.size()) % kAlignment, ' ');
  text += '\n';
  const auto length = static_cast<std::uint16_t>(text.size());
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(length & 0xff);
  header += static_cast<char>(length >> 8);
  return header + text;
}

std::string position(double x, double y) {
  return "[" + format_number(x) + "," + format_number(y) + "]";
}

/// The ring of a polygon, counterclockwise.
std::string ring(double xmin, double ymin, double xmax, double ymax) {
  return "[[" + position(xmin, ymin) + "," + position(xmax, ymin) + "," + position(xmax, ymax) +
         "," + position(xmin, ymax) + "," + position(xmin, ymin) + "]]";
}

/// A feature of RFC 7946: a polygon, or a point; of a box that crosses the antimeridian two
/// polygons (section 3.1.9).
void append_feature(std::string& text, std::uint64_t id, const Box<2>& box, bool ids_as_strings) {
  const std::string quote = ids_as_strings ? "\"" : "";
  text += "{\"type\":\"Feature\",\"id\":" + quote + std::to_string(id) + quote + ",\"geometry\":";
  const auto& [min, max] = box;
  if (min == max) {
    text += "{\"type\":\"Point\",\"coordinates\":" + position(min[0], min[1]) + "}";
  } else if (min[0] > max[0]) {
    text += "{\"type\":\"MultiPolygon\",\"coordinates\":[" + ring(min[0], min[1], 180, max[1]) +
            "," + ring(-180, min[1], max[0], max[1]) + "]}";
  } else {
    text += "{\"type\":\"Polygon\",\"coordinates\":" + ring(min[0], min[1], max[0], max[1]) + "}";
  }
  text += ",\"properties\":{}}\n";
}

template <int D>
void append_entry(std::string& text, const ExportCommand& command, std::uint64_t id,
                  const Box<D>& box, bool ids_as_strings) {
  switch (command.format) {
    case ExportFormat::kCsv:
      text += std::to_string(id);
      append_box<D>(text, box, ",");
      text += '\n';
      return;
    case ExportFormat::kNpy:
      text.append(reinterpret_cast<const char*>(&id), sizeof id);
      text.append(reinterpret_cast<const char*>(&box), sizeof box);
      return;
    case ExportFormat::kGeoJsonSeq:
      if constexpr (D == 2) append_feature(text, id, box, ids_as_strings);
      return;
  }
}

template <int D>
std::string beginning(ExportFormat format, std::uint64_t entries) {
  if (format == ExportFormat::kNpy) return npy_header<D>(entries);
  if (format == ExportFormat::kGeoJsonSeq) return {};
  return csv_header<D>();
}

template <int D>
Result<client::Listing> write_all(Client<D>& client, const ExportCommand& command,
                                  bool ids_as_strings, Progress& progress, std::FILE* to) {
  const auto listing = client::begin_export(client);
  if (!listing) return fail(listing.error());
  std::string text = beginning<D>(command.format, listing->entries);
  std::uint64_t written = 0;
  for (std::uint64_t page = 0; page < listing->pages; ++page) {
    const auto entries = client::read_page(client, page);
    if (!entries) return fail(entries.error());
    for (const Operation<D>& one : *entries) {
      const Box<D> box = rtree::told_box(one.box, client.is_lonlat());
      append_entry<D>(text, command, one.id, box, ids_as_strings);
    }
    if (auto ok = write_out(text, to); !ok) return fail(ok.error());
    text.clear();
    written += entries->size();
    progress.update(static_cast<double>(page + 1) / static_cast<double>(listing->pages), written);
  }
  if (written != listing->entries) {
    return fail(ErrorCode::kProtocol, "the server told of " + std::to_string(listing->entries) +
                                          " entries and sent " + std::to_string(written));
  }
  if (auto ok = write_out(text, to); !ok) return fail(ok.error());
  return *listing;
}

}  // namespace

template <int D>
Result<std::string> export_collection(Client<D>& client, const ExportCommand& command,
                                      bool ids_as_strings, Progress& progress) {
  if (D != 2 && command.format == ExportFormat::kGeoJsonSeq) {
    return fail(ErrorCode::kUnsupported,
                "GeoJSON has no boxes of three dimensions: --format csv or npy");
  }
  if (command.output.empty()) {
    const auto done = write_all(client, command, ids_as_strings, progress, stdout);
    return done ? Result<std::string>(std::string()) : fail(done.error());
  }
  const auto file = create(command.output);
  if (!file) return fail(file.error());
  const auto done = write_all(client, command, ids_as_strings, progress, file->get());
  if (!done) {
    std::remove(command.output.c_str());  // a part is none
    return fail(done.error());
  }
  return "exported " + grouped(done->entries) + " boxes of version " +
         std::to_string(done->version) + " to " + command.output + "\n";
}

template Result<std::string> export_collection(Client<2>&, const ExportCommand&, bool, Progress&);
template Result<std::string> export_collection(Client<3>&, const ExportCommand&, bool, Progress&);

}  // namespace silurus::tool
