// SPDX-License-Identifier: Apache-2.0

#include "silurus/client.h"

#include <algorithm>
#include <limits>
#include <mutex>

#include "python/binding.h"
#include "silurus/geometry.h"

namespace silurus::python {
namespace {

/// Searches of a batch in flight at once: as many as of one of Client::range_batch().
constexpr std::size_t kSearchesInFlight = 64;
/// Write batches in flight at once.
constexpr std::size_t kWritesInFlight = 4;
/// Bytes of records in a batch of writes, unless one alone has more.
constexpr std::size_t kBatchRecordBytes = std::size_t{1} << 18;
/// Entries of a bulk load that are put together at once.
constexpr std::size_t kLoadPart = std::size_t{1} << 15;

Nanoseconds to_nanoseconds(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) throw py::value_error("a time must be 0 or more seconds");
  return static_cast<Nanoseconds>(seconds * 1e9);
}

/// One of several names.
template <typename T>
T choice(const py::handle& value, const char* option,
         std::initializer_list<std::pair<const char*, T>> choices) {
  const auto given = value.cast<std::string>();
  std::string all;
  for (const auto& [name, meaning] : choices) {
    if (given == name) return meaning;
    all += std::string(all.empty() ? "" : ", ") + "\"" + name + "\"";
  }
  throw py::value_error(std::string(option) + " is one of " + all + ", not \"" + given + "\"");
}

/// What connect() takes, by name; the package names and documents them.
ClientOptions to_options(const py::dict& given) {
  ClientOptions options;
  for (const auto& [key, value] : given) {
    const auto name = key.cast<std::string>();
    if (name == "mode") {
      options.mode = choice<Mode>(value, "mode",
                                  {{"messaging", Mode::kMessaging},
                                   {"offload", Mode::kOffload},
                                   {"adaptive", Mode::kAdaptive}});
    } else if (name == "policy") {
      options.policy = choice<PolicyKind>(value, "policy",
                                          {{"cost", PolicyKind::kCost},
                                           {"catfish", PolicyKind::kCatfish},
                                           {"catfish-doubling", PolicyKind::kCatfishDoubling}});
    } else if (name == "wait") {
      options.wait.policy = choice<WaitPolicy>(value, "wait",
                                               {{"adaptive", WaitPolicy::kAdaptive},
                                                {"spin", WaitPolicy::kSpin},
                                                {"sleep", WaitPolicy::kSleep},
                                                {"periodic", WaitPolicy::kPeriodic}});
    } else if (name == "read_from") {
      options.read.from = choice<ReadFrom>(
          value, "read_from", {{"primary", ReadFrom::kPrimary}, {"any", ReadFrom::kAny}});
    } else if (name == "max_staleness") {
      options.read.max_staleness = to_nanoseconds(value.cast<double>());
    } else if (name == "deadline") {
      options.deadline = to_nanoseconds(value.cast<double>());
    } else if (name == "connect_timeout") {
      options.connect_timeout = to_nanoseconds(value.cast<double>());
    } else if (name == "reconnect_for") {
      options.reconnect_for = to_nanoseconds(value.cast<double>());
    } else if (name == "cache_bytes") {
      options.offload.cache_bytes = value.cast<std::size_t>();
    } else if (name == "collection") {
      options.collection = value.cast<std::string>();
    } else if (name == "seed") {
      options.seed = value.cast<std::uint64_t>();
    } else {
      throw py::type_error("there is no option " + name);
    }
  }
  return options;
}

py::dict to_dict(const AccessStatistics& from) {
  py::dict to;
  to["completed"] = from.completed;
  to["failed"] = from.failed;
  to["mean_us"] = from.latency.mean() / 1e3;
  to["p50_us"] = static_cast<double>(from.latency.percentile(50)) / 1e3;
  to["p99_us"] = static_cast<double>(from.latency.percentile(99)) / 1e3;
  to["round_trips"] = from.round_trips;
  to["bytes"] = from.bytes;
  to["nodes_read"] = from.nodes_read;
  to["reads"] = from.reads;
  to["cache_hits"] = from.cache_hits;
  to["cache_misses"] = from.cache_misses;
  to["restarts"] = from.restarts;
  to["given_back"] = from.given_back;
  return to;
}

/// A Client for Python. Calls run without the GIL. They are serialised, so that threads that share
/// one do no harm; each with its own is faster.
template <int D>
class PyClient {
 public:
  PyClient(const std::string& url, const py::dict& options)
      : client_(connect(url, to_options(options))) {}

