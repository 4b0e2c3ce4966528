#include "tests/simulation/service/server_life.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

constexpr std::uint64_t kChunks = SimServer::kChunks;
constexpr std::uint64_t kMapBytes = kChunks / 8;
constexpr std::size_t kLogBytes = std::size_t{96} << 10;
constexpr std::size_t kExtraBytes = std::size_t{32} << 10;
constexpr std::uint64_t kLogChain = 0x5117;
/// One turn in so many takes a checkpoint, whether it is time or not.
constexpr std::uint64_t kTurnsPerCheckpoint = 500;
constexpr Nanoseconds kCheckpointTurn = 50 * kMicrosecond;

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

Nanoseconds Published::superseded(rtree::Version version) const {
  const auto next = versions_.upper_bound(version);
  return next == versions_.end() ? INT64_MAX : next->second.first;
}

// --- what is durable

ServerDisk::ServerDisk()
    : super(CrashMemory::fresh(replication::super_bytes(kMapBytes))),
      log(CrashMemory::fresh(kLogBytes)),
      nodes{CrashMemory::fresh(kChunks * rtree::kChunkBytes<2>),
            CrashMemory::fresh(kChunks * rtree::kChunkBytes<2>)},
      extras{CrashMemory::fresh(kExtraBytes), CrashMemory::fresh(kExtraBytes)} {}

std::vector<CrashMemory::Content*> ServerDisk::all() {
  return {&super, &log, &nodes[0], &nodes[1], &extras[0], &extras[1]};
}

// --- its part in the group

class ServerLife::Part final : public server::Membership<2> {
 public:
  static Result<Opened> open(ServerLife& life, group::MemberId id, ServerDisk& disk,
                             std::uint64_t seed, const replication::TreePlace& place) {
    replication::Volume volume;
    volume.name = life.host_.name();
    volume.super = std::make_unique<CrashMemory>(life.power_, disk.super);
    volume.log = std::make_unique<CrashMemory>(life.power_, disk.log);
    for (int i = 0; i < 2; ++i) {
      volume.nodes[i] = std::make_unique<CrashMemory>(life.power_, disk.nodes[i]);
      volume.extras[i] = std::make_unique<CrashMemory>(life.power_, disk.extras[i]);
    }
    if (replication::is_blank(volume.super->bytes().first(replication::kMapsOffset))) {
      if (Status made = replication::format_store<2>(volume, id, 0, kLogChain); !made) {
        return fail(made.error());
      }
    }
    auto found = open_store(std::move(volume), place);
    if (!found) return fail(found.error());
    Opened opened;
    opened.tree = std::move(found->store.tree);
    auto part = std::make_unique<Part>(life, seed, *found);
    life.part_ = part.get();
    opened.membership = std::move(part);
    return opened;
  }
  Part(ServerLife& life, std::uint64_t seed, Found& found)
      : Membership<2>(found, "simulated", 0), life_(life), seed_(seed), random_(seed) {}
  ~Part() override { stop(); }

  Status join(rtree::Tree<2>& tree, server::Writer<2>& writer, server::History<2>& history,
              const std::string& clients) override {
    tree_ = &tree;
    server::Replica<2>& replica = make_replica(tree, writer, history);
    const auto wake = [this] {
      if (process_ != nullptr) process_->wake();
    };
    driver_ = std::make_unique<SimDriver>(
        life_.service_.group, life_.host_,
        SimDriver::Options{.id = id(), .seed = seed_, .clients = clients}, store().log(),
        applied_at_start(), replica.machine(), wake);
    replica.attach(driver_->member());
    writer.hand_to(wake);
    process_ = life_.host_.spawn("group", [this](sim::Process& process) { turn(process); });
    process_->watch(driver_->poller());
    return {};
  }
  void stop() override {
    if (process_ == nullptr) return;
    process_.reset();
    replica().give_up({ErrorCode::kNotPrimary, "this life is over"});
    driver_.reset();
  }

  const SimDriver& driver() const { return *driver_; }
  std::uint64_t checkpoints() const { return checkpoints_; }

 private:
  void turn(sim::Process& process) {
    if (has_failed_) return;
    life_.host_.charge(life_.turn);
    Status done = driver_->turn();
    if (done) done = step(life_.host_.clock().now());
    if (done && driver_->works()) done = take_checkpoint();
    if (!driver_->works()) return;
    if (!done) {
      has_failed_ = true;
      return life_.service_.group.complain(life_.host_.name() + " failed: " + done.error().message);
    }
    look();
    Nanoseconds next = driver_->member().deadline();
    if (const auto again = replica().deadline()) next = std::min(next, *again);
    process.wake_at(next);
  }

  Status take_checkpoint() {
    if (!replica().wants_checkpoint() && random_.below(kTurnsPerCheckpoint) != 0) return {};
    const auto basis = replica().checkpoint_basis();
    if (!basis) return {};
    ++checkpoints_;
    life_.host_.charge(kCheckpointTurn);
    return store().checkpoint(*tree_, basis->snapshot.root().ref, basis->position, basis->stamp,
                              nullptr, basis->extra);
  }

  /// What must hold of all members together.
  void look() {
    Service& service = life_.service_;
    const auto may_read = [](const ServerLife& life) {
      return life.driver().works() && life.standing().may_read(life.host_.clock().now());
    };
    if (std::ranges::count_if(service.lives, [&](const auto* life) { return may_read(*life); }) >
        1) {
      service.group.complain("two servers believe that they may read");
    }
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
    if (!service.published.show(now.version(), content, service.group.world.now())) {
      service.group.complain("members have different trees of version " +
                             std::to_string(now.version()));
    }
  }

  ServerLife& life_;
  const std::uint64_t seed_;
  Random random_;
  rtree::Tree<2>* tree_ = nullptr;
  std::unique_ptr<SimDriver> driver_;
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
                                   .instance = seed | 1};
  server_ = std::make_unique<SimServer>(host, options, [&](const replication::TreePlace& place) {
    return Part::open(*this, id, disk, seed, place);
  });
  service_.lives.push_back(this);
}

ServerLife::~ServerLife() { std::erase(service_.lives, this); }

const SimDriver& ServerLife::driver() const { return part_->driver(); }

std::uint64_t ServerLife::checkpoints() const { return part_->checkpoints(); }

}  // namespace silurus::simulation
