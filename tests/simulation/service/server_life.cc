// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/service/server_life.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "replication/state_transfer/incoming_store.h"

namespace silurus::simulation {
namespace {

constexpr std::uint64_t kChunks = SimServer::kChunks;
constexpr std::uint64_t kMapBytes = kChunks / 8;
constexpr std::size_t kLogBytes = std::size_t{96} << 10;
constexpr std::size_t kExtraBytes = std::size_t{32} << 10;
constexpr std::uint64_t kLogChain = 0x5117;
/// One turn in that many takes a checkpoint, whether it is time or not.
constexpr std::uint64_t kTurnsPerCheckpoint = 500;
constexpr Nanoseconds kCheckpointTurn = 50 * kMicrosecond;
/// How long a copier waits at most for something to happen, and for a connection.
constexpr Nanoseconds kCopierTurn = kMillisecond;
constexpr Nanoseconds kTransferDialTimeout = 30 * kMillisecond;

}  // namespace

// --- what is in the trees

rtree::Entry<2> entry_of(unsigned column, unsigned value) {
  const double x = column;
  const double y = value;
  return {column * kColumnValues + value, {{x, y}, {x, y}}};
}

rtree::Box<2> window_of(unsigned column) {
  const double x = column;
  return {{x - 0.25, -1}, {x + 0.25, kColumnValues}};
}

std::uint64_t values_of(unsigned column, const std::vector<std::uint64_t>& ids,
                        std::vector<std::string>& complaints) {
  std::uint64_t values = 0;
  for (const std::uint64_t id : ids) {
    if (id / kColumnValues != column) complaints.push_back("an entry outside of the window");
    values |= std::uint64_t{1} << (id % kColumnValues);
  }
  if (std::popcount(values) != static_cast<int>(ids.size())) {
    complaints.push_back("an entry is there twice");
  }
  return values;
}

bool Published::show(rtree::Version version, const Content& content, Nanoseconds now) {
  const auto next = versions_.upper_bound(version);
  const Nanoseconds first = next == versions_.end() ? now : std::min(now, next->second.first);
  return versions_.emplace(version, One{content, first}).first->second.content == content;
}

const Published::Content* Published::find(rtree::Version version) const {
  const auto found = versions_.find(version);
  return found == versions_.end() ? nullptr : &found->second.content;
}

bool Published::holds_one_or_none(const Content& content, const std::vector<Content>& loads) {
  unsigned held_loads = 0;
  for (const Content& load : loads) {
    bool all = true;
    bool none = true;
    for (unsigned column = 0; column < kColumns; ++column) {
      const std::uint64_t held = content[column] & load[column];
      all = all && held == load[column];
      none = none && held == 0;
    }
    if (!all && !none) return false;
    if (all) ++held_loads;
  }
  return held_loads <= 1;
}

Nanoseconds Published::superseded(rtree::Version version) const {
  const auto next = versions_.upper_bound(version);
  return next == versions_.end() ? INT64_MAX : next->second.first;
}

// --- what is durable

ServerDisk::ServerDisk() : name_(CrashMemory::fresh(CrashMemory::kLine)) { stores_[0].wipe(); }

void ServerDisk::Files::wipe() {
  super = CrashMemory::fresh(replication::super_bytes(kMapBytes));
  log = CrashMemory::fresh(kLogBytes);
  for (int i = 0; i < 2; ++i) {
    nodes[i] = CrashMemory::fresh(kChunks * rtree::kChunkBytes<2>);
    extras[i] = CrashMemory::fresh(kExtraBytes);
  }
}

replication::Volume ServerDisk::Files::open(Power& power, const std::string& name) {
  replication::Volume volume;
  volume.name = name;
  volume.super = std::make_unique<CrashMemory>(power, super);
  volume.log = std::make_unique<CrashMemory>(power, log);
  for (int i = 0; i < 2; ++i) {
    volume.nodes[i] = std::make_unique<CrashMemory>(power, nodes[i]);
    volume.extras[i] = std::make_unique<CrashMemory>(power, extras[i]);
  }
  return volume;
}

std::uint64_t ServerDisk::current() const {
  std::uint64_t current = 0;
  std::memcpy(&current, name_.image.data(), sizeof current);
  return current;
}

replication::Volume ServerDisk::open(Power& power, const std::string& name) {
  return stores_[current()].open(power, name);
}

Result<replication::Volume> ServerDisk::make_other(Power& power, const std::string& name,
                                                   group::MemberId id) {
  Files& files = stores_[1 - current()];
  files.wipe();
  replication::Volume volume = files.open(power, name);
  Status made = replication::format_store<2>(volume, id, 0, 0);
  if (!made) return fail(made.error());
  return volume;
}

Status ServerDisk::switch_to_other(Power& power) {
  const std::uint64_t other = 1 - current();
  CrashMemory name(power, name_);
  name.store(0, std::as_bytes(std::span(&other, 1)));
  name.flush(0, sizeof other);
  return name.drain();
}

void ServerDisk::end_life(const Power& power) {
  CrashMemory::end_life(power, name_);
  for (Files& files : stores_) {
    for (auto* one : {&files.super, &files.log, &files.nodes[0], &files.nodes[1], &files.extras[0],
                      &files.extras[1]}) {
      CrashMemory::end_life(power, *one);
    }
  }
}

// --- copies

/// Like replication::IncomingDirectory, in the other store of the disk.
class ServerLife::Place final : public replication::IncomingPlace {
 public:
  Place(ServerLife& life, ServerDisk& disk, group::MemberId id)
      : life_(life), disk_(disk), id_(id) {}
  Result<replication::Volume> make() override {
    return disk_.make_other(life_.power_, life_.host_.name() + "'s copy", id_);
  }
  Status arrive() override { return disk_.switch_to_other(life_.power_); }

