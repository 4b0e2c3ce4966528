// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/group/group_node.h"

#include <sys/mman.h>

#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

constexpr LogPosition kLogStart{.lsn = 0, .chain = 0x5117};

rtree::Entry<2> entry_of(const Request& request) {
  const double x = request.key;
  const double y = request.value;
  return {request.key * kValues + request.value, {{x, y}, {x, y}}};
}

}  // namespace

// --- the tree

class TreeMachine::Slabs final : public rtree::SlabSource {
 public:
  ~Slabs() override {
    for (const auto& slab : slabs_) ::munmap(slab.data(), slab.size());
  }
  Result<std::span<std::byte>> allocate(std::size_t bytes) override {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SILURUS_CHECK(at != MAP_FAILED);
    slabs_.emplace_back(static_cast<std::byte*>(at), bytes);
    return slabs_.back();
  }

  std::span<std::byte> first() const { return slabs_.front(); }

 private:
  std::vector<std::span<std::byte>> slabs_;
};

TreeMachine::TreeMachine(GroupWorld& world, const Clock& clock,
                         const testing_support::ReceivedTree<2>* copy)
    : world_(world), slabs_(std::make_unique<Slabs>()) {
  auto tree = copy == nullptr ? rtree::Tree<2>::create({}, *slabs_, clock)
                              : rtree::Tree<2>::restore({}, *slabs_, clock, copy->facts.root, *copy,
                                                        {.threads = 1});
  SILURUS_CHECK(tree.has_value());
  tree_ = std::move(*tree);
  machine_ = std::make_unique<group::TreeMachine<2>>(
      *tree_,
      copy == nullptr ? group::MachineState()
                      : group::MachineState::decode(copy->facts.extra).value(),
      copy == nullptr ? 0 : copy->facts.stamp,
      [this](const group::AppliedBatch& batch) { world_.applied(batch.end, batch.version); },
      world.slice);
}
TreeMachine::~TreeMachine() = default;

std::span<std::byte> TreeMachine::slab() const { return slabs_->first(); }

Result<LogPosition> TreeMachine::apply(const replication::Log& log, LogPosition from, Lsn commit) {
  return machine_->apply(log, from, commit);
}

std::uint64_t TreeMachine::values(unsigned key) const {
  rtree::RangeResult<2> found;
  const double x = key;
  const Status searched =
      tree_->snapshot().range({.window = {{x - 0.25, -1}, {x + 0.25, kValues}}}, found);
  SILURUS_CHECK(searched.has_value());
  std::uint64_t values = 0;
  for (const std::uint64_t id : found.ids) values |= std::uint64_t{1} << (id % kValues);
  // Twice the same entry would be a write that happened twice.
  if (std::popcount(values) != static_cast<int>(found.ids.size())) {
    world_.complain("a write happened twice");
  }
  return values;
}

// --- a member

MemberLife::MemberLife(GroupWorld& world, sim::Host& host, group::MemberId id,
                       CrashMemory::Content& content, std::uint64_t seed, Power::Failure failure,
                       const testing_support::ReceivedTree<2>* copy)
    : world_(world),
      host_(host),
      power_(seed, UINT64_MAX, failure),
      machine_(world, host.clock(), copy) {
  const LogPosition start = copy == nullptr ? kLogStart : copy->facts.log;
  auto log = replication::Log::open(std::make_unique<CrashMemory>(power_, content), start);
  SILURUS_CHECK(log.has_value());
  log_ = std::move(*log);
  driver_ = std::make_unique<SimDriver>(world, host, SimDriver::Options{.id = id, .seed = seed},
                                        *log_, start, machine_, [this] { process_->wake(); });
  if (world.offers_copies) offer_copies();
  process_ = host.spawn("member", [this](sim::Process& process) { step(process); });
  process_->watch(driver_->poller());
}

void MemberLife::offer_copies() {
  copies_ = std::make_unique<replication::TransferSource<2>>(
      kTestGroup,
      replication::TransferSource<2>::Options{.first_region = driver_->links().regions()},
      [this]() -> Result<replication::PinnedTree<2>> {
        return replication::PinnedTree<2>{.tree = machine_.snapshot(),
                                          .log = member().applied(),
                                          .stamp = machine_.stamp(),
                                          .epoch = member().epoch(),
                                          .extra = machine_.state().encode()};
      });
  driver_->links().admit(replication::kTransferMagic, copies_.get());
  if (has(driver_->fabric().capabilities(), transport::Capability::kOneSidedRead)) {
    const transport::Region slab{.bytes = machine_.slab(), .fd = -1};
    SILURUS_CHECK(driver_->links().listener().expose(slab).has_value());
  }
}

