// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <hdf5.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace silurus::readers {

/// Something of the library that has to be closed. Less than 0: nothing.
class H5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  H5Handle() = default;
  H5Handle(hid_t id, Close close) : id_(id), close_(close) {}
  H5Handle(H5Handle&& other) noexcept
      : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  H5Handle& operator=(H5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~H5Handle() {
    if (id_ >= 0) close_(id_);
  }
  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  Close close_ = nullptr;
};

/// A dataset of numbers in one column or several.
struct H5Column {
  std::string name = {};
  std::uint64_t rows = 0;
  std::size_t columns = 1;
  std::size_t rank = 1;
  bool is_whole = false;  ///< whole numbers
  bool is_signed = false;
  H5Handle dataset = {};
};

/// An open HDF5 file. One owner, one thread.
class H5File {
 public:
  static Result<H5File> open(const std::string& path);

  const std::string& path() const { return path_; }
  /// Names of all datasets, kMaxDatasets at most.
  std::vector<std::string> datasets() const;
  bool is_group(const std::string& name) const;
  bool has(const std::string& name) const;
  /// kInvalidArgument: there is no such dataset, or it has no numbers in one or two dimensions;
  /// kTooLarge: its chunks do not fit into memory.
  Result<H5Column> column(const std::string& name) const;

  /// Fills `into` with `each` values of each row from `first` on.
  Status read(const H5Column& column, std::uint64_t first, std::size_t each,
              std::span<double> into) const;
  /// Whole numbers without a sign, or with one.
  Status read(const H5Column& column, std::uint64_t first, std::span<std::uint64_t> into) const;
  Status read(const H5Column& column, std::uint64_t first, std::span<std::int64_t> into) const;

  /// kProtocol, with the file's name before it.
  tl::unexpected<Error> damaged(const std::string& what) const;

 private:
  H5File(std::string path, H5Handle file) : path_(std::move(path)), file_(std::move(file)) {}
  Status read_as(hid_t type, const H5Column& column, std::uint64_t first, std::size_t rows,
                 std::size_t each, void* into) const;

  std::string path_;
  H5Handle file_;
};

}  // namespace silurus::readers
