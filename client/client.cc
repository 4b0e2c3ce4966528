// SPDX-License-Identifier: Apache-2.0

#include "silurus/client.h"

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

#include "client/compaction.h"
#include "client/core.h"
#include "client/directory.h"
#include "client/environment.h"
#include "client/features.h"
#include "client/full_tree.h"
#include "client/internal.h"
#include "client/parse_answers.h"
#include "client/records.h"
#include "common/home_process.h"
#include "protocol/default_url.h"
#include "transport/fabric.h"

namespace silurus {

namespace request = client::request;

namespace {

/// Searches of a batch that are in flight at once: enough to keep a server busy.
constexpr std::size_t kBatchInFlight = 64;
constexpr std::size_t kLoadInFlight = 16;
/// Time that a client which may read from any member waits to hear of them, when it has connected.
constexpr Nanoseconds kLearnReadersFor = 100 * kMillisecond;

/// Time that etcd may take to name the members of a group.
constexpr Nanoseconds kAskDirectoryFor = kSecond;

/// Waits out the answers of a hello-only connection.
class NoHandler final : public transport::ConnectionHandler {
 public:
  void on_message(transport::Connection&, std::span<const std::byte>) override {}
  void on_read(transport::Connection&, std::uint64_t, bool) override {}
  void on_writable(transport::Connection&) override {}
  void on_closed(transport::Connection&, const Error&) override {}
};

/// Why the server refused an operation, of which it tells the code alone.
template <int D>
std::string why_not(const Operation<D>& operation, ErrorCode code) {
  const bool by_id = is_by_id(operation.kind);
  if (code == ErrorCode::kNotFound) {
    return by_id ? "there is no entry of that id"
                 : "there is no such entry (id and box must both match)";
  }
  if (code == ErrorCode::kConflict) {
    return by_id ? "the entry was not written last in version " + std::to_string(operation.expected)
                 : "there is an entry of that id already";
  }
  if (code == ErrorCode::kUnsupported && operation.record_bytes != 0) {
    return "the collection has no records (silurus create --records)";
  }
  if (code == ErrorCode::kUnsupported && by_id) {
    return "the collection is not keyed (silurus create --keyed)";
  }
  return std::string(to_string(code));
}

Result<ServerInfo> probe_one(const std::string& url, Nanoseconds timeout) {
  const auto address = transport::Address::parse(url);
  if (!address) return fail(address.error());
  const auto fabrics = client::real_environment().open_fabrics({});
  if (!fabrics) return fail(fabrics.error());
  const auto way = (*fabrics)->route_to(*address);
  if (!way) return fail(way.error());
  const protocol::ClientHello hello;
  NoHandler handler;
  auto connection = way->fabric->connect(
      *address, {.timeout = timeout}, *way->poller,
      std::as_bytes(std::span<const protocol::ClientHello, 1>(&hello, 1)), handler);
  if (!connection) return fail(connection.error());
  const auto server = protocol::decode_server_hello((*connection)->peer_hello(), 0);
  if (!server) return fail(server.error());
  return ServerInfo{.dimensions = server->dimensions, .one_sided = server->one_sided != 0};
}

/// What a URL names: servers, or where they are listed.
struct Places {
  std::vector<std::string> urls;
  std::unique_ptr<client::Directory> directory;
};
Result<Places> places_of(std::string_view url, client::Environment& environment,
                         Nanoseconds timeout) {
  if (url.starts_with("static://")) {
    return fail(ErrorCode::kInvalidArgument,
                "\"" + std::string(url) +
                    "\" is where members of a group meet: a client names where "
                    "they listen for clients, tcp://A:PORT,tcp://B:PORT");
  }
  if (!etcd::is_address(url)) return Places{client::split_urls(url), nullptr};
  const auto address = etcd::GroupAddress::parse(url);
  if (!address) return fail(address.error());
  auto directory = client::EtcdDirectory::create(*address, environment, timeout);
  if (!directory) return fail(directory.error());
  return Places{{}, std::move(*directory)};
}

}  // namespace

std::string default_url() { return protocol::default_url(); }

Result<ServerInfo> probe(std::string_view url, Nanoseconds timeout) {
  auto places = places_of(url, client::real_environment(), timeout);
  if (!places) return fail(places.error());
  if (places->directory != nullptr) {
    auto urls = places->directory->members();
    if (!urls) return fail(urls.error());
    places->urls = std::move(*urls);
  }
  Error error{ErrorCode::kInvalidArgument, "no server is named"};
  const auto count = static_cast<Nanoseconds>(std::max<std::size_t>(places->urls.size(), 1));
  for (const std::string& one : places->urls) {
    auto info = probe_one(one, std::max(timeout / count, kMillisecond));
    if (info) return info;
    error = std::move(info.error());
  }
  return fail(std::move(error));
}

/// Members in order of creation: the connections go before their pollers and fabrics.
template <int D>
struct Client<D>::Impl {
  // A bulk load under way. First: the core ends calls when it is destroyed, and their callbacks
  // write here.
  std::uint64_t load_sent = 0;
  std::size_t load_unanswered = 0;
  std::optional<Error> load_error;