  // --- searches
  py::array_t<std::uint64_t> range(py::handle box, const std::string& predicate,
                                   std::uint64_t limit, Moment as_of) {
    const Box<D> window = to_box<D>(box);
    const RangeOptions options{
        .predicate = to_predicate(predicate), .limit = limit, .as_of = as_of};
    return to_array(value_of(run([&] { return client_.range(window, options); })).ids);
  }
  py::tuple entries(py::handle box, const std::string& predicate, std::uint64_t limit,
                    Moment as_of) {
    const Box<D> window = to_box<D>(box);
    const RangeOptions options{.predicate = to_predicate(predicate),
                               .shape = ResultShape::kEntries,
                               .limit = limit,
                               .as_of = as_of};
    auto found = value_of(run([&] { return client_.range(window, options); }));
    return py::make_tuple(to_array(std::move(found.ids)), to_array<D>(std::move(found.boxes)));
  }
  std::uint64_t count(py::handle box, const std::string& predicate, Moment as_of) {
    const Box<D> window = to_box<D>(box);
    const Predicate kind = to_predicate(predicate);
    return value_of(run([&] { return client_.count(window, kind, as_of); }));
  }
  py::tuple nearest(py::handle point, std::uint32_t k, Moment as_of, double max_distance) {
    const Point<D> at = to_point<D>(point);
    const auto found = value_of(run([&] { return client_.nearest(at, k, as_of, max_distance); }));
    py::array_t<std::uint64_t> ids(static_cast<py::ssize_t>(found.size()));
    py::array_t<double> distances(static_cast<py::ssize_t>(found.size()));
    for (std::size_t i = 0; i < found.size(); ++i) {
      ids.mutable_data()[i] = found[i].id;
      distances.mutable_data()[i] = found[i].distance;
    }
    return py::make_tuple(ids, distances);
  }
  py::tuple range_v(const Doubles& mins, const Doubles& maxs, const std::string& predicate,
                    Moment as_of) {
    const Rows low = rows_of(mins, D, "mins");
    const Rows high = rows_of(maxs, D, "maxs");
    if (low.count != high.count) throw py::value_error("mins and maxs differ in length");
    const Predicate kind = to_predicate(predicate);
    RangeAnswers answers(low.count);
    const Status searched = run([&]() -> Status {
      const auto window = [&](std::size_t i) { return window_of<D>(low.data, high.data, i); };
      Status status = as_of == 0 ? search(low.count, window, kind, answers)
                                 : search_old(low.count, window, kind, as_of, answers);
      answers.gather();
      return status;
    });
    check(searched);
    return answers.to_arrays();
  }
  py::array_t<std::uint64_t> count_v(const Doubles& mins, const Doubles& maxs,
                                     const std::string& predicate) {
    const Rows low = rows_of(mins, D, "mins");
    const Rows high = rows_of(maxs, D, "maxs");
    if (low.count != high.count) throw py::value_error("mins and maxs differ in length");
    const Predicate kind = to_predicate(predicate);
    py::array_t<std::uint64_t> counts(static_cast<py::ssize_t>(low.count));
    std::uint64_t* out = counts.mutable_data();
    check(run([&] {
      return each(low.count, [&](std::size_t i, Error*& error) {
        return client_.range_async({.window = window_of<D>(low.data, high.data, i),
                                    .predicate = kind,
                                    .shape = ResultShape::kCount},
                                   [this, out, i, &error](Result<RangeAnswer<D>*> answer) {
                                     if (answer) out[i] = (*answer)->count;
                                     note(answer, error);
                                   });
      });
    }));
    return counts;
  }
  py::array_t<std::uint64_t> join(const std::string& other, double within) {
    auto found = value_of(run([&] { return client_.join(other, {.within = within}); }));
    return to_array(std::move(found.pairs));
  }
  py::tuple nearest_v(const Doubles& points, std::uint32_t k, Moment as_of) {
    const Rows rows = rows_of(points, D, "points");
    if (k == 0) throw py::value_error("k must be at least 1");
    NearestAnswers answers(rows.count, k);
    check(run([&]() -> Status {
      const auto point = [&](std::size_t i) {
        Point<D> at;
        std::memcpy(at.at.data(), rows.data + i * D, sizeof at);
        return at;
      };
      for (std::size_t i = 0; as_of != 0 && i < rows.count; ++i) {
        const auto found = client_.nearest(point(i), k, as_of);
        if (!found) return tl::unexpected<Error>(found.error());
        answers.add(i, found->neighbors);
      }
      if (as_of != 0) return {};
      return each(rows.count, [&](std::size_t i, Error*& error) {
        return client_.nearest_async({.point = point(i), .k = k},
                                     [this, &answers, i, &error](Result<NearestAnswer*> answer) {
                                       if (answer) answers.add(i, (*answer)->neighbors);
                                       note(answer, error);
                                     });
      });
    }));
    return answers.to_arrays();
  }

