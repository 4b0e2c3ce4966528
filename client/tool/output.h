// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "client/tool/arguments.h"
#include "common/result.h"
#include "silurus/answers.h"

namespace silurus::tool {

// What the commands print on standard output, as strings.

/// Writes the text to a file, standard output as a rule, and flushes it. If its reader has gone, as
/// in `silurus range ... | head`, this ends as other programs do: silently, by the signal that they
/// die of.
Status write_out(std::string_view text, std::FILE* to);

/// 10781311 as "10,781,311": for people.
std::string grouped(std::uint64_t value);
std::string_view mode_name(Access access);

// `ids_as_strings`: in JSON, since many of its readers take numbers for doubles, which are exact up
// to 2^53 only.

/// All minima, then all maxima, each with `between` before it; and the header of such lines behind
/// an id in CSV, with a line feed.
template <int D>
void append_box(std::string& text, const Box<D>& box, const char* between);
template <int D>
std::string csv_header();

/// A field of CSV: in quotes where it has to be (RFC 4180).
std::string csv_field(const std::string& text);

/// `shape`: what was asked for.
template <int D>
std::string format_range(const RangeAnswer<D>& found, ResultShape shape, Format format,
                         bool ids_as_strings = false);
std::string format_nearest(const NearestAnswer& found, bool count_only, Format format,
                           bool ids_as_strings = false);
std::string format_join(const JoinAnswer& found, bool count_only, Format format,
                        bool ids_as_strings = false);
/// Entries by their ids, and the ids of which there is none.
template <int D>
std::string format_get(const GetAnswer<D>& found, Format format, bool ids_as_strings = false);
/// What became of erasures of these ids.
std::string format_erased(std::span<const std::uint64_t> ids, const WriteAnswer& done,
                          Format format, bool ids_as_strings = false);
/// `done`: "inserted", "erased", "moved", "replaced".
std::string format_write(std::string_view done, std::uint64_t id, rtree::Version version,
                         Format format, bool ids_as_strings = false);
/// The server's JSON; text and csv list its members as paths: "reads.count: 17".
std::string format_stats(const std::string& json, Format format);

/// The versions of Client::history(), one a line: version, time, entries.
std::string format_history(const std::string& json, Format format);
/// The ids of Client::difference(), one a line: "inserted 17".
std::string format_diff(const std::string& json, Format format, bool ids_as_strings = false);

/// How a load went.
struct LoadReport {
  std::uint64_t loaded = 0;
  std::uint64_t skipped = 0;
  double seconds = 0;
  bool bulk = false;
  rtree::Version version = 0;
  std::uint64_t found = 0;   ///< were in the tree already
  std::string columns = {};  ///< how a file was understood; empty: there was nothing to be
  std::vector<std::string> notes = {};  ///< what else is to be known of the file
  std::string first_skipped = {};       ///< why the first record left out was bad
};
/// How a source was understood, what is to be known of it, and what of it was left out: lines.
std::string told_of_source(const std::string& columns, std::span<const std::string> notes,
                           std::uint64_t skipped, const std::string& first_skipped);
std::string format_load(const LoadReport& report, Format format);

/// How a compaction went.
struct CompactReport {
  std::uint64_t steps = 0;
  std::uint64_t waits = 0;  ///< times that a step was put off
  std::uint64_t saved_nodes = 0;
  std::uint64_t saved_bytes = 0;
  std::uint64_t nodes = 0;  ///< that the tree has afterwards
  std::uint64_t bytes = 0;
  std::uint64_t bytes_retired = 0;
  std::uint64_t bytes_held = 0;
  rtree::Version version = 0;  ///< 0: there are several trees
  double seconds = 0;
};
std::string format_compaction(const CompactReport& report, Format format);

/// A line for a terminal: "[#####     ]  47 %  5,067,216 boxes  812,345/s". `fraction` below 0:
/// unknown.
std::string format_progress(double fraction, std::uint64_t boxes, double seconds);

}  // namespace silurus::tool