  std::unique_ptr<client::Fabrics> fabrics;
  std::unique_ptr<client::ClientCore<D>> core;
  const HomeProcess home = {};

  ~Impl() {
    if (!home.is_left()) return;
    // They are the parent's: to close them would reach into its connection, and its event loop. So
    // they are left as they are until this process ends.
    static_cast<void>(core.release());
    static_cast<void>(fabrics.release());
  }

  /// kInvalidArgument in a child of the process that connected.
  Status check_process() const {
    if (!home.is_left()) return {};
    return fail(ErrorCode::kInvalidArgument,
                "this client was connected before fork() and is the parent's: a child has to "
                "connect a client of its own");
  }

  /// Drives everything once, sleeping if nothing happens.
  void drive() {
    core->flush();
    if (core->settle() > 0) return;
    const std::size_t events = fabrics->wait(core->max_wait());
    core->settle(events == 0);
  }

  /// Runs a request that is answered with text.
  template <typename Kind>
  Result<std::string> text(const Kind& request) {
    auto answer = call(request);
    if (!answer) return fail(answer.error());
    return std::move(answer->json);
  }

  /// The same, where it only matters that it was done.
  template <typename Kind>
  Status done(const Kind& request) {
    const auto answer = text(request);
    return answer ? Status() : fail(answer.error());
  }

  /// The same, of which `parse` makes what the caller gets.
  template <typename Kind, typename Parse>
  auto parsed(const Kind& request, Parse&& parse) -> decltype(parse(std::string())) {
    auto answer = text(request);
    if (!answer) return fail(std::move(answer.error()));
    return parse(std::move(*answer));
  }

  /// Begins a request.
  template <typename Kind>
  Status submit(const Kind& request, Callback<typename Kind::Answer> callback) {
    if (auto ok = check_process(); !ok) return ok;
    return core->submit(request, std::move(callback));
  }

  /// Runs a request to its end and takes its answer out.
  template <typename Kind>
  Result<typename Kind::Answer> call(const Kind& request) {
    using Answer = typename Kind::Answer;
    std::optional<Result<Answer>> outcome;
    const Status begun = submit(request, [&outcome](Result<Answer*> answer) {
      if (answer) {
        outcome = std::exchange(**answer, Answer());
      } else {
        outcome = fail(std::move(answer.error()));
      }
    });
    if (!begun) return fail(begun.error());
    while (!outcome) drive();
    return std::move(*outcome);
  }

  /// Runs many searches, some of them in flight together; `request_of(query)`.
  template <typename Query, typename RequestOf>
  auto batch(std::span<const Query> queries, RequestOf&& request_of)
      -> Result<std::vector<typename std::invoke_result_t<RequestOf, const Query&>::Answer>> {
    using Answer = typename std::invoke_result_t<RequestOf, const Query&>::Answer;
    if (auto ok = check_process(); !ok) return fail(ok.error());
    struct Batch {
      std::vector<Answer> answers;
      std::optional<Error> error;
      std::size_t unanswered = 0;
    } batch;
    batch.answers.resize(queries.size());
    for (std::size_t i = 0; i < queries.size() && !batch.error; ++i) {
      const Status begun = submit(request_of(queries[i]), [&batch, i](Result<Answer*> answer) {
        --batch.unanswered;
        if (answer) {
          std::swap(batch.answers[i], **answer);
        } else if (!batch.error) {
          batch.error = std::move(answer.error());
        }
      });
      if (!begun) {
        batch.error = begun.error();
        break;
      }
      ++batch.unanswered;
      while (batch.unanswered >= kBatchInFlight) drive();
    }
    while (batch.unanswered > 0) drive();
    if (batch.error) return fail(*batch.error);
    return std::move(batch.answers);
  }

