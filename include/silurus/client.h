// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "silurus/answers.h"
#include "silurus/api.h"
#include "silurus/inline_function.h"
#include "silurus/options.h"
#include "silurus/result.h"
#include "silurus/statistics.h"
#include "silurus/types.h"

namespace silurus {

namespace client {
class Internal;  // the library's own way to what is private
}

/// Where a client looks for a server when none is named: SILURUS_SERVER; else the socket of the
/// user's own server, or that of the system (docs/reference/urls.md).
SILURUS_API std::string default_url();

/// What a server says of itself to anyone.
struct ServerInfo {
  std::uint32_t dimensions = 0;
  bool one_sided = false;  ///< whether searches can be offloaded over this address
};
/// Asks the server at `url` ("shm:///path", "tcp://host:port", "rdma://host:port"), or those that
/// it names as Client::connect() does, one after the other. `timeout`: of all together; etcd, where
/// it knows them, may take as long again.
SILURUS_API Result<ServerInfo> probe(std::string_view url, Nanoseconds timeout = 5 * kSecond);

/// A connection to a Silurus server, or to a group of them, whose tree has D dimensions (2 or 3).
/// One thread at a time; as many clients as you like, each of its own thread. Movable.
///
/// After fork() a client belongs to the parent, which goes on as if nothing had happened. In the
/// child each operation on it fails at once with kInvalidArgument, no callback is called, and its
/// end closes nothing; the child connects clients of its own. The server learns of the parent's end
/// only when the child has ended, too, or executed another program.
///
///   auto client = silurus::Client<2>::connect("shm:///tmp/silurus.sock");
///   auto found = client->range({{-25, 63}, {-13, 67}});
///   if (found) std::printf("%zu boxes\n", found->ids.size());
///
/// A Moment is the number of a version, or moment_at(unix time in nanoseconds).
///
/// Errors: kInvalidArgument names the wrong argument (a NaN, k = 0); kConnectionLost: the server
/// went away, and no other was found (ClientOptions::reconnect_for); kDeadlineExceeded: no answer
/// in time; kInDoubt: a write was sent, and its outcome could not be learnt. When the server
/// is lost, what is under way, asynchronous operations too, is taken up by the next one: searches
/// are asked again; so are writes if a group remembers them (docs/replication.md), each of which
/// happens once. Blocking calls may be made while asynchronous operations are in flight, whose
/// callbacks they then run, but not from a callback.
template <int D>
class SILURUS_API Client {
 public:
  /// `url`: of a server; of the members of one group, parted by commas; or the group's name in
  /// etcd, "etcd://host:port/name", of a shard other than 0 "etcd://host:port/name/7". Who of them
  /// is the primary is found out. kNotFound or kUnavailable: no server there; kUnsupported: it
  /// speaks another version of the protocol, has another number of dimensions, or can't do what
  /// `options.mode` demands.
  static Result<Client> connect(std::string_view url, const ClientOptions& options = {});
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // --- searches
  using RangeOptions = silurus::RangeOptions;
  Result<RangeAnswer<D>> range(const Box<D>& window, const RangeOptions& options = {});
  /// How many entries a range search would find.
  Result<std::uint64_t> count(const Box<D>& window, Predicate predicate = Predicate::kIntersects,
                              Moment as_of = 0);
  /// The k entries nearest to a point, by the distance to their boxes.
  /// `max_distance`: those farther away are not found.
  Result<NearestAnswer> nearest(const Point<D>& point, std::uint32_t k, Moment as_of = 0,
                                double max_distance = std::numeric_limits<double>::infinity());
  /// All entries within a distance of a point, the nearest first; at most kMaxRadiusEntries, the
  /// nearest ones.
  Result<NearestAnswer> radius(const Point<D>& point, double distance, Moment as_of = 0);
  static constexpr std::uint32_t kMaxRadiusEntries = 1u << 16;
  /// Many searches, kept in flight together; answers in the order of the queries. The first error
  /// ends it.
  Result<std::vector<RangeAnswer<D>>> range_batch(std::span<const RangeQuery<D>> queries);
  Result<std::vector<NearestAnswer>> nearest_batch(std::span<const NearestQuery<D>> queries);

