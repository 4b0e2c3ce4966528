#include "client/tool/commands.h"

#include <algorithm>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "client/client.h"
#include "client/shards/map_store.h"
#include "client/shards/router.h"
#include "client/tool/cluster.h"
#include "client/tool/doctor.h"
#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "datasets/open.h"
#include "datasets/source.h"
#include "etcd/gateway.h"

namespace silurus::tool {
namespace {

constexpr std::size_t kReadBatch = 1 << 14;
/// Of a load by inserts: batches in flight.
constexpr std::size_t kBatchesInFlight = 8;

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

/// What only the versions of one tree can answer.
tl::unexpected<Error> of_one_shard_only() {
  return fail(ErrorCode::kUnsupported,
              "shards have versions of their own, and files on their own machines: ask a shard's "
              "own server (silurus cluster status lists them)");
}

/// Runs commands on a connected client: a Client<D>, or a Router<D> of all shards.
template <int D, typename Connection>
class Runner {
  static constexpr bool kOneServer = std::is_same_v<Connection, Client<D>>;

 public:
  Runner(Connection& client, const Settings& settings) : client_(client), settings_(settings) {}

  Result<std::string> operator()(const RangeCommand& command) {
    if (auto ok = check_dimensions<D>(command.window, 2, "range"); !ok) return fail(ok.error());
    typename Connection::RangeOptions options;
    options.predicate = command.predicate;
    options.shape = command.count_only ? ResultShape::kCount : ResultShape::kIds;
    options.limit = command.limit;
    if constexpr (kOneServer) {
      options.as_of = command.as_of;
    } else if (command.as_of != 0) {
      return of_one_shard_only();
    }
    const auto found = client_.range(box_of<D>(command.window), options);
    if (!found) return fail(found.error());
    return format_range<D>(*found, command.count_only, settings_.format);
  }

  Result<std::string> operator()(const NearestCommand& command) {
    if (auto ok = check_dimensions<D>(command.point, 1, "nearest"); !ok) return fail(ok.error());
    Point<D> point;
    std::ranges::copy(command.point, point.at.begin());
    if constexpr (kOneServer) {
      return nearest(command, client_.nearest(point, command.k, command.as_of));
    } else {
      if (command.as_of != 0) return of_one_shard_only();
      return nearest(command, client_.nearest(point, command.k));
    }
  }

  Result<std::string> operator()(const InsertCommand& command) {
    if (auto ok = check_dimensions<D>(command.box, 2, "insert"); !ok) return fail(ok.error());
    return written("inserted", command.id, client_.insert(command.id, box_of<D>(command.box)));
  }

  Result<std::string> operator()(const EraseCommand& command) {
    if (auto ok = check_dimensions<D>(command.box, 2, "erase"); !ok) return fail(ok.error());
    return written("erased", command.id, client_.erase(command.id, box_of<D>(command.box)));
  }

  Result<std::string> operator()(const UpdateCommand& command) {
    if (auto ok = check_dimensions<D>(command.from, 2, "update"); !ok) return fail(ok.error());
    return written("moved", command.id,
                   client_.update(command.id, box_of<D>(command.from), box_of<D>(command.to)));
  }

  Result<std::string> operator()(const StatsCommand&) {
    const auto json = client_.server_statistics();
    if (!json) return fail(json.error());
    return format_stats(*json, settings_.format);
  }