  /// Waits for the answers to what was added to a load; what went wrong.
  Status await_load() {
    if (auto ok = check_process(); !ok) return ok;
    while (load_unanswered > 0) drive();
    return load_error ? Status(fail(*load_error)) : Status{};
  }

  Result<Version> write_one(const WriteBatch<D>& batch) {
    const auto answer = write_one_whole(batch);
    if (!answer) return fail(answer.error());
    return answer->version;
  }

  /// The same with all that is said of it.
  Result<WriteAnswer> write_one_whole(const WriteBatch<D>& batch) {
    if (auto ok = batch.check(); !ok) return fail(ok.error());
    auto answer = call(request::Write<D>{batch.operations(), batch.records()});
    if (!answer || answer->failed.empty()) return answer;
    const ErrorCode code = answer->failed.front().code;
    const std::string why =
        code == ErrorCode::kOutOfMemory
            ? client::full_tree_text(parsed(request::Statistics(), client::parse_statistics))
            : why_not(batch.operations().front(), code);
    return fail(code, "id " + std::to_string(batch.operations().front().id) + ": " + why);
  }
};

template <int D>
Status WriteBatch<D>::check() const {
  return bad_ ? fail(*bad_) : Status();
}

template <int D>
WriteBatch<D>& WriteBatch<D>::add_record(const Record& record) {
  if (record.empty()) return *this;
  Operation<D>& operation = operations_.back();
  const auto encoded = client::encode_record(record, operation.box);
  if (!encoded) {
    if (!bad_) {
      bad_ = Error{encoded.error().code,
                   "id " + std::to_string(operation.id) + ": " + encoded.error().message};
    }
    return *this;
  }
  const auto bytes = std::as_bytes(std::span(*encoded));
  records_.insert(records_.end(), bytes.begin(), bytes.end());
  operation.record_bytes = static_cast<std::uint32_t>(bytes.size());
  return *this;
}

template <int D>
Client<D>::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <int D>
Client<D>::Client(Client&&) noexcept = default;
template <int D>
Client<D>& Client<D>::operator=(Client&&) noexcept = default;
template <int D>
Client<D>::~Client() = default;

template <int D>
Result<Client<D>> Client<D>::connect(std::string_view url, const ClientOptions& options) {
  return client::Internal::connect<D>(url, options, client::real_environment());
}

template <int D>
Result<Client<D>> client::Internal::connect(std::string_view url, const ClientOptions& given,
                                            Environment& environment) {
  auto impl = std::make_unique<typename Client<D>::Impl>();
  ClientOptions options = given;
  if (options.client_id == 0) options.client_id = environment.random_id();
  // While a primary is looked for etcd is asked again and again: none of that may take long.
  auto places = places_of(url, environment, std::min(options.connect_timeout, kAskDirectoryFor));
  if (!places) return fail(places.error());
  auto fabrics = environment.open_fabrics(options.wait);
  if (!fabrics) return fail(fabrics.error());
  impl->fabrics = std::move(*fabrics);
  const Clock& clock = environment.clock();
  auto core = client::ClientCore<D>::create(std::move(places->urls), std::move(places->directory),
                                            *impl->fabrics, clock, options);
  if (!core) return fail(core.error());
  impl->core = std::move(*core);
  while (!impl->core->ready() && !impl->core->has_readers()) {
    if (impl->core->failure()) return fail(*impl->core->failure());
    impl->drive();
  }
  // Else the first searches would all be the primary's.
  const Nanoseconds until = clock.now() + kLearnReadersFor;
  while (!impl->core->knows_readers() && clock.now() < until) impl->drive();
  return Client<D>(std::move(impl));
}

template <int D>
Result<RangeAnswer<D>> Client<D>::range(const Box<D>& window, const RangeOptions& options) {
  return impl_->call(request::Range<D>{.query = {.window = window,
                                                 .predicate = options.predicate,
                                                 .shape = options.shape,
                                                 .limit = options.limit},
                                       .as_of = options.as_of});
}

template <int D>
Result<std::uint64_t> Client<D>::count(const Box<D>& window, Predicate predicate, Moment as_of) {
  auto found =
      range(window, {.predicate = predicate, .shape = ResultShape::kCount, .as_of = as_of});
  if (!found) return fail(found.error());
  return found->count;
}

template <int D>
Result<NearestAnswer> Client<D>::nearest(const Point<D>& point, std::uint32_t k, Moment as_of,
                                         double max_distance) {
  return impl_->call(request::Nearest<D>{
      .query = {.point = point, .k = k, .max_distance = max_distance}, .as_of = as_of});
}

template <int D>
Result<NearestAnswer> Client<D>::radius(const Point<D>& point, double distance, Moment as_of) {
  static_assert(kMaxRadiusEntries == protocol::kMaxK);
  return nearest(point, kMaxRadiusEntries, as_of, distance);
}

template <int D>
Result<JoinAnswer> Client<D>::join(std::string_view other, const JoinQuery& query) {
  auto found = impl_->call(request::Join{.other = protocol::collection_key(other), .query = query});
  if (!found && found.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound,
                "collection '" + std::string(other) + "': " + found.error().message);
  }
  return found;
}

