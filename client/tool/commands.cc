// SPDX-License-Identifier: Apache-2.0

#include "client/tool/commands.h"

#include <algorithm>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "client/internal.h"
#include "client/tool/cluster.h"
#include "client/tool/collections.h"
#include "client/tool/compact.h"
#include "client/tool/doctor.h"
#include "client/tool/dry_run.h"
#include "client/tool/export.h"
#include "client/tool/key.h"
#include "client/tool/load.h"
#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "client/tool/records.h"
#include "datasets/columns.h"
#include "datasets/open.h"
#include "etcd/gateway.h"
#include "silurus/client.h"
#include "silurus/geometry.h"
#include "silurus/map_store.h"
#include "silurus/router.h"

namespace silurus::tool {
namespace {

/// Numbers as a box: all minima, then all maxima.
template <int D>
Box<D> box_of(std::span<const double> numbers) {
  Box<D> box;
  for (int d = 0; d < D; ++d) {
    box.min[d] = numbers[static_cast<std::size_t>(d)];
    box.max[d] = numbers[static_cast<std::size_t>(D + d)];
  }
  return box;
}

/// Whether the command has the right number of coordinates for D dimensions.
template <int D>
Status check_dimensions(std::span<const double> numbers, std::size_t per_dimension,
                        std::string_view what) {
  if (numbers.size() == per_dimension * D) return {};
  return fail(ErrorCode::kInvalidArgument, std::string(kUsagePrefix) + "the server's tree has " +
                                               std::to_string(D) +
                                               " dimensions: " + std::string(what) + " needs " +
                                               std::to_string(per_dimension * D) +
                                               " numbers, not " + std::to_string(numbers.size()));
}

/// Where notes on a file tell that it is of degrees, says what a collection of degrees is for.
void suggest_lonlat(std::vector<std::string>& notes) {
  const bool is_of_degrees = std::ranges::any_of(notes, [](const std::string& note) {
    return note.find("coordinates are degrees, longitude first") != std::string::npos;
  });
  if (!is_of_degrees) return;
  notes.emplace_back(
      "distances are told in degrees here; in metres, and across the antimeridian, in a collection "
      "created with --lonlat");
}

/// What only the versions of one tree can answer.
tl::unexpected<Error> of_one_shard_only() {
  return fail(ErrorCode::kUnsupported,
              "shards have versions of their own, and files on their own machines: ask a shard's "
              "own server (silurus cluster status lists them)");
}

/// What a sharded cluster does not have.
[[maybe_unused]] tl::unexpected<Error> of_one_server_only() {
  return fail(ErrorCode::kUnsupported, "a sharded cluster has no keyed collections yet");
}

/// Runs commands on a connected client: a Client<D>, or a Router<D> of all shards.
template <int D, typename Connection>
class Runner {
  static constexpr bool kOneServer = std::is_same_v<Connection, Client<D>>;

 public:
  Runner(Connection& client, const Settings& settings) : client_(client), settings_(settings) {}

  Result<std::string> operator()(const RangeCommand& command) {
    if (!command.geometry.empty() || command.looks_at_records()) {
      if constexpr (kOneServer) return find_features(command);
      return of_one_server_only();
    }
    if (auto ok = check_dimensions<D>(command.window, 2, "range"); !ok) return fail(ok.error());
    typename Connection::RangeOptions options;
    options.predicate = command.predicate;
    options.shape = command.count_only ? ResultShape::kCount
                    : command.boxes    ? ResultShape::kEntries
                                       : ResultShape::kIds;
    options.limit = command.limit;
    if constexpr (kOneServer) {
      options.as_of = command.as_of;
    } else if (command.as_of != 0) {
      return of_one_shard_only();
    }
    const Progress progress("waiting for the server to search");
    const auto found = client_.range(box_of<D>(command.window), options);
    if (!found) return fail(found.error());
    return format_range<D>(*found, options.shape, settings_.format, settings_.ids_as_strings);
  }