  // --- writes
  Version insert(std::uint64_t id, py::handle box) {
    const Box<D> at = to_box<D>(box);
    return value_of(run([&] { return client_.insert(id, at); }));
  }
  Version erase(std::uint64_t id, py::handle box) {
    const Box<D> at = to_box<D>(box);
    return value_of(run([&] { return client_.erase(id, at); }));
  }
  Version update(std::uint64_t id, py::handle from, py::handle to) {
    const Box<D> before = to_box<D>(from);
    const Box<D> after = to_box<D>(to);
    return value_of(run([&] { return client_.update(id, before, after); }));
  }
  /// (version, [(index, code), ...]) of what had no effect.
  py::tuple insert_v(const Ids& ids, const Doubles& boxes) {
    return write_v(ids, boxes, boxes,
                   [](WriteBatch<D>& batch, std::size_t, std::uint64_t id, const Box<D>& box,
                      const Box<D>&) { batch.insert(id, box); });
  }
  py::tuple erase_v(const Ids& ids, const Doubles& boxes) {
    return write_v(ids, boxes, boxes,
                   [](WriteBatch<D>& batch, std::size_t, std::uint64_t id, const Box<D>& box,
                      const Box<D>&) { batch.erase(id, box); });
  }
  py::tuple update_v(const Ids& ids, const Doubles& from, const Doubles& to) {
    return write_v(ids, from, to,
                   [](WriteBatch<D>& batch, std::size_t, std::uint64_t id, const Box<D>& before,
                      const Box<D>& after) { batch.update(id, before, after); });
  }