template <int D>
Result<std::vector<RangeAnswer<D>>> Client<D>::range_batch(
    std::span<const rtree::RangeQuery<D>> queries) {
  return impl_->batch(queries, [](const auto& query) { return request::Range<D>{query}; });
}

template <int D>
Result<std::vector<NearestAnswer>> Client<D>::nearest_batch(
    std::span<const rtree::NearestQuery<D>> queries) {
  return impl_->batch(queries, [](const auto& query) { return request::Nearest<D>{query}; });
}

template <int D>
Result<Version> Client<D>::insert(std::uint64_t id, const Box<D>& box) {
  return impl_->write_one(WriteBatch<D>().insert(id, box));
}

template <int D>
Result<Version> Client<D>::erase(std::uint64_t id, const Box<D>& box) {
  return impl_->write_one(WriteBatch<D>().erase(id, box));
}

template <int D>
Result<Version> Client<D>::update(std::uint64_t id, const Box<D>& from, const Box<D>& to) {
  return impl_->write_one(WriteBatch<D>().update(id, from, to));
}

template <int D>
Result<GetAnswer<D>> Client<D>::get(std::span<const std::uint64_t> ids, Moment as_of,
                                    bool with_records) {
  // Ids of several requests are asked for again if something was written in between, and in the end
  // of one version, which a server with --retain still has.
  constexpr int kTries = 4;
  const std::size_t most = impl_->core->limits().ids;
  GetAnswer<D> all;
  int tries = 1;
  for (std::size_t first = 0; first < ids.size();) {
    auto some = ids.subspan(first, std::min(most, ids.size() - first));
    const bool is_pinned = first != 0 && tries == kTries;
    auto found = impl_->call(request::Get<D>{some, is_pinned ? all.version : as_of, with_records});
    if (!found) return fail(found.error());
    if (first == 0) {
      all = {.entries = {},
             .records = {},
             .missing = {},
             .version = found->version,
             .access = found->access};
    }
    if (found->version != all.version) {
      if (is_pinned) return fail(ErrorCode::kProtocol, "the server answers of another version");
      ++tries;
      first = 0;
      continue;
    }
    // With records an answer is perhaps about the first ones alone, for there is much to tell.
    if (with_records) {
      const std::size_t told = found->entries.size() + found->missing.size();
      if (told == 0 || told > some.size()) {
        return fail(ErrorCode::kProtocol, "the server told of none, or of too many, of the ids");
      }
      some = some.first(told);
    }
    std::size_t next = 0;
    for (const std::uint64_t id : some) {
      if (next < found->entries.size() && found->entries[next].id == id) {
        if (with_records) all.records.push_back(std::move(found->records[next]));
        all.entries.push_back(found->entries[next++]);
      } else {
        all.missing.push_back(id);
      }
    }
    if (next != found->entries.size()) {
      return fail(ErrorCode::kProtocol, "the server told entries that were not asked for");
    }
    first += some.size();
  }
  return all;
}