  Result<std::string> operator()(const NearestCommand& command) {
    if (auto ok = check_dimensions<D>(command.point, 1, "a point"); !ok) return fail(ok.error());
    Point<D> point;
    std::ranges::copy(command.point, point.at.begin());
    const Progress progress("waiting for the server to search");
    if constexpr (kOneServer) {
      return nearest(command,
                     client_.nearest(point, command.k, command.as_of, command.max_distance));
    } else {
      if (command.as_of != 0) return of_one_shard_only();
      return nearest(command, client_.nearest(point, command.k, command.max_distance));
    }
  }

  Result<std::string> operator()([[maybe_unused]] const ExportCommand& command) {
    if constexpr (kOneServer) {
      Progress progress("exporting");
      return export_collection<D>(client_, command, settings_.ids_as_strings, progress);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const JoinCommand& command) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the server to join");
      const auto found = client_.join(command.second, command.query);
      if (!found) return fail(found.error());
      return format_join(*found, command.count_only, settings_.format, settings_.ids_as_strings);
    } else {
      return fail(ErrorCode::kUnsupported, "a sharded cluster joins nothing: ask its shards");
    }
  }

  Result<std::string> operator()(const InsertCommand& command) {
    if (auto ok = check_dimensions<D>(command.box, 2, "insert"); !ok) return fail(ok.error());
    const Progress progress("waiting for the server to write");
    return written("inserted", command.id, client_.insert(command.id, box_of<D>(command.box)));
  }

  Result<std::string> operator()(const EraseCommand& command) {
    if constexpr (kOneServer) {
      if (client_.is_keyed()) return erase_by_id(command);
    }
    if (command.box.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  kUsagePrefix + ("erase takes an id and a box: " + not_keyed()));
    }
    if (auto ok = check_dimensions<D>(command.box, 2, "erase"); !ok) return fail(ok.error());
    const Progress progress("waiting for the server to write");
    return written("erased", command.id, client_.erase(command.id, box_of<D>(command.box)));
  }

  Result<std::string> operator()(const UpdateCommand& command) {
    if (auto ok = check_dimensions<D>(command.to, 2, "update"); !ok) return fail(ok.error());
    const Progress progress("waiting for the server to write");
    if (command.from.empty()) {
      if constexpr (kOneServer) {
        return written("moved", command.id,
                       client_.update(command.id, box_of<D>(command.to), command.if_version));
      } else {
        return of_one_server_only();
      }
    }
    return written("moved", command.id,
                   client_.update(command.id, box_of<D>(command.from), box_of<D>(command.to)));
  }