 private:
  ServerLife& life_;
  ServerDisk& disk_;
  const group::MemberId id_;
};

/// Like replication::StateFetchThread, by a process instead of a thread.
class ServerLife::Fetch final : public replication::StateFetch {
 public:
  /// The poller outlives it, for connections being made know it.
  Fetch(ServerLife& life, replication::StateSink<2>& sink, sim::SimFabric& fabric,
        transport::Poller& poller, std::function<void()> wake)
      : life_(life), sink_(sink), fabric_(fabric), poller_(poller), wake_(std::move(wake)) {}

  void begin(const std::string& source, const replication::TransferOptions& copy) override {
    process_.reset();
    copier_.reset();
    outcome_.reset();
    log_ = nodes_ = 0;
    const auto address = transport::Address::parse(source).value();
    source_ = life_.service_.group.world.find_host(address.host);
    incarnation_ = source_->incarnation();
    is_of_load_ = copy.load != 0;
    life_.service_.on_copy(life_.host_, *source_);
    process_ = life_.host_.spawn("copy", [this](sim::Process& process) { turn(process); });
    process_->watch(poller_);
    if (Status begun = sink_.begin(); !begun) return end(begun);
    copier_ = std::make_unique<replication::TransferReceiver<2>>(copy, poller_, sink_);
    fabric_.connect_later(address, {.timeout = kTransferDialTimeout}, poller_, copier_->hello(),
                          *copier_,
                          [this, is_wanted = std::weak_ptr(dial_ = std::make_shared<int>())](
                              Result<std::unique_ptr<transport::Connection>> connection) {
                            if (is_wanted.expired()) return;
                            if (!connection) return end(fail(connection.error()));
                            copier_->begin(std::move(*connection));
                          });
  }
  Lsn log() const override { return log_; }
  std::uint64_t nodes() const override { return nodes_; }
  std::optional<Status> outcome() const override { return outcome_; }
  void cancel() override {
    if (!outcome_) end(fail(ErrorCode::kUnavailable, "the copy was given up"));
  }

 private:
  void turn(sim::Process& process) {
    poller_.progress();
    if (outcome_) return;
    const Nanoseconds now = life_.host_.clock().now();
    process.wake_at(now + kCopierTurn);
    const std::uint64_t before = nodes_;
    nodes_ = copier_->nodes();
    copier_->step(now);
    if (copier_->is_held() && std::exchange(log_, copier_->facts().log.lsn) == 0) wake_();
    if (const auto& over = copier_->outcome()) return end(*over);
    // When all is sent that this turn sends, for that is not what a slow disk delays.
    life_.host_.charge(static_cast<Nanoseconds>(nodes_ - before) * life_.service_.node_time);
  }
  void end(const Status& outcome) {
    const bool has_source_died = !source_->alive() || source_->incarnation() != incarnation_;
    if (!outcome && has_source_died) {
      ++(is_of_load_ ? life_.service_.load_sources_died : life_.service_.sources_died);
    }
    if (!outcome) {
      life_.service_.group.note(life_.host_.name() + " gets no copy: " + outcome.error().message);
    } else if (is_of_load_) {
      life_.service_.group.note(life_.host_.name() + " has copied a bulk load");
    }
    outcome_ = outcome;
    wake_();
  }

