// SPDX-License-Identifier: Apache-2.0

#include "readers/hdf5/file.h"

#include <algorithm>
#include <array>

#include "readers/regular_file.h"

namespace silurus::readers {
namespace {

constexpr std::size_t kMaxDatasets = 4096;
constexpr std::size_t kMaxNameBytes = 1024;
constexpr std::size_t kCacheSlots = 521;
constexpr double kMinCacheBytes = 1 << 20;
constexpr double kMaxBandBytes = 512.0 * (1 << 20);  // bytes of the chunks that hold a row
/// What is stored may be packed, and parts may be missing; a number of rows that was made up by
/// damage would have the reader send fill values for years.
constexpr double kMaxUnpacking = 4096;
constexpr double kAlwaysFine = 1 << 20;  // bytes

/// The innermost cause, as the library tells it.
herr_t note_cause(unsigned, const H5E_error2_t* error, void* text) {
  if (error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}
std::string take_cause() {
  std::string text;
  ::H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, note_cause, &text);
  ::H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "libhdf5 does not say why" : text;
}

struct Listing {
  hid_t file;
  std::vector<std::string> names;
};

herr_t list_one(hid_t, const char* name, const H5L_info_t*, void* data) {
  auto& listing = *static_cast<Listing*>(data);
  const H5Handle object(::H5Oopen(listing.file, name, H5P_DEFAULT), H5Oclose);
  const bool is_dataset = object && ::H5Iget_type(object.get()) == H5I_DATASET;
  if (is_dataset) listing.names.push_back("/" + std::string(name));
  return listing.names.size() >= kMaxDatasets ? 1 : 0;
}

/// Bytes of the chunks that hold one row, 0 if the dataset has none.
double band_bytes(hid_t dataset, std::size_t rank, std::size_t columns, std::size_t type_bytes) {
  const H5Handle how(::H5Dget_create_plist(dataset), H5Pclose);
  if (!how || ::H5Pget_layout(how.get()) != H5D_CHUNKED) return 0;
  std::array<hsize_t, 2> chunk = {1, 1};
  if (::H5Pget_chunk(how.get(), static_cast<int>(rank), chunk.data()) < 0) return 0;
  const auto width = static_cast<double>(std::max<hsize_t>(chunk[1], 1));
  const double across = std::max(1.0, (static_cast<double>(columns) + width - 1) / width);
  return static_cast<double>(chunk[0]) * width * across * static_cast<double>(type_bytes);
}

}  // namespace

Result<H5File> H5File::open(const std::string& path) {
  if (auto ok = check_regular_file(path); !ok) return fail(ok.error());
  ::H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  ::H5PLset_loading_state(0);  // a file names filters, which would be loaded as plugins
  H5File file(path, H5Handle(::H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose));
  if (!file.file_) return file.damaged("not readable: " + take_cause());
  return file;
}

std::vector<std::string> H5File::datasets() const {
  Listing listing{.file = file_.get(), .names = {}};
  ::H5Lvisit(file_.get(), H5_INDEX_NAME, H5_ITER_INC, list_one, &listing);
  ::H5Eclear2(H5E_DEFAULT);
  return std::move(listing.names);
}

bool H5File::is_group(const std::string& name) const {
  const H5Handle object(::H5Oopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Oclose);
  return object && ::H5Iget_type(object.get()) == H5I_GROUP;
}

bool H5File::has(const std::string& name) const {
  return static_cast<bool>(H5Handle(::H5Oopen(file_.get(), name.c_str(), H5P_DEFAULT), H5Oclose));
}

Result<H5Column> H5File::column(const std::string& name) const {
  const auto refuse = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, path_ + ": " + name + " " + what);
  };
  if (name.empty() || name.size() > kMaxNameBytes) return refuse("is no name of a dataset");
  H5Handle first(::H5Dopen2(file_.get(), name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!first) {
    const std::string cause = take_cause();
    return refuse(has(name) ? "is no dataset, or is not readable: " + cause : "is not there");
  }
  const H5Handle space(::H5Dget_space(first.get()), H5Sclose);
  const H5Handle type(::H5Dget_type(first.get()), H5Tclose);
  if (!space || !type) return damaged(name + " cannot be described: " + take_cause());
  const int rank = ::H5Sget_simple_extent_ndims(space.get());
  if (rank != 1 && rank != 2) {
    return refuse("has " + std::to_string(rank) + " dimensions, columns have one or two");
  }
  std::array<hsize_t, 2> lengths = {0, 1};
  ::H5Sget_simple_extent_dims(space.get(), lengths.data(), nullptr);
  const H5T_class_t kind = ::H5Tget_class(type.get());
  if (kind != H5T_INTEGER && kind != H5T_FLOAT) return refuse("does not consist of numbers");
  H5Column column{.name = name,
                  .rows = lengths[0],
                  .columns = static_cast<std::size_t>(lengths[1]),
                  .rank = static_cast<std::size_t>(rank),
                  .is_whole = kind == H5T_INTEGER,
                  .is_signed = kind == H5T_INTEGER && ::H5Tget_sign(type.get()) == H5T_SGN_2};
  const std::size_t type_bytes = ::H5Tget_size(type.get());
  const double bytes = static_cast<double>(lengths[0]) * static_cast<double>(lengths[1]) *
                       static_cast<double>(type_bytes);
  const auto stored = static_cast<double>(::H5Dget_storage_size(first.get()));
  if (bytes > kAlwaysFine + stored * kMaxUnpacking) {
    return damaged(name + " has " + std::to_string(column.rows) +
                   " rows, of which the file stores next to nothing");
  }
  const double band = band_bytes(first.get(), column.rank, column.columns, type_bytes);
  if (band > kMaxBandBytes) {
    return fail(ErrorCode::kTooLarge, path_ + ": " + name +
                                          " has chunks too large to be read in turn: make them "
                                          "smaller (h5repack -l CHUNK=10000x3 ...)");
  }
  // The chunks of a row are unpacked once, however many blocks they are read in.
  const H5Handle access(::H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  ::H5Pset_chunk_cache(access.get(), kCacheSlots,
                       static_cast<std::size_t>(std::max(band, kMinCacheBytes)), 1.0);
  first = H5Handle();
  column.dataset = H5Handle(::H5Dopen2(file_.get(), name.c_str(), access.get()), H5Dclose);
  if (!column.dataset) return damaged(name + " is not readable: " + take_cause());
  return column;
}

Status H5File::read_as(hid_t type, const H5Column& column, std::uint64_t first, std::size_t rows,
                       std::size_t each, void* into) const {
  const std::array<hsize_t, 2> start = {first, 0};
  const std::array<hsize_t, 2> count = {rows, each};
  const H5Handle in_file(::H5Dget_space(column.dataset.get()), H5Sclose);
  const H5Handle in_memory(::H5Screate_simple(static_cast<int>(column.rank), count.data(), nullptr),
                           H5Sclose);
  const bool is_read =
      in_file && in_memory &&
      ::H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                            nullptr) >= 0 &&
      ::H5Dread(column.dataset.get(), type, in_memory.get(), in_file.get(), H5P_DEFAULT, into) >= 0;
  if (is_read) return {};
  return damaged(column.name + " is not readable from row " + std::to_string(first) +
                 " on: " + take_cause());
}

Status H5File::read(const H5Column& column, std::uint64_t first, std::size_t each,
                    std::span<double> into) const {
  return read_as(H5T_NATIVE_DOUBLE, column, first, into.size() / each, each, into.data());
}

Status H5File::read(const H5Column& column, std::uint64_t first,
                    std::span<std::uint64_t> into) const {
  return read_as(H5T_NATIVE_UINT64, column, first, into.size(), 1, into.data());
}

Status H5File::read(const H5Column& column, std::uint64_t first,
                    std::span<std::int64_t> into) const {
  return read_as(H5T_NATIVE_INT64, column, first, into.size(), 1, into.data());
}

tl::unexpected<Error> H5File::damaged(const std::string& what) const {
  return fail(ErrorCode::kProtocol,
              path_ + ": " + what + " (truncated, damaged, or another kind of file)");
}

}  // namespace silurus::readers