  // --- by ids, in keyed collections
  /// (ids, boxes, versions, ids of which there is none, version).
  py::tuple get(const Ids& ids, Moment as_of) {
    if (ids.ndim() != 1) throw py::value_error("ids must have the shape (n,)");
    const std::span<const std::uint64_t> asked(ids.data(), static_cast<std::size_t>(ids.size()));
    auto found = value_of(run([&] { return client_.get(asked, as_of); }));
    std::vector<std::uint64_t> there;
    std::vector<Box<D>> boxes;
    std::vector<std::uint64_t> versions;
    for (const KeyedEntry<D>& entry : found.entries) {
      there.push_back(entry.id);
      boxes.push_back(entry.box);
      versions.push_back(entry.version);
    }
    return py::make_tuple(to_array(std::move(there)), to_array<D>(std::move(boxes)),
                          to_array(std::move(versions)), to_array(std::move(found.missing)),
                          found.version);
  }
  /// (version, whether there was one).
  py::tuple put(std::uint64_t id, py::handle box, Version if_version) {
    const Box<D> at = to_box<D>(box);
    const auto done = value_of(run([&] { return client_.put(id, at, {if_version}); }));
    return py::make_tuple(done.version, done.replaced);
  }
  Version update_by_id(std::uint64_t id, py::handle box, Version if_version) {
    const Box<D> at = to_box<D>(box);
    return value_of(run([&] { return client_.update(id, at, IfVersion{if_version}); }));
  }
  Version erase_by_id(std::uint64_t id, Version if_version) {
    return value_of(run([&] { return client_.erase(id, IfVersion{if_version}); }));
  }
  py::tuple put_v(const Ids& ids, const Doubles& boxes) {
    return write_v(ids, boxes, boxes,
                   [](WriteBatch<D>& batch, std::size_t, std::uint64_t id, const Box<D>& box,
                      const Box<D>&) { batch.put(id, box); });
  }
  py::tuple erase_ids(const Ids& ids) {
    const Doubles none(std::vector<py::ssize_t>{ids.size(), 2 * D});
    return write_v(ids, none, none,
                   [](WriteBatch<D>& batch, std::size_t, std::uint64_t id, const Box<D>&,
                      const Box<D>&) { batch.erase(id); });
  }

  // --- entries with records
  /// (ids, boxes, versions, [geometry or None], [properties or None], ids of which there is none,
  /// version).
  py::tuple get_features(const Ids& ids, Moment as_of) {
    if (ids.ndim() != 1) throw py::value_error("ids must have the shape (n,)");
    const std::span<const std::uint64_t> asked(ids.data(), static_cast<std::size_t>(ids.size()));
    return to_features(value_of(run([&] { return client_.get(asked, as_of, true); })));
  }
  py::tuple features(py::handle box, const py::bytes& geometry, const std::string& predicate,
                     const std::string& where, std::uint64_t limit, Moment as_of) {
    FeatureQuery<D> query{.window = box.is_none() ? Box<D>() : to_box<D>(box),
                          .predicate = to_predicate(predicate),
                          .geometry = geometry,
                          .where = where,
                          .limit = limit,
                          .as_of = as_of};
    return to_features(value_of(run([&] { return client_.features(query); })));
  }
  /// Each geometry is bytes, each of the properties a text; empty ones are none. `boxes`: (n, 2 D)
  /// numbers, or None for the geometries' own.
  py::tuple put_features(const Ids& ids, const py::list& geometries, const py::list& properties,
                         const py::object& boxes) {
    std::vector<Record> records(geometries.size());
    if (properties.size() != records.size()) {
      throw py::value_error("geometries and properties differ in length");
    }
    for (std::size_t i = 0; i < records.size(); ++i) {
      records[i] = {geometries[i].cast<std::string>(), properties[i].cast<std::string>()};
    }
    const Doubles at = boxes.is_none() ? boxes_about(records) : boxes.cast<Doubles>();
    check_ids(ids, records.size());
    return write_v(
        ids, at, at,
        [&](WriteBatch<D>& batch, std::size_t i, std::uint64_t id, const Box<D>& box,
            const Box<D>&) { batch.put(id, box, records[i]); },
        [&](std::size_t i) { return records[i].geometry.size() + records[i].properties.size(); });
  }