template <int D>
Result<PutAnswer> Client<D>::put(std::uint64_t id, const Box<D>& box, IfVersion condition) {
  const auto done = impl_->write_one_whole(WriteBatch<D>().put(id, box, condition));
  if (!done) return fail(done.error());
  return PutAnswer{.version = done->version, .replaced = !done->replaced.empty()};
}

template <int D>
Result<GetAnswer<D>> Client<D>::features(const FeatureQuery<D>& query) {
  constexpr int kTries = 4;  // as of get()
  const auto filter = client::FeatureFilter<D>::create(query);
  if (!filter) return fail(filter.error());
  if (!query.where.empty() && !has_records()) {
    return fail(ErrorCode::kUnsupported,
                "where: the collection has no records (silurus create --records)");
  }
  RangeOptions options{
      .predicate = query.predicate, .shape = ResultShape::kEntries, .as_of = query.as_of};
  if (filter->is_empty()) options.limit = query.limit;
  for (int tries = 1;; ++tries) {
    const auto found = range(filter->window(), options);
    if (!found) return fail(found.error());
    GetAnswer<D> all;
    if (has_records()) {
      const bool is_pinned = tries == kTries;
      auto got = get(found->ids, is_pinned ? found->version : query.as_of, true);
      if (!got) return fail(got.error());
      if (!found->ids.empty() && got->version != found->version) {
        if (is_pinned) return fail(ErrorCode::kProtocol, "the server answers of another version");
        continue;
      }
      all = std::move(*got);
    } else {
      for (std::size_t i = 0; i < found->ids.size(); ++i) {
        all.entries.push_back({found->ids[i], found->boxes[i], 0});
      }
      all.records.resize(all.entries.size());
    }
    all.version = found->version;
    all.access = found->access;
    if (auto kept = filter->keep(all, query.limit); !kept) return fail(kept.error());
    return all;
  }
}

template <int D>
Result<Version> Client<D>::insert(std::uint64_t id, const Box<D>& box, const Record& record) {
  return impl_->write_one(WriteBatch<D>().insert(id, box, record));
}

template <int D>
Result<PutAnswer> Client<D>::put(std::uint64_t id, const Box<D>& box, const Record& record,
                                 IfVersion condition) {
  const auto done = impl_->write_one_whole(WriteBatch<D>().put(id, box, record, condition));
  if (!done) return fail(done.error());
  return PutAnswer{.version = done->version, .replaced = !done->replaced.empty()};
}

template <int D>
Result<Version> Client<D>::update(std::uint64_t id, const Box<D>& box, IfVersion condition) {
  return impl_->write_one(WriteBatch<D>().update(id, box, condition));
}

template <int D>
Result<Version> Client<D>::erase(std::uint64_t id, IfVersion condition) {
  return impl_->write_one(WriteBatch<D>().erase(id, condition));
}

template <int D>
Result<WriteAnswer> Client<D>::write(const WriteBatch<D>& batch) {
  if (auto ok = batch.check(); !ok) return fail(ok.error());
  return impl_->call(request::Write<D>{batch.operations(), batch.records()});
}

template <int D>
std::size_t Client<D>::max_batch() const {
  return impl_->core->limits().operations;
}

template <int D>
Result<LoadAnswer> Client<D>::load(std::span<const Entry<D>> entries, double fill) {
  if (auto ok = load_begin(); !ok) return fail(ok.error());
  if (auto ok = load_add(entries); !ok) {
    // The first error is the one to tell. A server that doesn't answer isn't waited for again.
    if (ok.error().code != ErrorCode::kDeadlineExceeded) static_cast<void>(load_abort());
    return fail(ok.error());
  }
  return load_commit(fill);
}

