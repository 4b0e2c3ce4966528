// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "datasets/source.h"
#include "readers/request.h"

namespace silurus::datasets {

using readers::As;
using readers::name_of;
using readers::parse_as;

/// What a user may ask of a data set. An option that means nothing for its format is an error.
struct OpenOptions {
  /// Leave malformed lines and bad features out and count them, instead of failing at the first.
  bool skip_bad = false;
  /// CSV: which column is which (CsvOptions::columns). Empty: the file's header says it.
  std::string columns = {};
  /// Entries that are read at most.
  std::uint64_t limit = UINT64_MAX;
  // What readers of foreign formats are asked for: readers::Request says what they mean.
  std::string layer = {};
  std::string where = {};
  std::string id = {};
  std::optional<As> as = {};
};

/// What a user may name as data, for help texts.
constexpr std::string_view kDatasetForms =
    "a file (docs/data-sets.md lists the formats), FILE:/DATASET[#ids=/DATASET] (columns of HDF5), "
    "- (CSV from standard input), gshhg (the "
    "coastlines of Debian's "
    "gmt-gshhg-full), uniform:COUNT[:seed=S][:edge=E], "
    "powerlaw:COUNT[:seed=S][:min=E][:max=E][:exponent=X], "
    "clusters:COUNT[:seed=S][:edge=E][:clusters=N][:sigma=X], "
    "roads:COUNT[:seed=S][:towns=N][:step=X]";

/// Opens a data set by name; kDatasetForms lists the names. What a file is, its first bytes tell
/// (formats.h). kInvalidArgument names the part of a generator's description that makes no sense,
/// or an option that means nothing here; kNotFound, kIo, kPermission, kProtocol concern files;
/// kUnsupported says which package has the reader of a format.
template <int D>
Result<std::unique_ptr<Source<D>>> open_dataset(std::string_view spec,
                                                const OpenOptions& options = {});

}  // namespace silurus::datasets