  /// Which entries of this collection meet which of another one of the same server, or of this one
  /// with itself: by one walk of both trees, at one version. kNotFound: there is no such
  /// collection.
  Result<JoinAnswer> join(std::string_view other, const JoinQuery& query = {});

  // --- older versions, as far as the server keeps them (its option --retain); kNotFound says which
  // it has
  /// The versions that can be asked, oldest first.
  Result<std::vector<KeptVersion>> history();
  /// What changed between two moments.
  Result<Difference> difference(Moment from, Moment to);
  /// Has the server copy its tree, while it goes on serving, into a new data directory on its own
  /// machine; a server starts from it. `path` is absolute.
  Result<BackupAnswer> backup(std::string_view path);

  // --- writes: each returns the version in which it is visible
  Result<Version> insert(std::uint64_t id, const Box<D>& box);
  /// kNotFound if there is no entry of that id and box; so does update.
  Result<Version> erase(std::uint64_t id, const Box<D>& box);
  Result<Version> update(std::uint64_t id, const Box<D>& from, const Box<D>& to);

  // --- entries by their ids, in keyed collections (CollectionOptions::keyed); kUnsupported in
  // others. There insert() is kConflict if the id is there.
  /// The entries of some ids, all at one version, which may be an older one. In the order of the
  /// ids; those of which there is none apart. More than kMaxGet while others write all the time:
  /// kNotFound, unless the server keeps old versions (--retain). Those of the current version are
  /// read as a search is (Mode), those of an older one, or with records, by message.
  /// `with_records`: with what they carry.
  Result<GetAnswer<D>> get(std::span<const std::uint64_t> ids, Moment as_of = 0,
                           bool with_records = false);
  /// Entries that meet a window or a geometry, and a condition on their properties, with their
  /// records and of one version: their boxes are searched for first, and then the records are read
  /// and looked at here. In a collection without records the boxes are compared, and versions of
  /// entries are 0. kInvalidArgument, kTooLarge: what is wrong with the geometry or the condition.
  /// kNotFound while others write all the time, unless the server keeps old versions (--retain).
  Result<GetAnswer<D>> features(const FeatureQuery<D>& query);
  /// Inserts an entry or gives it another box. With a condition only the latter: kConflict if it
  /// was written since, kNotFound if there is none.
  Result<PutAnswer> put(std::uint64_t id, const Box<D>& box, IfVersion condition = {});
  /// The same with a record, in a collection with records (CollectionOptions::records; else
  /// kUnsupported), which takes the place of that which the entry had. kTooLarge.
  Result<PutAnswer> put(std::uint64_t id, const Box<D>& box, const Record& record,
                        IfVersion condition = {});
  /// kConflict if the id is there.
  Result<Version> insert(std::uint64_t id, const Box<D>& box, const Record& record);
  /// Gives an entry another box: kNotFound if there is none, kConflict as put().
  Result<Version> update(std::uint64_t id, const Box<D>& box, IfVersion condition = {});
  Result<Version> erase(std::uint64_t id, IfVersion condition = {});

  /// All at once, in one version; an operation that fails leaves the others alone. kTooLarge if
  /// there are more than max_batch().
  Result<WriteAnswer> write(const WriteBatch<D>& batch);
  std::size_t max_batch() const;