template <int D>
Status Client<D>::load_begin() {
  impl_->load_sent = 0;
  impl_->load_error.reset();
  auto answer = impl_->call(request::LoadBegin());
  return answer ? Status{} : fail(answer.error());
}

template <int D>
Status Client<D>::load_add(std::span<const Entry<D>> entries) {
  Impl& impl = *impl_;
  if (auto ok = impl.check_process(); !ok) return ok;
  while (!entries.empty() && !impl.load_error) {
    const auto part = entries.first(std::min(entries.size(), impl.core->limits().entries));
    const Status begun =
        impl.submit(request::LoadEntries<D>{part}, [&impl](Result<LoadAnswer*> answer) {
          --impl.load_unanswered;
          if (!answer && !impl.load_error) impl.load_error = std::move(answer.error());
        });
    if (!begun) return begun;
    ++impl.load_unanswered;
    impl.load_sent += part.size();
    entries = entries.subspan(part.size());
    while (impl.load_unanswered >= kLoadInFlight) impl.drive();
  }
  return impl.load_error ? Status(fail(*impl.load_error)) : Status{};
}

template <int D>
Result<LoadAnswer> Client<D>::load_commit(double fill) {
  if (auto ok = impl_->await_load(); !ok) return fail(ok.error());
  return impl_->call(request::LoadCommit{.fill = fill, .entries = impl_->load_sent});
}

template <int D>
Status Client<D>::load_commit_async(double fill, Callback<LoadAnswer> callback) {
  if (auto ok = impl_->await_load(); !ok) return ok;
  return impl_->submit(request::LoadCommit{.fill = fill, .entries = impl_->load_sent},
                       std::move(callback));
}

template <int D>
Status Client<D>::load_abort() {
  if (auto ok = impl_->check_process(); !ok) return ok;
  static_cast<void>(impl_->await_load());  // however that went
  auto answer = impl_->call(request::LoadAbort());
  return answer ? Status{} : fail(answer.error());
}

template <int D>
Status Client<D>::range_async(const rtree::RangeQuery<D>& query,
                              Callback<RangeAnswer<D>> callback) {
  return impl_->submit(request::Range<D>{query}, std::move(callback));
}

template <int D>
Status Client<D>::nearest_async(const rtree::NearestQuery<D>& query,
                                Callback<NearestAnswer> callback) {
  return impl_->submit(request::Nearest<D>{query}, std::move(callback));
}

template <int D>
Status Client<D>::get_async(std::span<const std::uint64_t> ids, Moment as_of,
                            Callback<GetAnswer<D>> callback) {
  static_assert(kMaxGet == protocol::kMaxGetIds);
  return impl_->submit(request::Get<D>{ids, as_of}, std::move(callback));
}

template <int D>
Status Client<D>::write_async(const WriteBatch<D>& batch, Callback<WriteAnswer> callback) {
  if (auto ok = batch.check(); !ok) return ok;
  return impl_->submit(request::Write<D>{batch.operations(), batch.records()}, std::move(callback));
}

template <int D>
void Client<D>::poll() {
  if (impl_->home.is_left()) return;
  impl_->core->flush();
  for (transport::Poller* poller : impl_->fabrics->pollers()) poller->progress();
  impl_->core->settle();
  impl_->core->flush();
}

template <int D>
void Client<D>::wait_below(std::size_t n) {
  while (in_flight() >= n && in_flight() > 0) impl_->drive();
}

template <int D>
std::size_t Client<D>::in_flight() const {
  if (impl_->home.is_left()) return 0;  // they are the parent's, and end there
  return impl_->core->in_flight();
}

template <int D>
Result<ServerStatistics> Client<D>::server_statistics() {
  return impl_->parsed(request::Statistics(), client::parse_statistics);
}

template <int D>
Result<GroupInfo> Client<D>::cluster() {
  return impl_->parsed(request::Cluster(), client::parse_group);
}

template <int D>
Result<std::vector<KeptVersion>> Client<D>::history() {
  return impl_->parsed(request::Task{.kind = protocol::TaskKind::kHistory}, client::parse_history);
}