  py::tuple load(const Ids& ids, const Doubles& boxes, double fill) {
    const Rows rows = rows_of(boxes, 2 * D, "boxes");
    check_ids(ids, rows.count);
    const std::uint64_t* id_data = ids.data();
    const LoadAnswer answer = value_of(run([&]() -> Result<LoadAnswer> {
      if (Status begun = client_.load_begin(); !begun) return tl::unexpected<Error>(begun.error());
      std::vector<Entry<D>> part;
      for (std::size_t first = 0; first < rows.count; first += kLoadPart) {
        fill_entries(part, id_data, rows.data, first, std::min(kLoadPart, rows.count - first));
        if (Status added = client_.load_add(part); !added) {
          // As Client::load(): one that doesn't answer isn't waited for again.
          if (added.error().code != ErrorCode::kDeadlineExceeded) (void)client_.load_abort();
          return tl::unexpected<Error>(added.error());
        }
      }
      return client_.load_commit(fill);
    }));
    return py::make_tuple(answer.version, answer.entries);
  }

  // --- about it
  std::string server_statistics() {
    return value_of(run([&] { return client_.server_statistics(); })).json;
  }
  std::string cluster() {
    return value_of(run([&] { return client_.cluster(); })).json;
  }
  /// [(version, Unix time in ns, entries), ...], oldest first.
  py::list history() {
    py::list list;
    for (const KeptVersion& one : value_of(run([&] { return client_.history(); }))) {
      list.append(py::make_tuple(one.version, one.unix_ns, one.entries));
    }
    return list;
  }
  py::tuple difference(Moment from, Moment to) {
    auto found = value_of(run([&] { return client_.difference(from, to); }));
    return py::make_tuple(found.from, found.to, to_array(std::move(found.inserted)),
                          to_array(std::move(found.erased)), to_array(std::move(found.moved)));
  }
  py::tuple backup(const std::string& path) {
    const auto made = value_of(run([&] { return client_.backup(path); }));
    return py::make_tuple(made.path, made.version, made.entries);
  }
  /// [(name, dimensions, entries, version, note, keyed, lonlat, records), ...], in the order of the
  /// names.
  py::list collections() {
    py::list list;
    for (const CollectionInfo& one : value_of(run([&] { return client_.collections(); }))) {
      list.append(py::make_tuple(one.name, one.dimensions, one.entries, one.version, one.note,
                                 one.options.keyed, one.options.lonlat, one.options.records));
    }
    return list;
  }
  void create_collection(const std::string& name, bool lonlat, bool keyed, bool records) {
    const CollectionOptions options{.keyed = keyed, .lonlat = lonlat, .records = records};
    check(run([&] { return client_.create_collection(name, options); }));
  }
  void drop_collection(const std::string& name) {
    check(run([&] { return client_.drop_collection(name); }));
  }
  void clear_collection(const std::string& name) {
    check(run([&] { return client_.clear_collection(name); }));
  }
  void rename_collection(const std::string& from, const std::string& to, bool replace) {
    check(run([&] { return client_.rename_collection(from, to, replace); }));
  }
  /// (next, is_done, must_wait).
  py::tuple compact(std::uint64_t cursor, double fill) {
    const auto step = value_of(run([&] { return client_.compact(cursor, fill); }));
    return py::make_tuple(step.next, step.is_done, step.must_wait);
  }
  py::dict statistics() {
    const ClientStatistics from = run([&] { return client_.statistics(); });
    py::dict to;
    to["messaging"] = to_dict(from.messaging);
    to["offload"] = to_dict(from.offload);
    to["writes"] = to_dict(from.writes);
    to["deadlines_exceeded"] = from.deadlines_exceeded;
    to["reconnects"] = from.reconnects;
    to["asked_of_backups"] = from.asked_of_backups;
    to["refused_answers"] = from.refused_answers;
    to["heartbeats"] = from.heartbeats;
    to["server_cpu_busy"] = from.server_cpu_busy;
    to["cached_nodes"] = from.cached_nodes;
    return to;
  }
  void reset_statistics() {
    run([&] { client_.reset_statistics(); });
  }
  bool can_offload() {
    return run([&] { return client_.can_offload(); });
  }
  std::string peer() {
    return run([&] { return client_.peer(); });
  }
  std::size_t max_batch() {
    return run([&] { return client_.max_batch(); });
  }