  Result<std::string> operator()(const HistoryCommand&) {
    if constexpr (kOneServer) {
      const auto json = client_.history();
      if (!json) return fail(json.error());
      return format_history(*json, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const DiffCommand& command) {
    if constexpr (kOneServer) {
      const auto json = client_.difference(command.from, command.to);
      if (!json) return fail(json.error());
      return format_diff(*json, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()([[maybe_unused]] const BackupCommand& command) {
    if constexpr (kOneServer) {
      const auto json = client_.backup(command.path);
      if (!json) return fail(json.error());
      return format_stats(*json, settings_.format);
    } else {
      return of_one_shard_only();
    }
  }

  Result<std::string> operator()(const PrintCommand& command) { return command.text; }
  Result<std::string> operator()(const DoctorCommand& command) {
    return run_doctor(command, settings_);
  }
  Result<std::string> operator()(const ClusterCommand& command) {
    return run_cluster(command, settings_);
  }

  Result<std::string> operator()(const LoadCommand& command) {
    auto source = datasets::open_dataset<D>(command.source, {.skip_bad = command.skip_bad});
    if (!source) return fail(source.error());
    const SystemClock clock;
    const Nanoseconds begun = clock.now();
    LoadReport report;
    const Status started = client_.load_begin();
    Status loaded;
    if (started) {
      report.bulk = true;
      loaded = load_in_bulk(**source, command.fill, report);
    } else if (started.error().code == ErrorCode::kConflict ||
               started.error().code == ErrorCode::kUnsupported) {
      // The tree is not empty, or the server is a member of a group.
      loaded = load_by_inserts(**source, report);
    } else {
      return fail(started.error());
    }
    if (!loaded) return fail(loaded.error());
    report.skipped = (*source)->skipped();
    report.seconds = static_cast<double>(clock.now() - begun) / kSecond;
    return format_load(report, settings_.format);
  }

 private:
  Result<std::string> nearest(const NearestCommand& command, const Result<NearestAnswer>& found) {
    if (!found) return fail(found.error());
    return format_nearest(*found, command.count_only, settings_.format);
  }

  Result<std::string> written(std::string_view done, std::uint64_t id,
                              const Result<Version>& version) {
    if (!version) return fail(version.error());
    return format_write(done, id, *version, settings_.format);
  }

  static double fraction_of(const datasets::Source<D>& source) {
    const datasets::Progress progress = source.progress();
    if (progress.total == 0) return -1;
    return static_cast<double>(progress.done) / static_cast<double>(progress.total);
  }

  /// Reads all of the source, handing it on batch by batch.
  template <typename Take>
  Status read_all(datasets::Source<D>& source, ProgressBar& bar, LoadReport& report, Take&& take) {
    std::vector<Entry<D>> batch(kReadBatch);
    for (;;) {
      const auto count = source.read(batch);
      if (!count) return fail(count.error());
      if (*count == 0) return {};
      if (auto ok = take(std::span<const Entry<D>>(batch).first(*count)); !ok) return ok;
      report.loaded += *count;
      bar.update(fraction_of(source), report.loaded);
    }
  }

  Status load_in_bulk(datasets::Source<D>& source, double fill, LoadReport& report) {
    ProgressBar bar;
    const Status sent = read_all(source, bar, report, [&](std::span<const Entry<D>> entries) {
      return client_.load_add(entries);
    });
    if (!sent) {
      // The first error is the one to tell; the server drops the load with the connection anyway.
      static_cast<void>(client_.load_abort());
      return sent;
    }
    bar.say("building the tree ...");
    const auto committed = client_.load_commit(fill);
    if (!committed) return fail(committed.error());
    report.version = committed->version;
    return {};
  }

  Status load_by_inserts(datasets::Source<D>& source, LoadReport& report) {
    ProgressBar bar;
    Inserts outcome;
    const Status sent = read_all(source, bar, report, [&](std::span<const Entry<D>> entries) {
      while (!entries.empty() && !outcome.error) {
        const auto part = entries.first(std::min(entries.size(), insert_batch()));
        entries = entries.subspan(part.size());
        WriteBatch<D> batch;
        for (const auto& entry : part) batch.insert(entry.id, entry.box);
        if (auto begun = insert(batch, outcome); !begun) return begun;
      }
      return outcome.error ? Status(fail(*outcome.error)) : Status();
    });
    if constexpr (kOneServer) client_.wait();
    report.version = outcome.version;
    if (outcome.error) return fail(*outcome.error);
    return sent;
  }

  struct Inserts {
    std::optional<Error> error;
    Version version = 0;

    void take(const Result<WriteAnswer*>& answer) {
      if (!answer) {
        error = answer.error();
      } else if (!(*answer)->failed.empty()) {
        const ErrorCode code = (*answer)->failed[0].code;
        error = Error{code, "an insert failed: " + std::string(to_string(code))};
      } else {
        version = (*answer)->version;
      }
    }
  };

  std::size_t insert_batch() const {
    if constexpr (kOneServer) {
      return client_.max_batch();
    } else {
      return kReadBatch;
    }
  }

  /// Some batches in flight to a server; a router keeps its shards busy with one.
  Status insert(const WriteBatch<D>& batch, Inserts& outcome) {
    if constexpr (kOneServer) {
      const Status begun = client_.write_async(
          batch, Callback<WriteAnswer>([&outcome](auto answer) { outcome.take(answer); }));
      if (begun) client_.wait_below(kBatchesInFlight);
      return begun;
    } else {
      auto answer = client_.write(batch);
      outcome.take(answer ? Result<WriteAnswer*>(&*answer) : fail(answer.error()));
      return {};
    }
  }

  Connection& client_;
  const Settings& settings_;
};

template <int D>
Result<std::string> run_in(const Invocation& invocation) {
  auto client = Client<D>::connect(invocation.settings.url, invocation.settings.client);
  if (!client) return fail(client.error());
  return std::visit(Runner<D, Client<D>>(*client, invocation.settings), invocation.command);
}

/// The dimensions of a cluster, if the address names one that has a shard map; else 0.
Result<int> dimensions_of_cluster(const std::string& url) {
  if (!etcd::is_address(url)) return 0;
  const auto group = etcd::GroupAddress::parse(url);
  if (!group) return fail(group.error());
  if (group->shard) return 0;
  auto store = shards::open_map_store(url);
  if (!store) return fail(store.error());
  const auto stored = (*store)->load();
  if (stored) return stored->map.dimensions;
  if (stored.error().code == ErrorCode::kNotFound) return 0;
  return fail(stored.error());
}

template <int D>
Result<std::string> run_in_all_shards(const Invocation& invocation) {
  auto router = Router<D>::connect(invocation.settings.url, invocation.settings.client);
  if (!router) return fail(router.error());
  return std::visit(Runner<D, Router<D>>(*router, invocation.settings), invocation.command);
}

}  // namespace

Result<std::string> run(const Invocation& invocation) {
  if (const auto* print = std::get_if<PrintCommand>(&invocation.command)) return print->text;
  if (const auto* cluster = std::get_if<ClusterCommand>(&invocation.command)) {
    return run_cluster(*cluster, invocation.settings);
  }
  if (const auto* doctor = std::get_if<DoctorCommand>(&invocation.command)) {
    return run_doctor(*doctor, invocation.settings);
  }
  const auto sharded = dimensions_of_cluster(invocation.settings.url);
  if (!sharded) return fail(sharded.error());
  if (*sharded == 3) return run_in_all_shards<3>(invocation);
  if (*sharded == 2) return run_in_all_shards<2>(invocation);
  const auto server = probe(invocation.settings.url, invocation.settings.client.connect_timeout);
  if (!server) return fail(server.error());
  return server->dimensions == 3 ? run_in<3>(invocation) : run_in<2>(invocation);
}

bool is_usage_error(const Error& error) {
  return error.code == ErrorCode::kInvalidArgument && error.message.starts_with(kUsagePrefix);
}

}  // namespace silurus::tool
