// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "rtree/geometry.h"

namespace silurus::datasets {

/// How far a source has been read, for a progress bar: bytes of a file, or entries of whatever
/// knows their number. `total` is 0 if it is unknown (a pipe).
struct Progress {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};

/// Where entries come from: a file or a generator, read once from front to back in batches, so that
/// a data set larger than memory can be loaded. Owned by its reader; one thread at a time.
///
///   auto source = open_dataset<2>("roads:1000000:seed=7");
///   std::vector<rtree::Entry<2>> batch(4096);
///   for (;;) {
///     auto count = (*source)->read(batch);
///     if (!count || *count == 0) break;
///     load(std::span(batch).first(*count));
///   }
template <int D>
class Source {
 public:
  virtual ~Source() = default;
  /// Fills the front of `batch` (not empty); returns how many, 0 at the end. Every box passed
  /// rtree::check_box. After an error there is nothing more to read.
  virtual Result<std::size_t> read(std::span<rtree::Entry<D>> batch) = 0;
  /// How many entries there are in all, if that is known before they are read.
  virtual std::optional<std::uint64_t> total_entries() const = 0;
  virtual Progress progress() const = 0;
  /// Malformed records left out so far (only a reader told to skip them has any).
  virtual std::uint64_t skipped() const { return 0; }
  /// Why the first of them was: "points.csv:17: ...". Empty if there was none.
  virtual std::string first_skipped() const { return {}; }
  /// How the file was understood, for people: "gid as id, lat as y, lon as x, by the header". Empty
  /// if there was nothing to be understood, and before the first entry was read.
  virtual std::string description() const { return {}; }
  /// What else is to be known of a file, a sentence each: its coordinate system, for example.
  virtual std::vector<std::string> notes() const { return {}; }
};

/// All that is left of a source, in one vector.
template <int D>
Result<std::vector<rtree::Entry<D>>> read_all(Source<D>& source) {
  constexpr std::size_t kBatch = 1 << 14;
  constexpr std::uint64_t kMaxReserved = 1 << 24;  // a damaged file may promise anything
  std::vector<rtree::Entry<D>> entries;
  if (const auto total = source.total_entries()) {
    entries.reserve(*total < kMaxReserved ? *total : kMaxReserved);
  }
  for (;;) {
    const std::size_t size = entries.size();
    entries.resize(size + kBatch);
    auto count = source.read(std::span(entries).subspan(size));
    if (!count) return fail(count.error());
    entries.resize(size + *count);
    if (*count == 0) return entries;
  }
}

}  // namespace silurus::datasets