 private:
  static Client<D> connect(const std::string& url, const ClientOptions& options) {
    Result<Client<D>> made = [&] {
      py::gil_scoped_release released;
      return Client<D>::connect(url, options);
    }();
    return value_of(std::move(made));
  }

  static Doubles boxes_about(const std::vector<Record>& records) {
    Doubles boxes(std::vector<py::ssize_t>{static_cast<py::ssize_t>(records.size()), 2 * D});
    for (std::size_t i = 0; i < records.size(); ++i) {
      auto box = box_of_geometry<D>(records[i].geometry);
      if (!box) {
        raise(box.error().code, "geometry " + std::to_string(i) + ": " + box.error().message);
      }
      std::memcpy(boxes.mutable_data(static_cast<py::ssize_t>(i)), &*box, sizeof *box);
    }
    return boxes;
  }
  static py::tuple to_features(GetAnswer<D> found) {
    std::vector<std::uint64_t> ids;
    std::vector<Box<D>> boxes;
    std::vector<std::uint64_t> versions;
    py::list geometries;
    py::list properties;
    for (const KeyedEntry<D>& entry : found.entries) {
      ids.push_back(entry.id);
      boxes.push_back(entry.box);
      versions.push_back(entry.version);
    }
    for (const Record& record : found.records) {
      geometries.append(record.geometry.empty() ? py::object(py::none())
                                                : py::object(py::bytes(record.geometry)));
      properties.append(record.properties.empty() ? py::object(py::none())
                                                  : py::object(py::str(record.properties)));
    }
    return py::make_tuple(to_array(std::move(ids)), to_array<D>(std::move(boxes)),
                          to_array(std::move(versions)), geometries, properties,
                          to_array(std::move(found.missing)), found.version);
  }

  /// Runs a call without the GIL, one at a time. The mutex is taken without the GIL and given back
  /// before it is taken again: no thread waits for the one while it holds the other.
  template <typename F>
  auto run(F&& f) {
    py::gil_scoped_release released;
    const std::lock_guard lock(mutex_);
    return f();
  }

  /// Keeps the first error of a batch, whose place is `error` until the batch ends.
  template <typename Answer>
  void note(Result<Answer*>& answer, Error*& error) {
    if (answer || error != nullptr) return;
    error_ = std::move(answer.error());
    error = &error_;
  }
  /// Begins operations 0 to count - 1, `in_flight` of them at once, and waits for all. The first
  /// error ends it.
  template <typename Begin>
  Status each(std::size_t count, Begin&& begin, std::size_t in_flight = kSearchesInFlight) {
    Error* error = nullptr;
    for (std::size_t i = 0; i < count && error == nullptr; ++i) {
      if (Status begun = begin(i, error); !begun) {
        client_.wait();
        return begun;
      }
      client_.wait_below(in_flight);
    }
    client_.wait();
    if (error != nullptr) return tl::unexpected<Error>(*error);
    return {};
  }
  template <typename Window>
  Status search(std::size_t count, Window&& window, Predicate kind, RangeAnswers& answers) {
    return each(count, [&](std::size_t i, Error*& error) {
      return client_.range_async({.window = window(i), .predicate = kind},
                                 [this, &answers, i, &error](Result<RangeAnswer<D>*> answer) {
                                   if (answer) answers.add(i, (*answer)->ids);
                                   note(answer, error);
                                 });
    });
  }
  /// Searches an older version, one window after the other: asynchronous searches are for the
  /// current one.
  template <typename Window>
  Status search_old(std::size_t count, Window&& window, Predicate kind, Moment as_of,
                    RangeAnswers& answers) {
    for (std::size_t i = 0; i < count; ++i) {
      const auto found = client_.range(window(i), {.predicate = kind, .as_of = as_of});
      if (!found) return tl::unexpected<Error>(found.error());
      answers.add(i, found->ids);
    }
    return {};
  }

