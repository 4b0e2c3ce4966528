// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <ogr_recordbatch.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "common/result.h"

namespace silurus::readers {

/// The features of a layer, as GDAL hands them on in batches: in Arrow's C stream interface. Owns
/// the stream; the layer must outlive it. One thread.
class ArrowBatches {
 public:
  /// Which of the stream's columns are used. An empty id: the layer's own numbers.
  struct Columns {
    std::string geometry;
    std::string fid;
    std::string id;
  };
  /// Takes the stream over. kInvalidArgument: there is no such column of ids, or it has no numbers.
  static Result<ArrowBatches> create(ArrowArrayStream stream, const Columns& columns);

  ArrowBatches(ArrowBatches&& other) noexcept;
  ArrowBatches& operator=(ArrowBatches&&) = delete;
  ~ArrowBatches();

  /// Fetches the next batch; false at the end.
  Result<bool> next();
  /// Features in the batch.
  std::size_t size() const { return static_cast<std::size_t>(batch_.length); }
  /// In well-known binary; nothing if the feature has none.
  std::optional<std::span<const std::byte>> geometry(std::size_t feature) const;
  /// The layer's own number of the feature.
  std::int64_t fid(std::size_t feature) const;
  /// What the column of ids has; nothing where it is empty, or no whole number from 0 on.
  std::optional<std::uint64_t> id(std::size_t feature) const;

 private:
  explicit ArrowBatches(ArrowArrayStream stream) : stream_(stream) {}
  Status find(const Columns& columns);
  std::optional<std::size_t> column_named(const std::string& name) const;

  ArrowArrayStream stream_;
  ArrowSchema schema_{};
  ArrowArray batch_{};
  std::size_t geometry_ = 0;  // column
  std::size_t fid_ = 0;
  std::size_t id_ = 0;
  char geometry_format_ = 'z';
  char id_format_ = 'l';
};

}  // namespace silurus::readers