  ServerLife& life_;
  replication::StateSink<2>& sink_;
  sim::SimFabric& fabric_;
  transport::Poller& poller_;
  const std::function<void()> wake_;
  const sim::Host* source_ = nullptr;
  std::uint32_t incarnation_ = 0;  ///< incarnation of the source
  bool is_of_load_ = false;
  std::unique_ptr<replication::TransferReceiver<2>> copier_;
  std::shared_ptr<int> dial_;  ///< the one that counts
  std::optional<Status> outcome_;
  Lsn log_ = 0;
  std::uint64_t nodes_ = 0;  ///< that were taken
  std::unique_ptr<sim::Process> process_;
};

// --- its part in the group

class ServerLife::Part final : public server::Membership<2> {
 public:
  using Opened = server::OpenedMembership<2>;
  static Result<Opened> open(ServerLife& life, group::MemberId id, ServerDisk& disk,
                             std::uint64_t seed, const replication::TreePlace& place) {
    replication::Volume volume = disk.open(life.power_, life.host_.name());
    if (replication::is_blank(volume.super->bytes().first(replication::kMapsOffset))) {
      if (Status made = replication::format_store<2>(volume, id, 0, kLogChain); !made) {
        return fail(made.error());
      }
    }
    auto found = open_store(std::move(volume), place);
    if (!found) return fail(found.error());
    Opened opened;
    opened.tree = std::move(found->store.tree);
    auto part = std::make_unique<Part>(life, disk, seed, *found);
    life.part_ = part.get();
    opened.membership = std::move(part);
    return opened;
  }
  Part(ServerLife& life, ServerDisk& disk, std::uint64_t seed, Found& found)
      : Membership<2>(found, "simulated", 0),
        life_(life),
        disk_(disk),
        seed_(seed),
        random_(seed) {}
  ~Part() override { stop(); }

  Status join(const Joined& joined, const std::string& clients) override {
    rtree::Tree<2>& tree = joined.tree;
    tree_ = &tree;
    server::Replica<2>& replica = make_replica(joined);
    const std::uint64_t kept_log = life_.service_.kept_log;
    if (kept_log != 0) store().keep_log(kept_log, 2 * kept_log);
    const auto wake = [this] { this->wake(); };
    driver_ = std::make_unique<SimDriver>(
        life_.service_.group, life_.host_,
        SimDriver::Options{.id = id(), .seed = seed_, .clients = clients}, store().log(),
        applied_at_start(), replica.machine(), wake);
    replica.attach(driver_->member());
    copy_poller_ = std::move(*driver_->fabric().create_poller());
    load_poller_ = std::move(*driver_->fabric().create_poller());
    const Linked linked{
        driver_->member(), driver_->links(), life_.service_.group.id(),
        has(driver_->fabric().capabilities(), transport::Capability::kOneSidedRead)};
    const auto fetch_by = [this, wake](transport::Poller& poller) {
      return [this, wake, &poller](replication::StateSink<2>& sink) {
        return std::make_unique<Fetch>(life_, sink, driver_->fabric(), poller, wake);
      };
    };
    Status offered = offer_copies(
        tree, linked, fetch_by(*copy_poller_),
        [this] { return std::make_unique<Place>(life_, disk_, id()); }, life_.service_.copies);
    if (!offered) return offered;
    offer_loads(tree, linked,
                {.make_fetch = fetch_by(*load_poller_),
                 .pause_checkpoints = [this] { ++checkpoint_pauses_; },
                 .resume_checkpoints = [this] { --checkpoint_pauses_; },
                 .wake = wake,
                 .patience = life_.service_.copies.patience});
    process_ = life_.host_.spawn("group", [this](sim::Process& process) { take_turn(process); });
    process_->watch(driver_->poller());
    return {};
  }
  void wake() override {
    if (process_ != nullptr) process_->wake();
  }
  void stop() override {
    if (process_ == nullptr) return;
    process_.reset();
    end_copies({ErrorCode::kNotPrimary, "this life is over"});
    driver_.reset();
  }

  const SimDriver& driver() const { return *driver_; }
  std::uint64_t checkpoints() const { return checkpoints_; }
  using Membership<2>::copies;
  using Membership<2>::load_taker;