  Result<std::string> operator()([[maybe_unused]] const PutCommand& command) {
    if (!command.box.empty()) {
      if (auto ok = check_dimensions<D>(command.box, 2, "put"); !ok) return fail(ok.error());
    }
    if constexpr (kOneServer) {
      const auto record = record_of(command.geometry, command.properties);
      if (!record) return fail(record.error());
      const auto box = command.box.empty() ? box_of_geometry<D>(record->geometry)
                                           : Result<Box<D>>(box_of<D>(command.box));
      if (!box) {
        return fail(box.error().code,
                    "--geometry: " + box.error().message + "; say the box behind the id, too");
      }
      const Progress progress("waiting for the server to write");
      if (command.if_absent) {
        if (!client_.is_keyed()) return fail(ErrorCode::kUnsupported, not_keyed());
        return written("inserted", command.id, client_.insert(command.id, *box, *record));
      }
      const auto done = client_.put(command.id, *box, *record, command.if_version);
      if (!done) return fail(done.error());
      return written(done->replaced ? "replaced" : "inserted", command.id, done->version);
    } else {
      return of_one_server_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const GetCommand& command) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the server");
      const bool as_features = command.features != Features::kNone;
      const bool with_records = command.records || (as_features && client_.has_records());
      auto found = client_.get(command.ids, command.as_of, with_records);
      if (!found) return fail(found.error());
      note_missing(found->missing);
      found->records.resize(found->entries.size());
      if (as_features) return format_features<D>(*found, command.features);
      if (!with_records) found->records.clear();
      return format_get<D>(*found, settings_.format, settings_.ids_as_strings);
    } else {
      return of_one_server_only();
    }
  }

  Result<std::string> operator()(const StatsCommand&) {
    const Progress progress("waiting for statistics");
    const auto says = client_.server_statistics();
    if (!says) return fail(says.error());
    if constexpr (kOneServer) {
      return format_stats(says->json, settings_.format);
    } else {
      return format_stats(cluster_statistics(client_.map(), *says), settings_.format);
    }
  }

  Result<std::string> operator()(const HistoryCommand&) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the history");
      const auto json = client::Internal::run_task(client_, {.kind = protocol::TaskKind::kHistory});
      if (!json) return fail(json.error());
      return format_history(*json, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const DiffCommand& command) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the differences");
      const auto json = client::Internal::run_task(
          client_, {.kind = protocol::TaskKind::kDiff, .from = command.from, .to = command.to});
      if (!json) return fail(json.error());
      return format_diff(*json, settings_.format, settings_.ids_as_strings);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const BackupCommand& command) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the backup to be written");
      const auto json = client::Internal::run_task(
          client_, {.kind = protocol::TaskKind::kBackup, .text = command.path});
      if (!json) return fail(json.error());
      return format_stats(*json, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()(const CompactCommand& command) {
    const SystemClock clock;
    const Nanoseconds begun = clock.now();
    Progress progress("waiting for the server to pack nodes");
    CompactReport report;
    const Nanoseconds patience = settings_.client.patience;
    if constexpr (kOneServer) {
      if (auto ok = compact_tree<D>(client_, command.fill, patience, progress, report); !ok) {
        return fail(ok.error());
      }
    } else {
      for (const shards::Shard& shard : client_.map().shards) {
        const auto of_shard = [&](const Error& error) {
          return fail(error.code, "shard " + std::to_string(shard.id) + ": " + error.message);
        };
        auto one = Client<D>::connect(shard.url(), settings_.client);
        if (!one) return of_shard(one.error());
        if (auto ok = compact_tree<D>(*one, command.fill, patience, progress, report); !ok) {
          return of_shard(ok.error());
        }
      }
    }
    report.seconds = static_cast<double>(clock.now() - begun) / kSecond;
    return format_compaction(report, settings_.format);
  }

  Result<std::string> operator()(const CollectionsCommand&) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the list of collections");
      const auto json =
          client::Internal::run_task(client_, {.kind = protocol::TaskKind::kCollections});
      if (!json) return fail(json.error());
      return format_collections(*json, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const CreateCommand& command) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the server to create the collection");
      return create_collection<D>(client_, command, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const ChangeCommand& command) {
    if constexpr (kOneServer) {
      const Progress progress("waiting for the server to change the collection");
      return change_collection<D>(client_, command, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()(const PrintCommand& command) { return command.text; }
  Result<std::string> operator()(const KeyCommand& command) { return make_key(command); }
  Result<std::string> operator()(const DoctorCommand& command) {
    return run_doctor(command, settings_);
  }
  Result<std::string> operator()(const ClusterCommand& command) {
    return run_cluster(command, settings_);
  }

  Result<std::string> operator()(const LoadCommand& command) {
    if (auto ok = check_columns(command); !ok) return fail(ok.error());
    auto source = datasets::open_dataset<D>(command.source, open_options(command));
    if (!source) return fail(source.error());
    const SystemClock clock;
    const Nanoseconds begun = clock.now();
    Progress progress("waiting for the server to take a load");
    auto report = Loader<D, Connection>(client_, **source, command, settings_).run(progress);
    if (!report) return fail(report.error());
    report->skipped = (*source)->skipped();
    report->first_skipped = (*source)->first_skipped();
    report->columns = (*source)->description();
    report->notes = (*source)->notes();
    if constexpr (kOneServer && D == 2) {
      if (!client_.is_lonlat()) suggest_lonlat(report->notes);
    }
    report->seconds = static_cast<double>(clock.now() - begun) / kSecond;
    return format_load(*report, settings_.format);
  }

  /// The ids that the command named and of which there is no entry.
  const std::vector<std::uint64_t>& missing() const { return missing_; }

 private:
  static std::string not_keyed() {
    return "the collection is not keyed (silurus create --keyed makes one that is)";
  }
  void note_missing(std::vector<std::uint64_t> ids) { missing_ = std::move(ids); }

  /// A search by a geometry, or one that looks at records.
  Result<std::string> find_features(const RangeCommand& command) requires kOneServer {
    FeatureQuery<D> query{.window = {},
                          .predicate = command.predicate,
                          .where = command.where,
                          .limit = command.limit,
                          .as_of = command.as_of};
    if (command.geometry.empty()) {
      if (auto ok = check_dimensions<D>(command.window, 2, "range"); !ok) return fail(ok.error());
      query.window = box_of<D>(command.window);
    } else {
      auto record = record_of(command.geometry, {});
      if (!record) return fail(record.error());
      const auto box = box_of_geometry<D>(record->geometry);
      if (!box) return fail(box.error().code, "--geometry: " + box.error().message);
      query.window = *box;
      if (command.exact) query.geometry = std::move(record->geometry);
    }
    if (command.records && !client_.has_records()) {
      return fail(ErrorCode::kUnsupported, "--records: the collection has none");
    }
    const Progress progress("waiting for the server to search");
    const auto found = client_.features(query);
    if (!found) return fail(found.error());
    if (command.features != Features::kNone) return format_features<D>(*found, command.features);
    if (command.records && !command.count_only) {
      return format_get<D>(*found, settings_.format, settings_.ids_as_strings);
    }
    RangeAnswer<D> plain;
    plain.version = found->version;
    plain.access = found->access;
    plain.count = found->entries.size();
    for (const KeyedEntry<D>& entry : found->entries) {
      plain.ids.push_back(entry.id);
      plain.boxes.push_back(entry.box);
    }
    const ResultShape shape = command.count_only ? ResultShape::kCount
                              : command.boxes    ? ResultShape::kEntries
                                                 : ResultShape::kIds;
    return format_range<D>(plain, shape, settings_.format, settings_.ids_as_strings);
  }

  Result<std::string> erase_by_id([[maybe_unused]] const EraseCommand& command) requires
      kOneServer {
    if (command.ids.empty()) {
      return fail(ErrorCode::kInvalidArgument,
                  std::string(kUsagePrefix) + "the collection is keyed: erase takes ids alone");
    }
    const Progress progress("waiting for the server to write");
    if (command.if_version.version != 0) {
      return written("erased", command.ids[0], client_.erase(command.ids[0], command.if_version));
    }
    WriteBatch<D> batch;
    for (const std::uint64_t id : command.ids) batch.erase(id);
    const auto done = client_.write(batch);
    if (!done) return fail(done.error());
    std::vector<std::uint64_t> missing;
    for (const FailedWrite& failed : done->failed) {
      if (failed.code != ErrorCode::kNotFound) {
        return fail(failed.code, "id " + std::to_string(command.ids[failed.index]) + ": " +
                                     std::string(to_string(failed.code)));
      }
      missing.push_back(command.ids[failed.index]);
    }
    note_missing(std::move(missing));
    return format_erased(command.ids, *done, settings_.format, settings_.ids_as_strings);
  }

  Result<std::string> nearest(const NearestCommand& command, const Result<NearestAnswer>& found) {
    if (!found) return fail(found.error());
    return format_nearest(*found, command.count_only, settings_.format, settings_.ids_as_strings);
  }

  Result<std::string> written(std::string_view done, std::uint64_t id,
                              const Result<Version>& version) {
    if (!version) return fail(version.error());
    return format_write(done, id, *version, settings_.format, settings_.ids_as_strings);
  }

  /// A list that makes no sense, for a tree of D dimensions, is a mistake in the command line.
  static Status check_columns(const LoadCommand& command) {
    if (command.columns.empty()) return {};
    const auto columns = datasets::Columns<D>::of_list(command.columns);
    if (columns) return {};
    return fail(ErrorCode::kInvalidArgument, kUsagePrefix + columns.error().message);
  }

  Connection& client_;
  const Settings& settings_;
  std::vector<std::uint64_t> missing_;
};

/// Whether a command is about the server as a whole.
bool is_of_no_collection(const Command& command) {
  return std::holds_alternative<StatsCommand>(command) ||
         std::holds_alternative<BackupCommand>(command) ||
         std::holds_alternative<CollectionsCommand>(command) ||
         std::holds_alternative<CreateCommand>(command) ||
         std::holds_alternative<ChangeCommand>(command);
}

template <int D>
Result<Printed> run_in(const Invocation& invocation) {
  std::optional<Progress> progress(std::in_place, "connecting to " + invocation.settings.url);
  ClientOptions options = invocation.settings.client;
  // Statistics come from the one server that is named; if several are named, from the primary among
  // them.
  if (std::holds_alternative<StatsCommand>(invocation.command)) options.follow_primary = false;
  if (is_of_no_collection(invocation.command)) options.collection.clear();
  if (const auto* const join = std::get_if<JoinCommand>(&invocation.command)) {
    options.collection = join->first;
  }
  auto client = Client<D>::connect(invocation.settings.url, options);
  if (!client) return fail(client.error());
  progress.reset();
  Runner<D, Client<D>> runner(*client, invocation.settings);
  auto text = std::visit(runner, invocation.command);
  if (!text) return fail(text.error());
  return Printed{std::move(*text), runner.missing()};
}

template <int D>
Result<Printed> run_in_all_shards(const Invocation& invocation) {
  auto router = Router<D>::connect(invocation.settings.url, invocation.settings.client);
  if (!router) return fail(router.error());
  return std::visit(Runner<D, Router<D>>(*router, invocation.settings), invocation.command);
}

/// What an address leads to.
struct Place {
  int dimensions = 2;
  bool has_shards = false;
};

/// The dimensions of a cluster, if the address names one; nothing if it has no shard map.
Result<std::optional<int>> dimensions_of_cluster(const Settings& settings) {
  if (!etcd::is_address(settings.url)) return std::nullopt;
  const auto group = etcd::GroupAddress::parse(settings.url);
  if (!group) return fail(group.error());
  if (group->shard) return std::nullopt;
  auto store = shards::open_map_store(settings.url, settings.client.connect_timeout);
  if (!store) return fail(store.error());
  const auto stored = (*store)->load();
  if (stored) return stored->map.dimensions;
  if (stored.error().code == ErrorCode::kNotFound) return std::nullopt;
  return fail(stored.error());
}

Result<Place> look_up(const Settings& settings) {
  const Progress progress("looking for " + settings.url);
  const auto sharded = dimensions_of_cluster(settings);
  if (!sharded) return fail(sharded.error());
  if (*sharded) return Place{.dimensions = **sharded, .has_shards = true};
  const auto server = probe(settings.url, settings.client.connect_timeout);
  if (server) return Place{.dimensions = static_cast<int>(server->dimensions)};
  const auto group = etcd::GroupAddress::parse(settings.url);
  if (server.error().code != ErrorCode::kNotFound || !group || group->shard) {
    return fail(server.error());
  }
  return fail(ErrorCode::kNotFound,
              "etcd knows no shard map of a cluster " + group->cluster.name +
                  ", nor members of a group of that name: silurus cluster init makes a map for "
                  "servers that run (silurus help cluster shows how), silurus-server --cluster " +
                  settings.url + " starts a group");
}

}  // namespace

Result<Printed> run(const Invocation& invocation) {
  if (const auto* print = std::get_if<PrintCommand>(&invocation.command)) return print->text;
  if (const auto* cluster = std::get_if<ClusterCommand>(&invocation.command)) {
    return run_cluster(*cluster, invocation.settings);
  }
  if (const auto* key = std::get_if<KeyCommand>(&invocation.command)) return make_key(*key);
  if (const auto* doctor = std::get_if<DoctorCommand>(&invocation.command)) {
    return run_doctor(*doctor, invocation.settings);
  }
  if (const auto* load = std::get_if<LoadCommand>(&invocation.command); load && load->dry_run) {
    return dry_run(*load, invocation.settings.format);
  }
  const auto place = look_up(invocation.settings);
  if (!place) {
    if (!invocation.settings.has_default_url) return fail(place.error());
    return fail(place.error().code,
                place.error().message + " (--server or $SILURUS_SERVER names another one)");
  }
  if (place->has_shards) {
    return place->dimensions == 3 ? run_in_all_shards<3>(invocation)
                                  : run_in_all_shards<2>(invocation);
  }
  return place->dimensions == 3 ? run_in<3>(invocation) : run_in<2>(invocation);
}

bool is_usage_error(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument && error.message.starts_with(kUsagePrefix);
}

}  // namespace silurus::tool