  // --- collections of the server, whichever this client is for (ClientOptions::collection)
  /// In the order of their names.
  Result<std::vector<CollectionInfo>> collections();
  /// An empty one, of D dimensions. Names have 1 to 63 letters, digits, '_', '-' and '.', of which
  /// the first is a letter, a digit or '_'. kConflict: there is one of that name; kTooLarge: there
  /// are 1,024; kUnsupported: the server cannot do that; kInvalidArgument.
  Status create_collection(std::string_view name, const CollectionOptions& options = {});
  /// With all entries. kNotFound: there is none; kConflict: the default one cannot be dropped.
  Status drop_collection(std::string_view name);
  /// Takes all entries out.
  Status clear_collection(std::string_view name);
  /// Gives a collection another name: from then on clients of the old one get kNoCollection. With
  /// `replace`, another of the new name is dropped at the same moment, and its clients go on with
  /// what has its name now: so a data set is loaded beside the one that serves, and replaces it.
  Status rename_collection(std::string_view from, std::string_view to, bool replace = false);
  /// Text of its owner: printable ASCII, at most 96 bytes.
  Status annotate_collection(std::string_view name, std::string_view note);

  // --- upkeep
  /// One step of a compaction, which packs nodes that erasures have left emptier than `fill` (in
  /// (0, 1]; 0 for the server's default). It takes about half a millisecond and is one version in
  /// which no entry changes. Others may read and write between two steps.
  ///
  ///   std::uint64_t at = 0;
  ///   for (bool is_done = false; !is_done;) {
  ///     const auto step = client->compact(at).value();
  ///     at = step.next, is_done = step.is_done;
  ///     if (step.must_wait) std::this_thread::sleep_for(5ms);
  ///   }
  Result<CompactAnswer> compact(std::uint64_t cursor, double fill = 0);

  // --- bulk load into an empty tree (kConflict if it isn't)
  Result<LoadAnswer> load(std::span<const Entry<D>> entries, double fill = 0);
  /// The same bit by bit: begin, add as often as you like, commit or abort. `fill` of leaves in
  /// (0, 1]; 0 for the server's default.
  Status load_begin();
  Status load_add(std::span<const Entry<D>> entries);
  Result<LoadAnswer> load_commit(double fill = 0);
  Status load_abort();

  // --- asynchronous operations: any number in flight on this one thread
  Status range_async(const RangeQuery<D>& query, Callback<RangeAnswer<D>> callback);
  Status nearest_async(const NearestQuery<D>& query, Callback<NearestAnswer> callback);
  /// At most kMaxGet ids. Of `missing` it says nothing.
  Status get_async(std::span<const std::uint64_t> ids, Moment as_of,
                   Callback<GetAnswer<D>> callback);
  static constexpr std::size_t kMaxGet = 1024;
  Status write_async(const WriteBatch<D>& batch, Callback<WriteAnswer> callback);
  /// As load_commit(), of which the server's part takes long; what was added is waited for.
  Status load_commit_async(double fill, Callback<LoadAnswer> callback);
  /// Sends what was begun, handles what has come. Doesn't wait, but for a lost server's successor
  /// to take the connection (a quarter of a second, or of ClientOptions::silence if that is more;
  /// ClientOptions::connect_timeout if only one server is known; and what etcd takes to answer, a
  /// second at most, if it is asked).
  void poll();
  /// Blocks until fewer than `n` operations are in flight.
  void wait_below(std::size_t n);
  /// Blocks until none is.
  void wait() { wait_below(1); }
  std::size_t in_flight() const;

  // --- about it
  /// The members of the server's group.
  Result<GroupInfo> cluster();
  Result<ServerStatistics> server_statistics();
  ClientStatistics statistics() const;
  void reset_statistics();
  /// Whether the collection's coordinates are degrees (CollectionOptions::lonlat).
  bool is_lonlat() const;
  /// Whether an id is unique in it (CollectionOptions::keyed).
  bool is_keyed() const;
  /// Whether its entries may carry records (CollectionOptions::records).
  bool has_records() const;
  /// Whether searches can be offloaded on this connection.
  bool can_offload() const;
  /// What the connection is to, for messages to people.
  std::string peer() const;

 private:
  struct SILURUS_INTERNAL Impl;
  friend class client::Internal;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace silurus