 private:
  void take_turn(sim::Process& process) {
    if (has_failed_) return;
    life_.host_.charge(life_.turn);
    Status done = driver_->turn();
    if (done) done = step(life_.host_.clock().now());
    if (done && driver_->works()) done = take_checkpoint();
    // Also when it has died in this turn: clients that read one-sidedly go on seeing it.
    note_published();
    if (!driver_->works()) return;
    if (!done) {
      has_failed_ = true;
      return life_.service_.group.complain(life_.host_.name() + " failed: " + done.error().message);
    }
    check_leases();
    if (copies().has_arrived()) return life_.service_.on_arrival(life_.host_);
    Nanoseconds next = driver_->member().deadline();
    if (const auto again = deadline(life_.host_.clock().now())) next = std::min(next, *again);
    process.wake_at(next);
  }

  Status take_checkpoint() {
    if (checkpoint_pauses_ != 0) return {};
    const Lsn written = store().log().end().lsn - store().last_checkpoint_lsn();
    const std::uint64_t kept_log = life_.service_.kept_log;
    if (!replica().wants_checkpoint() && (kept_log == 0 || written <= kept_log) &&
        random_.below(kTurnsPerCheckpoint) != 0) {
      return {};
    }
    const auto basis = replica().checkpoint_basis();
    if (!basis) return {};
    ++checkpoints_;
    life_.host_.charge(kCheckpointTurn);
    return store().checkpoint(*tree_, basis->held.forest, basis->position, basis->stamp, {},
                              basis->extra, basis->adopted);
  }

  void check_leases() {
    Service& service = life_.service_;
    const auto may_read = [](const ServerLife& life) {
      return life.driver().works() && life.member_status().may_read(life.host_.clock().now());
    };
    if (std::ranges::count_if(service.lives, [&](const auto* life) { return may_read(*life); }) >
        1) {
      service.group.complain("two servers believe that they may read");
    }
  }

  /// Each version holds the same entries, whichever member publishes it.
  void note_published() {
    Service& service = life_.service_;
    const rtree::Snapshot<2> now = tree_->snapshot();
    const LogPosition applied = driver_->member().applied();
    if (std::exchange(seen_, {now.version(), applied.lsn}) ==
        std::pair{now.version(), applied.lsn}) {
      return;
    }
    service.group.applied(applied, now.version());
    Published::Content content{};
    std::uint64_t entries = 0;
    for (unsigned column = 0; column < kColumns; ++column) {
      rtree::RangeResult<2> found;
      SILURUS_CHECK(now.range({.window = window_of(column)}, found).has_value());
      content[column] = values_of(column, found.ids, service.group.complaints);
      entries += found.ids.size();
    }
    if (entries != now.size()) service.group.complain("a tree that miscounts its entries");
    if (!Published::holds_one_or_none(content, service.loads)) {
      service.group.complain("a part of a bulk load, or two of them, in version " +
                             std::to_string(now.version()));
    }
    if (!service.published.show(now.version(), content, service.group.world.now())) {
      service.group.complain("members have different trees of version " +
                             std::to_string(now.version()));
    }
  }

  ServerLife& life_;
  ServerDisk& disk_;
  const std::uint64_t seed_;
  Random random_;
  rtree::Tree<2>* tree_ = nullptr;
  std::unique_ptr<SimDriver> driver_;
  std::unique_ptr<transport::Poller> copy_poller_;
  std::unique_ptr<transport::Poller> load_poller_;
  int checkpoint_pauses_ = 0;
  std::unique_ptr<sim::Process> process_;
  std::uint64_t checkpoints_ = 0;
  bool has_failed_ = false;
  std::pair<rtree::Version, Lsn> seen_{0, 0};
};

// --- the server

ServerLife::ServerLife(Service& service, sim::Host& host, group::MemberId id, ServerDisk& disk,
                       std::uint64_t seed, Power::Failure failure)
    : service_(service), host_(host), power_(seed, UINT64_MAX, failure) {
  const SimServer::Options options{.fabric = service.fabric,
                                   .workers = service.workers,
                                   .grace = service.grace,
                                   .heartbeat = service.heartbeat,
                                   .slice = service.group.slice,
                                   .instance = seed | 1};
  server_ = std::make_unique<SimServer>(host, options, [&](const replication::TreePlace& place) {
    return Part::open(*this, id, disk, seed, place);
  });
  service_.lives.push_back(this);
}

ServerLife::~ServerLife() { std::erase(service_.lives, this); }

const SimDriver& ServerLife::driver() const { return part_->driver(); }

std::uint64_t ServerLife::checkpoints() const { return part_->checkpoints(); }

const replication::StateTransfer<2>& ServerLife::copies() const { return part_->copies(); }

const server::LoadTaker<2>& ServerLife::load_taker() const { return part_->load_taker(); }

}  // namespace silurus::simulation