  /// Where the batches begin into which that many writes are parted, and where the last one ends.
  template <typename BytesOf>
  std::vector<std::size_t> part(std::size_t count, BytesOf&& bytes_of) const {
    const std::size_t most = client_.max_batch();
    std::vector<std::size_t> begins = {0};
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t more = bytes_of(i);
      const std::size_t first = begins.back();
      if (i > first && (i - first == most || bytes + more > kBatchRecordBytes)) {
        begins.push_back(i);
        bytes = 0;
      }
      bytes += more;
    }
    if (count > 0) begins.push_back(count);
    return begins;
  }
  /// `bytes_of(i)`: bytes of the record of write i.
  template <typename Add>
  py::tuple write_v(const Ids& ids, const Doubles& from, const Doubles& to, Add&& add) {
    return write_v(ids, from, to, std::forward<Add>(add), [](std::size_t) { return 0; });
  }
  template <typename Add, typename BytesOf>
  py::tuple write_v(const Ids& ids, const Doubles& from, const Doubles& to, Add&& add,
                    BytesOf&& bytes_of) {
    const Rows before = rows_of(from, 2 * D, "boxes");
    const Rows after = rows_of(to, 2 * D, "boxes");
    check_ids(ids, before.count);
    if (before.count != after.count) throw py::value_error("the boxes differ in length");
    const std::uint64_t* id_data = ids.data();
    struct {
      Version version = 0;
      std::size_t applied = 0;
      std::vector<std::pair<std::size_t, ErrorCode>> failed;
    } outcome;
    Status written = run([&]() -> Status {
      const auto begins = part(before.count, bytes_of);
      WriteBatch<D> batch;
      const auto begin = [&](std::size_t number, Error*& error) {
        const std::size_t first = begins[number];
        const std::size_t count = begins[number + 1] - first;
        batch.clear();
        for (std::size_t i = first; i < first + count; ++i) {
          add(batch, i, id_data[i], box_of<D>(before.data, i), box_of<D>(after.data, i));
        }
        return client_.write_async(
            batch, [this, first, count, &outcome, &error](Result<WriteAnswer*> answer) {
              if (answer) {
                outcome.applied += count - (*answer)->failed.size();
                outcome.version = std::max(outcome.version, (*answer)->version);
                for (const FailedWrite& one : (*answer)->failed) {
                  outcome.failed.emplace_back(first + one.index, one.code);
                }
              }
              note(answer, error);
            });
      };
      return each(begins.size() - 1, begin, kWritesInFlight);
    });
    if (!written && before.count > 1) {
      written.error().message += "; " + std::to_string(outcome.applied) + " of " +
                                 std::to_string(before.count) +
                                 " writes were applied, more may have been";
    }
    check(written);
    py::list list;
    std::sort(outcome.failed.begin(), outcome.failed.end());
    for (const auto& [index, code] : outcome.failed) {
      list.append(py::make_tuple(index, static_cast<int>(code)));
    }
    return py::make_tuple(outcome.version, list);
  }

  Client<D> client_;
  std::mutex mutex_;
  Error error_;  ///< first error of the batch under way
};

