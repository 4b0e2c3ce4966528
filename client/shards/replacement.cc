// SPDX-License-Identifier: Apache-2.0

#include "silurus/replacement.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "client/exported.h"
#include "client/internal.h"
#include "client/shards/internal.h"
#include "common/json.h"
#include "etcd/gateway.h"
#include "silurus/client.h"

namespace silurus::shards {
namespace {

using protocol::Operation;
using protocol::OperationKind;
using protocol::TaskKind;

/// So few changes left, and the shard is frozen for the rest.
constexpr std::uint64_t kFewChanges = 2000;
/// If changes never become few, since they come faster than they are copied, writers are made to
/// wait after this number of rounds all the same.
constexpr int kMaxRounds = 20;
constexpr std::size_t kBatchesInFlight = 8;
/// Pages of the shard that the median is taken of, spread evenly: some million entries.
constexpr std::uint64_t kSampledPages = 256;
/// Where groups are involved, whose primaries may be lost: attempts in all, each of which takes
/// over what the one before has left.
constexpr int kAttempts = 4;
/// Attempts to put the successors into a map that others change in other places meanwhile.
constexpr int kMapAttempts = 20;
constexpr Nanoseconds kMapPause = 500 * kMillisecond;  ///< if it cannot be read

/// What a server answered to a task.
struct Answer {
  std::uint64_t entries = 0;
  std::uint64_t operations = 0;
  std::uint64_t pages = 0;
};

/// One server, by a connection that is never made again: what it means to the server ends with it.
template <int D>
class Server {
 public:
  static Result<Server> connect(const std::string& url, ClientOptions options,
                                client::Environment& environment) {
    options.mode = Mode::kMessaging;
    options.reconnect_for = 0;
    options.deadline = std::max(options.deadline, options.patience);
    auto client = client::Internal::connect<D>(url, options, environment);
    if (!client) {
      const std::string& why = client.error().message;
      const bool names_it = why.find(url) != std::string::npos;
      return fail(client.error().code, names_it ? why : url + ": " + why);
    }
    return Server(url, std::move(*client));
  }
  /// Its error, for those who don't see whose it is. What is in doubt is lost with the connection:
  /// nothing counts that was not complete.
  tl::unexpected<Error> told(const Error& error) const {
    const bool in_doubt = error.code == ErrorCode::kInDoubt;
    return fail(in_doubt ? ErrorCode::kConnectionLost : error.code, url_ + ": " + error.message);
  }

  const std::string& url() const { return url_; }
  Client<D>& client() { return client_; }

  Result<Answer> ask(TaskKind kind, std::uint64_t from = 0, std::uint64_t to = 0) {
    const auto text = client::Internal::run_task(client_, {.kind = kind, .from = from, .to = to});
    if (!text) return told(text.error());
    const auto json = parse_json(*text);
    if (!json.is_object()) return fail(ErrorCode::kProtocol, url_ + " sent a malformed answer");
    return Answer{json_number(json, "entries"), json_number(json, "operations"),
                  json_number(json, "pages")};
  }

  /// One page of what was listed, each operation checked.
  Result<std::vector<Operation<D>>> page(std::uint64_t index) {
    auto operations = client::read_page(client_, index);
    if (!operations) return told(operations.error());
    return operations;
  }

 private:
  Server(std::string url, Client<D> client) : url_(std::move(url)), client_(std::move(client)) {}

  std::string url_;
  Client<D> client_;
};

/// Whether the server takes orders of this kind from us at all; asked before anything is changed,
/// by one whose fencing token is never good.
template <int D>
Status takes_orders(Server<D>& server) {
  const auto answer = server.ask(TaskKind::kServe, 0);
  if (answer || answer.error().code == ErrorCode::kConflict) return {};
  return fail(answer.error());
}

/// A successor while it is filled.
template <int D>
struct Target {
  std::uint64_t first;
  Server<D> server;
  std::vector<Entry<D>> staged = {};  ///< for the bulk load, of the page in hand
  WriteBatch<D> batch = {};
  std::optional<Error> error = {};