void MemberLife::ask(const Request& request, OnAnswer answer) {
  queue_.push_back({request, std::move(answer)});
  process_->wake();
}

void MemberLife::step(sim::Process& process) {
  host_.charge(turn);
  if (copies_ != nullptr) copies_->tick(host_.clock().now());
  if (Status done = driver_->turn(); !done) {
    if (!host_.alive()) return;  // it crashed in the midst of that
    world_.complain(host_.name() + " failed: " + done.error().message);
    return;
  }
  answer_applied();
  serve();
  process.wake_at(member().deadline());
}

void MemberLife::serve() {
  for (; !queue_.empty(); queue_.pop_front()) {
    Asked& asked = queue_.front();
    if (asked.request.kind != Request::Kind::kRead) {
      write(std::move(asked));
    } else if (member().may_read()) {
      asked.answer({.done = true, .found = machine_.values(asked.request.key), .primary = 0});
    } else {
      asked.answer({.done = false, .found = 0, .primary = member().view().primary});
    }
  }
  if (!std::exchange(has_written_, false)) return;
  if (Status wrote = member().wrote(); !wrote && host_.alive()) {
    world_.complain(host_.name() + " cannot write: " + wrote.error().message);
  }
}

void MemberLife::write(Asked asked) {
  const Request& request = asked.request;
  if (member().role() != group::Role::kPrimary || !member().may_write()) {
    return asked.answer({.done = false, .found = 0, .primary = member().view().primary});
  }
  const Lsn applied = member().applied().lsn;
  if (machine_.requests().is_done(request.client, request.sequence) &&
      member().acknowledged() >= applied) {
    world_.acknowledged(applied, member().view());
    return asked.answer({.done = true});
  }
  if (!member().view().has_enough()) return asked.answer({});
  std::uint64_t& logged = logged_[request.client];
  if (logged < request.sequence) {
    const replication::RequestPayload payload{request.client, request.sequence, request.sequence};
    const rtree::Entry<2> entry = entry_of(request);
    const replication::EntryPayload<2> change{entry.id, entry.box};
    replication::RecordHeader header{.checksum = 0,
                                     .lsn = 0,
                                     .stamp = machine_.stamp() + 1,
                                     .epoch = member().epoch(),
                                     .length = 0,
                                     .type = replication::RecordType::kRequest,
                                     .flags = 0};
    if (!log_->has_room(512)) return asked.answer({});
    SILURUS_CHECK(log_->append(header, std::as_bytes(std::span(&payload, 1))));
    header.type = request.kind == Request::Kind::kAdd ? replication::RecordType::kInsert
                                                      : replication::RecordType::kErase;
    SILURUS_CHECK(log_->append(header, std::as_bytes(std::span(&change, 1))));
    if (request.sequence % 4 == 0) {  // changes no entry, but makes a version in any case
      const replication::CompactPayload compaction{request.sequence << 56, 0};
      header.type = replication::RecordType::kCompact;
      SILURUS_CHECK(log_->append(header, std::as_bytes(std::span(&compaction, 1))));
    }
    log_->end_batch();
    logged = request.sequence;
    has_written_ = true;
  }
  waiting_.emplace(log_->end().lsn, std::move(asked));
}

void MemberLife::answer_applied() {
  if (member().role() != group::Role::kPrimary) {
    // What was logged may never be: its clients ask again, elsewhere or here.
    logged_.clear();
    waiting_.clear();
    return;
  }
  while (!waiting_.empty() && waiting_.begin()->first <= member().applied().lsn) {
    const Lsn end = waiting_.begin()->first;
    const bool is_enough = end <= member().acknowledged();
    if (is_enough) world_.acknowledged(end, member().view());
    waiting_.begin()->second.answer({.done = is_enough});
    waiting_.erase(waiting_.begin());
  }
}

}  // namespace silurus::simulation