template <int D>
void bind_client(py::module_& module, const char* name) {
  using py::arg;
  using C = PyClient<D>;
  constexpr std::uint64_t kAll = UINT64_MAX;
  py::class_<C>(module, name)
      .def(py::init<const std::string&, const py::dict&>(), arg("url"), arg("options"))
      .def("range", &C::range, arg("box"), arg("predicate") = "intersects", arg("limit") = kAll,
           arg("as_of") = 0)
      .def("entries", &C::entries, arg("box"), arg("predicate") = "intersects", arg("limit") = kAll,
           arg("as_of") = 0)
      .def("count", &C::count, arg("box"), arg("predicate") = "intersects", arg("as_of") = 0)
      .def("nearest", &C::nearest, arg("point"), arg("k") = 1, arg("as_of") = 0,
           arg("max_distance") = std::numeric_limits<double>::infinity())
      .def("range_v", &C::range_v, arg("mins"), arg("maxs"), arg("predicate") = "intersects",
           arg("as_of") = 0)
      .def("count_v", &C::count_v, arg("mins"), arg("maxs"), arg("predicate") = "intersects")
      .def("join", &C::join, arg("other"), arg("within_distance") = 0.0)
      .def("nearest_v", &C::nearest_v, arg("points"), arg("k") = 1, arg("as_of") = 0)
      .def("insert", &C::insert, arg("id"), arg("box"))
      .def("erase", &C::erase, arg("id"), arg("box"))
      .def("update", &C::update, arg("id"), arg("from_box"), arg("to_box"))
      .def("insert_v", &C::insert_v, arg("ids"), arg("boxes"))
      .def("erase_v", &C::erase_v, arg("ids"), arg("boxes"))
      .def("update_v", &C::update_v, arg("ids"), arg("from_boxes"), arg("to_boxes"))
      .def("get", &C::get, arg("ids"), arg("as_of") = 0)
      .def("put", &C::put, arg("id"), arg("box"), arg("if_version") = 0)
      .def("update_by_id", &C::update_by_id, arg("id"), arg("box"), arg("if_version") = 0)
      .def("erase_by_id", &C::erase_by_id, arg("id"), arg("if_version") = 0)
      .def("put_v", &C::put_v, arg("ids"), arg("boxes"))
      .def("erase_ids", &C::erase_ids, arg("ids"))
      .def("get_features", &C::get_features, arg("ids"), arg("as_of") = 0)
      .def("features", &C::features, arg("box"), arg("geometry"), arg("predicate"), arg("where"),
           arg("limit") = kAll, arg("as_of") = 0)
      .def("put_features", &C::put_features, arg("ids"), arg("geometries"), arg("properties"),
           arg("boxes"))
      .def("load", &C::load, arg("ids"), arg("boxes"), arg("fill") = 0.0)
      .def("server_statistics", &C::server_statistics)
      .def("cluster", &C::cluster)
      .def("history", &C::history)
      .def("difference", &C::difference, arg("from_moment"), arg("to_moment"))
      .def("backup", &C::backup, arg("path"))
      .def("compact", &C::compact, arg("cursor"), arg("fill") = 0.0)
      .def("collections", &C::collections)
      .def("create_collection", &C::create_collection, arg("name"), arg("lonlat") = false,
           arg("keyed") = false, arg("records") = false)
      .def("drop_collection", &C::drop_collection, arg("name"))
      .def("clear_collection", &C::clear_collection, arg("name"))
      .def("rename_collection", &C::rename_collection, arg("from_name"), arg("to_name"),
           arg("replace") = false)
      .def("statistics", &C::statistics)
      .def("reset_statistics", &C::reset_statistics)
      .def("can_offload", &C::can_offload)
      .def("peer", &C::peer)
      .def("max_batch", &C::max_batch);
}

}  // namespace

void bind_clients(py::module_& module) {
  bind_client<2>(module, "Client2");
  bind_client<3>(module, "Client3");
  module.def("default_url", &default_url);
  module.def(
      "probe",
      [](const std::string& url, double timeout) {
        const Nanoseconds most = to_nanoseconds(timeout);
        Result<ServerInfo> info = [&] {
          py::gil_scoped_release released;
          return probe(url, most);
        }();
        const ServerInfo known = value_of(std::move(info));
        return py::make_tuple(known.dimensions, known.one_sided);
      },
      py::arg("url"), py::arg("timeout") = 5.0);
  module.def(
      "geometry_of_text",
      [](const std::string& text) { return py::bytes(value_of(geometry_of_text(text))); },
      py::arg("text"));
  module.def("moment_at", &moment_at, py::arg("unix_ns"));
}

}  // namespace silurus::python