  Status flush() {
    if (batch.size() == 0) return {};
    const Status begun =
        server.client().write_async(batch, Callback<WriteAnswer>([this](auto answer) {
                                      if (!answer) {
                                        error = answer.error();
                                      } else if (!(*answer)->failed.empty()) {
                                        error = Error{(*answer)->failed.front().code,
                                                      "a change could not be made there: its "
                                                      "entries are not those that were copied"};
                                      }
                                    }));
    batch.clear();
    if (!begun) return begun;
    server.client().wait_below(kBatchesInFlight);
    return {};
  }
  Status finish() {
    if (auto ok = flush(); !ok) return ok;
    server.client().wait();
    if (error) return server.told(*error);
    return {};
  }
  Status make_room() { return batch.size() + 1 < server.client().max_batch() ? Status() : flush(); }
};

/// A window that every entry meets.
template <int D>
Box<D> everything() {
  Box<D> box;
  box.min.fill(std::numeric_limits<double>::lowest());
  box.max.fill(std::numeric_limits<double>::max());
  return box;
}

/// Erases what is held there, by a connection that fills it.
template <int D>
Status empty_server(Server<D>& server) {
  const auto exported = server.ask(TaskKind::kExport);
  if (!exported) return fail(exported.error());
  for (std::uint64_t page = 0; page < exported->pages; ++page) {
    const auto operations = server.page(page);
    if (!operations) return fail(operations.error());
    for (std::size_t done = 0; done < operations->size();) {
      WriteBatch<D> batch;
      for (; done < operations->size() && batch.size() < server.client().max_batch(); ++done) {
        batch.erase((*operations)[done].id, (*operations)[done].box);
      }
      const auto erased = server.client().write(batch);
      if (!erased) return server.told(erased.error());
    }
  }
  return {};
}

tl::unexpected<Error> killed() {
  return fail(ErrorCode::kUnavailable, "the replacement was stopped");
}

/// One replacement, from its intent on.
template <int D>
class Replacement {
 public:
  Replacement(MapStore& store, const ReplaceOptions& options, client::Environment& environment)
      : store_(store), options_(options), environment_(environment), clock_(environment.clock()) {}

  Result<ReplaceReport> run();
  /// Whether an error of run() may be that of a group which has lost its primary, so that another
  /// attempt, which takes over, finds the next one.
  bool may_try_again(const Error& error) const;

 private:
  bool go_on(Step step) { return !options_.before || options_.before(step); }
  Result<std::vector<std::string>> choose_targets() const;
  Result<std::vector<Part>> plan();
  Result<std::uint64_t> median(std::uint64_t first, std::uint64_t last);
  Status declare();
  Status connect();
  Status fill();
  Status copy();
  Status catch_up();
  Status apply_changes(const Answer& changes);
  Status apply(const Operation<D>& operation);
  Status hand_over();
  Status retire();
  Status finish();
  Result<StoredMap> put_in_place(const std::vector<Part>& parts);
  Target<D>& target_of(const Box<D>& box);