template <int D>
Result<Difference> Client<D>::difference(Moment from, Moment to) {
  return impl_->parsed(request::Task{.kind = protocol::TaskKind::kDiff, .from = from, .to = to},
                       client::parse_difference);
}

template <int D>
Result<BackupAnswer> Client<D>::backup(std::string_view path) {
  return impl_->parsed(request::Task{.kind = protocol::TaskKind::kBackup, .text = path},
                       client::parse_backup);
}

template <int D>
Result<std::vector<CollectionInfo>> Client<D>::collections() {
  return impl_->parsed(request::Task{.kind = protocol::TaskKind::kCollections},
                       client::parse_collections);
}

template <int D>
Status Client<D>::create_collection(std::string_view name, const CollectionOptions& options) {
  // A record is found by the id of its entry, so that names one.
  const bool is_keyed = options.keyed || options.records;
  const std::uint64_t flags = (is_keyed ? protocol::kKeyed : 0u) |
                              (options.lonlat ? protocol::kLonLat : 0u) |
                              (options.records ? protocol::kWithRecords : 0u);
  return impl_->done(
      request::Task{.kind = protocol::TaskKind::kCreate, .from = D, .to = flags, .text = name});
}

template <int D>
Status Client<D>::drop_collection(std::string_view name) {
  return impl_->done(request::Task{.kind = protocol::TaskKind::kDrop, .text = name});
}

template <int D>
Status Client<D>::clear_collection(std::string_view name) {
  return impl_->done(request::Task{.kind = protocol::TaskKind::kClear, .text = name});
}

template <int D>
Status Client<D>::rename_collection(std::string_view from, std::string_view to, bool replace) {
  const std::string text = std::string(from) + '\n' + std::string(to);
  const auto kind = replace ? protocol::TaskKind::kReplace : protocol::TaskKind::kRename;
  return impl_->done(request::Task{.kind = kind, .text = text});
}

template <int D>
Status Client<D>::annotate_collection(std::string_view name, std::string_view note) {
  const std::string text = std::string(name) + '\n' + std::string(note);
  return impl_->done(request::Task{.kind = protocol::TaskKind::kNote, .text = text});
}

template <int D>
Result<CompactAnswer> Client<D>::compact(std::uint64_t cursor, double fill) {
  const auto permyriad = client::compaction_fill(fill);
  if (!permyriad) return fail(permyriad.error());
  const auto json = impl_->text(
      request::Task{.kind = protocol::TaskKind::kCompact, .from = cursor, .to = *permyriad});
  if (!json) return fail(json.error());
  return client::parse_compaction(*json);
}

template <int D>
ClientStatistics Client<D>::statistics() const {
  return impl_->core->statistics();
}

template <int D>
void Client<D>::reset_statistics() {
  impl_->core->reset_statistics();
}

template <int D>
bool Client<D>::is_lonlat() const {
  return impl_->core->limits().lonlat;
}

template <int D>
bool Client<D>::is_keyed() const {
  return impl_->core->limits().keyed;
}

template <int D>
bool Client<D>::has_records() const {
  return impl_->core->limits().records;
}

template <int D>
bool Client<D>::can_offload() const {
  return impl_->core->can_offload();
}

template <int D>
std::string Client<D>::peer() const {
  return impl_->core->peer();
}

template class Client<2>;
template class Client<3>;
template Status WriteBatch<2>::check() const;
template Status WriteBatch<3>::check() const;
template WriteBatch<2>& WriteBatch<2>::add_record(const Record&);
template WriteBatch<3>& WriteBatch<3>::add_record(const Record&);

namespace client {

template <int D>
ClientCore<D>& Internal::core(Client<D>& client) {
  return *client.impl_->core;
}
template ClientCore<2>& Internal::core(Client<2>&);
template ClientCore<3>& Internal::core(Client<3>&);
template Result<Client<2>> Internal::connect<2>(std::string_view, const ClientOptions&,
                                                Environment&);
template Result<Client<3>> Internal::connect<3>(std::string_view, const ClientOptions&,
                                                Environment&);

}  // namespace client

}  // namespace silurus
