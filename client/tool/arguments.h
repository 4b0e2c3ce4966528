// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/result.h"
#include "datasets/open.h"
#include "protocol/messages.h"
#include "rtree/geometry.h"
#include "silurus/answers.h"
#include "silurus/options.h"

namespace silurus::tool {

enum class Format : std::uint8_t { kText, kJson, kCsv };

/// What holds for every command.
struct Settings {
  std::string url;
  ClientOptions client;
  Format format = Format::kText;
  bool ids_as_strings = false;   ///< in JSON
  bool has_default_url = false;  ///< true if no server was named
};

// The commands. Coordinates are kept as numbers until the server has said how many dimensions its
// tree has; a box is all minima, then all maxima.

/// Entries as features of GeoJSON: all in one collection, or one a line.
enum class Features : std::uint8_t { kNone, kCollection, kSequence };
struct RangeCommand {
  std::vector<double> window;  ///< empty: that of the geometry
  rtree::Predicate predicate = rtree::Predicate::kIntersects;
  bool count_only = false;
  bool boxes = false;  ///< with their boxes
  std::uint64_t limit = UINT64_MAX;
  Moment as_of = 0;  ///< 0: now
  std::string geometry = {};
  bool exact = false;  ///< the geometry itself, not its box
  std::string where = {};
  bool records = false;                 ///< with their records
  Features features = Features::kNone;  ///< instead of a Format
  /// Whether it takes more than the boxes.
  bool looks_at_records() const {
    return exact || !where.empty() || records || features != Features::kNone;
  }
};
struct NearestCommand {
  std::vector<double> point;
  std::uint32_t k = 1;
  double max_distance = std::numeric_limits<double>::infinity();
  bool count_only = false;
  Moment as_of = 0;
};
struct InsertCommand {
  std::uint64_t id = 0;
  std::vector<double> box;
};
/// Whether an entry is named by its id and its box, or by ids alone, the collection decides: it is
/// keyed or not. What the words can't be is empty.
struct EraseCommand {
  std::uint64_t id = 0;
  std::vector<double> box;
  std::vector<std::uint64_t> ids;
  IfVersion if_version = {};
};
struct UpdateCommand {
  std::uint64_t id = 0;
  std::vector<double> from;  ///< empty: the entry is named by its id
  std::vector<double> to;
  IfVersion if_version = {};
};
struct PutCommand {
  std::uint64_t id = 0;
  std::vector<double> box;  ///< empty: that of the geometry
  std::string geometry = {};
  std::string properties = {};
  bool if_absent = false;
  IfVersion if_version = {};
};
struct GetCommand {
  std::vector<std::uint64_t> ids;
  Moment as_of = 0;  ///< 0: now
  bool records = false;
  Features features = Features::kNone;  ///< instead of a Format
};
struct LoadCommand {
  std::string source = {};
  double fill = 0;  ///< 0: the server's default
  bool skip_bad = false;
  std::string columns = {};  ///< which column is which; empty: the file's header says it
  std::uint64_t skip = 0;    ///< entries at the front of the source that are left out
  std::uint64_t check = 0;   ///< behind these, entries that are inserted only if they are not in
  std::uint64_t limit = UINT64_MAX;  ///< entries of the source that are read, skipped ones included
  std::string layer = {};            ///< a layer's name in the file
  std::string where = {};            ///< condition that a feature must meet
  std::string id = {};               ///< column that ids are read from
  std::optional<datasets::As> as = {};  ///< what becomes of lines and areas
  bool dry_run = false;                 ///< only say what would be loaded
  int dimensions = 2;                   ///< with dry_run: of the tree that is meant
};
struct StatsCommand {};
struct HistoryCommand {};
struct DiffCommand {
  Moment from = 0;
  Moment to = 0;
};
struct CompactCommand {
  double fill = 0;  ///< 0: the server's default
};
struct BackupCommand {
  std::string path;  ///< absolute
};
struct JoinCommand {
  std::string first;  ///< collections
  std::string second;
  JoinQuery query = {};
  bool count_only = false;
};
enum class ExportFormat : std::uint8_t { kCsv, kNpy, kGeoJsonSeq };
struct ExportCommand {
  ExportFormat format = ExportFormat::kCsv;
  std::string output;  ///< a file that is not there yet; empty: standard output
};
struct CollectionsCommand {};
struct CreateCommand {
  std::string name;
  int dimensions = 0;  ///< 0: those of the server
  CollectionOptions options = {};
};
/// Changes an existing collection.
enum class Change : std::uint8_t { kDrop, kClear, kRename, kReplace, kNote };
struct ChangeCommand {
  Change change = Change::kDrop;
  std::string name;
  std::string text;  ///< a new name, or a note
};
struct KeyCommand {
  std::string name;
  std::string role;  ///< "reader", "writer" or "operator"
  std::string file;  ///< to be made
};
struct DoctorCommand {
  std::string card = "all";      ///< to be probed: a device, "all" or "none"
  bool server_is_named = false;  ///< by --server
};
enum class ClusterAction : std::uint8_t { kStatus, kInit, kAddShard, kSplit, kMove };
struct ClusterCommand {
  ClusterAction action = ClusterAction::kStatus;
  std::vector<double> numbers = {};    ///< init: the frame
  std::vector<std::string> urls = {};  ///< servers
  std::optional<double> edge = {};     ///< init: longest edge of a box that its shard holds
  std::uint32_t shard = 0;
  std::optional<std::uint64_t> at = {};  ///< split: first key of the second part
  bool abort = false;
};
/// Text to print, and nothing more to do (--help, --version).
struct PrintCommand {
  std::string text;
};

using Command = std::variant<RangeCommand, NearestCommand, InsertCommand, EraseCommand,
                             UpdateCommand, LoadCommand, StatsCommand, HistoryCommand, DiffCommand,
                             CompactCommand, BackupCommand, KeyCommand, JoinCommand, ExportCommand,
                             CollectionsCommand, CreateCommand, ChangeCommand, DoctorCommand,
                             ClusterCommand, PrintCommand, PutCommand, GetCommand>;

struct Invocation {
  Settings settings;
  Command command;
};

/// The arguments of the tool, without its own name. Options may stand anywhere; what reads as a
/// number is one, with or without a minus. kInvalidArgument says what is wrong and what would be
/// right: a usage error.
Result<Invocation> parse_arguments(const std::vector<std::string>& arguments);

/// Whether `url` can be the address of a server, of a group or of a cluster; the error names the
/// schemes that there are.
Status check_server(const std::string& url);

}  // namespace silurus::tool