  MapStore& store_;
  const ReplaceOptions& options_;
  client::Environment& environment_;
  const Clock& clock_;
  StoredMap stored_;
  const Shard* shard_ = nullptr;  ///< in stored_
  bool taken_over_ = false;
  std::optional<Space<D>> space_;
  std::optional<Server<D>> source_;
  std::vector<std::unique_ptr<Target<D>>> targets_;
  bool may_thaw_ = false;  ///< it may be frozen or retired, and no other has taken its place
  bool was_killed_ = false;
  Nanoseconds frozen_at_ = 0;
  Nanoseconds retired_at_ = 0;
  ReplaceReport report_;
};

template <int D>
Result<ReplaceReport> Replacement<D>::run() {
  const auto step = [this](Step which, Status (Replacement::*does)()) -> Status {
    if (go_on(which)) return (this->*does)();
    was_killed_ = true;
    return killed();
  };
  Status ok = step(Step::kIntent, &Replacement::declare);
  if (ok) ok = connect();
  if (ok) ok = step(Step::kFill, &Replacement::fill);
  if (ok) ok = step(Step::kCopy, &Replacement::copy);
  if (ok) ok = step(Step::kCatchUp, &Replacement::catch_up);
  if (ok) ok = step(Step::kFreeze, &Replacement::hand_over);
  if (ok) ok = step(Step::kRetire, &Replacement::retire);
  if (ok && !go_on(Step::kServe)) {
    was_killed_ = true;
    ok = killed();
  }
  for (auto& target : targets_) {
    if (!ok) break;
    const auto serves = target->server.ask(TaskKind::kServe, stored_.map.epoch);
    if (!serves) ok = fail(serves.error());
  }
  if (ok) ok = step(Step::kReplace, &Replacement::finish);
  if (ok) return std::move(report_);
  // The first error is the one to tell; a freeze ends by itself, too.
  if (may_thaw_ && !was_killed_) {
    static_cast<void>(source_->ask(TaskKind::kServe, stored_.map.epoch));
  }
  return fail(ok.error());
}

template <int D>
bool Replacement<D>::may_try_again(const Error& error) const {
  if (shard_ == nullptr || shard_->successors.empty() || was_killed_) return false;
  const auto is_group = [](const Part& part) {
    return part.servers.size() > 1 || etcd::is_address(part.servers.front());
  };
  if (!is_group(*shard_) && std::ranges::none_of(shard_->successors, is_group)) return false;
  return error.code == ErrorCode::kConnectionLost || error.code == ErrorCode::kNotPrimary ||
         error.code == ErrorCode::kUnavailable;
}

// --- the intent

template <int D>
Result<std::vector<std::string>> Replacement<D>::choose_targets() const {
  std::vector<std::string> targets = options_.targets;
  for (const std::string& spare : stored_.map.spares) {
    if (targets.size() >= options_.parts) break;
    if (options_.targets.empty()) targets.push_back(spare);
  }
  if (targets.size() == options_.parts) return targets;
  return fail(ErrorCode::kInvalidArgument,
              std::to_string(options_.parts) + " empty servers are needed to take the place of " +
                  "the shard, there are " + std::to_string(targets.size()) +
                  ": name them, or give the cluster spares (silurus cluster add-shard)");
}

/// The key that as many entries lie below as above.
template <int D>
Result<std::uint64_t> Replacement<D>::median(std::uint64_t first, std::uint64_t last) {
  const auto exported = source_->ask(TaskKind::kExport);
  if (!exported) return fail(exported.error());
  std::vector<std::uint64_t> keys;
  const std::uint64_t stride = (exported->pages + kSampledPages - 1) / kSampledPages;
  for (std::uint64_t page = 0; page < exported->pages; page += std::max<std::uint64_t>(stride, 1)) {
    const auto operations = source_->page(page);
    if (!operations) return fail(operations.error());
    for (const auto& one : *operations) {
      keys.push_back(std::clamp(space_->key(one.box), first, last));
    }
  }
  std::ranges::sort(keys);
  // The first key above all those of the lower half, so that both halves have entries.
  const auto above = std::ranges::upper_bound(keys, first);
  if (above == keys.end()) {
    return fail(ErrorCode::kInvalidArgument,
                "all entries of the shard have one key, if it has any: it cannot be halved, name a "
                "key to split at");
  }
  return std::max(keys[keys.size() / 2], *above);
}

template <int D>
Result<std::vector<Part>> Replacement<D>::plan() {
  const auto index = static_cast<std::size_t>(shard_ - stored_.map.shards.data());
  const std::uint64_t last = stored_.map.last_key(index);
  auto urls = choose_targets();
  if (!urls) return fail(urls.error());
  for (const std::string& url : *urls) {
    auto server = Server<D>::connect(url, options_.client, environment_);
    if (!server) return fail(server.error());
    if (auto ok = takes_orders(*server); !ok) return fail(ok.error());
    const auto held = server->client().count(everything<D>());
    if (!held) return fail(held.error().code, url + ": " + held.error().message);
    if (*held != 0) {
      return fail(ErrorCode::kConflict, url + " holds " + std::to_string(*held) +
                                            " entries: only an empty server can take over");
    }
  }
  std::vector<Part> parts;
  for (std::size_t i = 0; i < urls->size(); ++i) {
    Part& part = parts.emplace_back();
    part.id = stored_.map.next_id + static_cast<std::uint32_t>(i);
    part.first = shard_->first;
    part.servers = servers_of((*urls)[i]);
    if (i == 0) continue;
    if (!options_.at) {
      const auto key = median(shard_->first, last);
      if (!key) return fail(key.error());
      part.first = *key;
    } else {
      part.first = *options_.at;
    }
    if (part.first <= shard_->first || part.first > last) {
      return fail(ErrorCode::kInvalidArgument,
                  "key " + key_text(part.first) + " lies not within the shard: its range is " +
                      key_text(shard_->first) + " to " + key_text(last));
    }
  }
  return parts;
}

template <int D>
Status Replacement<D>::declare() {
  auto loaded = store_.load();
  if (!loaded) return fail(loaded.error());
  stored_ = std::move(*loaded);
  space_.emplace(stored_.map);
  shard_ = stored_.map.find(options_.shard);
  if (shard_ == nullptr) {
    return fail(ErrorCode::kNotFound, "the cluster has no shard " + std::to_string(options_.shard) +
                                          " (any more): see silurus cluster status");
  }
  auto source = Server<D>::connect(shard_->url(), options_.client, environment_);
  if (!source) return fail(source.error());
  source_.emplace(std::move(*source));
  if (auto ok = takes_orders(*source_); !ok) return ok;
  ShardMap next = stored_.map;
  Shard& shard = next.shards[static_cast<std::size_t>(shard_ - stored_.map.shards.data())];
  taken_over_ = !shard.successors.empty();
  if (!taken_over_) {
    auto parts = plan();
    if (!parts) return fail(parts.error());
    next.next_id += static_cast<std::uint32_t>(parts->size());
    for (const Part& part : *parts) std::erase(next.spares, part.url());
    shard.successors = std::move(*parts);
  }
  shard.fencing_token = stored_.map.epoch + 1;
  auto replaced = store_.replace(stored_, std::move(next));
  if (!replaced) return fail(replaced.error());
  stored_ = std::move(*replaced);
  shard_ = stored_.map.find(options_.shard);
  return {};
}

// --- the copy

template <int D>
Status Replacement<D>::connect() {
  for (const Part& part : shard_->successors) {
    auto server = Server<D>::connect(part.url(), options_.client, environment_);
    if (!server) return fail(server.error());
    targets_.push_back(
        std::make_unique<Target<D>>(Target<D>{.first = part.first, .server = std::move(*server)}));
  }
  return {};
}

template <int D>
Status Replacement<D>::fill() {
  // Ends what the command that began this has left.
  if (const auto serves = source_->ask(TaskKind::kServe, stored_.map.epoch); !serves) {
    return fail(serves.error());
  }
  for (auto& target : targets_) {
    const auto filled = target->server.ask(TaskKind::kFill, stored_.map.epoch);
    if (!filled) return fail(filled.error());
    if (filled->entries == 0) continue;
    if (!taken_over_) {
      return fail(ErrorCode::kConflict, target->server.url() + " is no longer empty");
    }
    // What an earlier attempt has left there goes.
    if (auto ok = empty_server(target->server); !ok) return ok;
  }
  return {};
}

template <int D>
Target<D>& Replacement<D>::target_of(const Box<D>& box) {
  const std::uint64_t key = std::max(space_->key(box), shard_->first);
  const auto after =
      std::ranges::upper_bound(targets_, key, {}, [](const auto& target) { return target->first; });
  return **std::prev(after);
}

template <int D>
Status Replacement<D>::copy() {
  const auto exported = source_->ask(TaskKind::kExport);
  if (!exported) return fail(exported.error());
  if (exported->entries == 0) return {};
  for (auto& target : targets_) {
    const Status begun = target->server.client().load_begin();
    if (!begun) return target->server.told(begun.error());
  }
  for (std::uint64_t page = 0; page < exported->pages; ++page) {
    const auto operations = source_->page(page);
    if (!operations) return fail(operations.error());
    for (const auto& one : *operations) target_of(one.box).staged.push_back({one.id, one.box});
    for (auto& target : targets_) {
      if (auto ok = target->server.client().load_add(target->staged); !ok) return ok;
      target->staged.clear();
    }
  }
  // All of them build at once.
  for (auto& target : targets_) {
    const Status begun = target->server.client().load_commit_async(
        0, Callback<LoadAnswer>([&error = target->error](auto answer) {
          if (!answer) error = answer.error();
        }));
    if (!begun && !target->error) target->error = begun.error();
  }
  for (auto& target : targets_) target->server.client().wait();
  for (auto& target : targets_) {
    if (auto ok = target->finish(); !ok) return ok;
  }
  return {};
}

template <int D>
Status Replacement<D>::apply(const Operation<D>& operation) {
  Target<D>& target = target_of(operation.box);
  if (auto ok = target.make_room(); !ok) return ok;
  if (operation.kind == OperationKind::kInsert) {
    target.batch.insert(operation.id, operation.box);
    return {};
  }
  if (operation.kind == OperationKind::kErase) {
    target.batch.erase(operation.id, operation.box);
    return {};
  }
  Target<D>& other = target_of(operation.to);
  if (&other == &target) {
    target.batch.update(operation.id, operation.box, operation.to);
    return {};
  }
  if (auto ok = other.make_room(); !ok) return ok;
  target.batch.erase(operation.id, operation.box);
  other.batch.insert(operation.id, operation.to);
  return {};
}

template <int D>
Status Replacement<D>::apply_changes(const Answer& changes) {
  for (std::uint64_t page = 0; page < changes.pages; ++page) {
    const auto operations = source_->page(page);
    if (!operations) return fail(operations.error());
    for (const auto& one : *operations) {
      if (auto ok = apply(one); !ok) return ok;
    }
  }
  for (auto& target : targets_) {
    if (auto ok = target->finish(); !ok) return ok;
  }
  report_.caught_up += changes.operations;
  return {};
}

template <int D>
Status Replacement<D>::catch_up() {
  for (int round = 0; round < kMaxRounds; ++round) {
    const auto changes = source_->ask(TaskKind::kExportChanges);
    if (!changes) return fail(changes.error());
    if (auto ok = apply_changes(*changes); !ok) return ok;
    if (changes->operations <= kFewChanges) break;
  }
  return {};
}

// --- the hand-over

template <int D>
Status Replacement<D>::hand_over() {
  frozen_at_ = clock_.now();
  may_thaw_ = true;
  const std::uint64_t fencing_token = stored_.map.epoch;
  if (const auto frozen = source_->ask(TaskKind::kFreeze, fencing_token,
                                       static_cast<std::uint64_t>(options_.freeze));
      !frozen) {
    return fail(frozen.error());
  }
  const auto changes = source_->ask(TaskKind::kExportChanges);
  if (!changes) return fail(changes.error());
  if (auto ok = apply_changes(*changes); !ok) return ok;
  std::uint64_t held = 0;
  for (auto& target : targets_) {
    const auto filled = target->server.ask(TaskKind::kFill, fencing_token);
    if (!filled) return fail(filled.error());
    held += filled->entries;
  }
  if (held != changes->entries) {
    return fail(ErrorCode::kProtocol, "the shard holds " + std::to_string(changes->entries) +
                                          " entries, its successors " + std::to_string(held) +
                                          ": nothing is replaced");
  }
  report_.entries = held;
  return {};
}

template <int D>
Status Replacement<D>::retire() {
  retired_at_ = clock_.now();
  const auto retired = source_->ask(TaskKind::kRetire, stored_.map.epoch);
  return retired ? Status() : fail(retired.error());
}

/// The map may have been changed in something else since the intent was declared, even while this
/// goes on; as long as the shard has our fencing token no command has taken over from us.
template <int D>
Result<StoredMap> Replacement<D>::put_in_place(const std::vector<Part>& parts) {
  const std::uint64_t fencing_token = stored_.map.epoch;
  StoredMap base = stored_;
  bool may_be_done = false;
  const Nanoseconds until = clock_.now() + options_.client.patience;
  for (int attempt = 1;; ++attempt) {
    ShardMap next = base.map;
    const auto shard = std::ranges::find(next.shards, options_.shard, &Shard::id);
    std::vector<Shard> successors(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) static_cast<Part&>(successors[i]) = parts[i];
    next.shards.insert(next.shards.erase(shard), successors.begin(), successors.end());
    auto replaced = store_.replace(base, std::move(next));
    if (replaced) return replaced;
    const ErrorCode why = replaced.error().code;
    may_be_done = may_be_done || why == ErrorCode::kInDoubt;
    if ((why != ErrorCode::kConflict && why != ErrorCode::kInDoubt) || attempt == kMapAttempts ||
        clock_.now() > until) {
      return fail(may_be_done ? ErrorCode::kInDoubt : why, replaced.error().message);
    }
    auto now = store_.load();
    if (!now) {  // the map is asked for again, and so is the store
      environment_.sleep(kMapPause);
      continue;
    }
    const auto is_there = [&](const Part& part) { return now->map.find(part.id) != nullptr; };
    if (may_be_done && std::ranges::all_of(parts, is_there)) return now;
    const Shard* const there = now->map.find(options_.shard);
    if (there == nullptr && may_be_done) {
      return fail(ErrorCode::kInDoubt,
                  "its successors were put in its place, by this command or by one that took over, "
                  "and replaced since: see silurus cluster status");
    }
    if (there == nullptr || there->fencing_token != fencing_token) {
      return fail(ErrorCode::kConflict,
                  "another command has taken the replacement over, or has ended it");
    }
    base = std::move(*now);
  }
}

template <int D>
Status Replacement<D>::finish() {
  const std::vector<Part> parts = shard_->successors;
  may_thaw_ = false;  // from here on others may have taken its place
  const auto replaced = put_in_place(parts);
  if (!replaced) return fail(replaced.error());
  const Nanoseconds now = clock_.now();
  report_.shard = options_.shard;
  report_.parts = parts;
  report_.refused_writes = now - frozen_at_;
  report_.refused_all = now - retired_at_;
  report_.epoch = replaced->map.epoch;
  return {};
}

}  // namespace

std::string_view to_string(Step step) {
  switch (step) {
    case Step::kIntent:
      return "intent";
    case Step::kFill:
      return "fill";
    case Step::kCopy:
      return "copy";
    case Step::kCatchUp:
      return "catch-up";
    case Step::kFreeze:
      return "freeze";
    case Step::kRetire:
      return "retire";
    case Step::kServe:
      return "serve";
    case Step::kReplace:
      return "replace";
  }
  return "unknown";
}

template <int D>
Result<ReplaceReport> replace_shard(MapStore& store, const ReplaceOptions& options,
                                    client::Environment& environment) {
  if (options.parts == 0 || options.parts > 2) {
    return fail(ErrorCode::kInvalidArgument, "a shard is replaced by one other or by two");
  }
  for (int attempt = 1;; ++attempt) {
    Replacement<D> replacement(store, options, environment);
    auto report = replacement.run();
    if (report || attempt == kAttempts || !replacement.may_try_again(report.error())) return report;
  }
}

template <int D>
Result<StoredMap> abort_replacement(MapStore& store, std::uint32_t shard_id,
                                    const ClientOptions& options,
                                    client::Environment& environment) {
  auto stored = store.load();
  if (!stored) return fail(stored.error());
  ShardMap next = stored->map;
  const auto shard = std::ranges::find(next.shards, shard_id, &Shard::id);
  if (shard == next.shards.end()) {
    return fail(ErrorCode::kNotFound, "the cluster has no shard " + std::to_string(shard_id) +
                                          " (any more): see silurus cluster status");
  }
  const std::vector<Part> parts = std::exchange(shard->successors, {});
  shard->fencing_token = 0;
  for (const Part& part : parts) next.spares.push_back(part.url());
  const std::string url = shard->url();
  // First the map: from here on no command can put the successors into it.
  auto replaced = store.replace(*stored, std::move(next));
  if (!replaced) return fail(replaced.error());
  auto source = Server<D>::connect(url, options, environment);
  if (!source) return fail(source.error());
  if (const auto serves = source->ask(TaskKind::kServe, replaced->map.epoch); !serves) {
    return fail(serves.error());
  }
  for (const Part& part : parts) {
    auto server = Server<D>::connect(part.url(), options, environment);
    // One that can't be reached is looked at again before it is used.
    if (!server || !server->ask(TaskKind::kFill, replaced->map.epoch)) continue;
    if (empty_server(*server))
      static_cast<void>(server->ask(TaskKind::kServe, replaced->map.epoch));
  }
  return replaced;
}

template <int D>
Result<ReplaceReport> replace_shard(MapStore& store, const ReplaceOptions& options) {
  return replace_shard<D>(store, options, client::real_environment());
}

template <int D>
Result<StoredMap> abort_replacement(MapStore& store, std::uint32_t shard,
                                    const ClientOptions& options) {
  return abort_replacement<D>(store, shard, options, client::real_environment());
}

template Result<ReplaceReport> replace_shard<2>(MapStore&, const ReplaceOptions&,
                                                client::Environment&);
template Result<ReplaceReport> replace_shard<2>(MapStore&, const ReplaceOptions&);
template Result<StoredMap> abort_replacement<2>(MapStore&, std::uint32_t, const ClientOptions&,
                                                client::Environment&);
template Result<StoredMap> abort_replacement<2>(MapStore&, std::uint32_t, const ClientOptions&);
template Result<ReplaceReport> replace_shard<3>(MapStore&, const ReplaceOptions&,
                                                client::Environment&);
template Result<ReplaceReport> replace_shard<3>(MapStore&, const ReplaceOptions&);
template Result<StoredMap> abort_replacement<3>(MapStore&, std::uint32_t, const ClientOptions&,
                                                client::Environment&);
template Result<StoredMap> abort_replacement<3>(MapStore&, std::uint32_t, const ClientOptions&);

}  // namespace silurus::shards
