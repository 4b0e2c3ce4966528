// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/service/service_client.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

using testing_support::SetOperation;

constexpr Nanoseconds kLook = kMillisecond;
/// An operation ends that long after its deadline at most: its client may just be connecting, or
/// have been made to stand still.
constexpr Nanoseconds kLate = 600 * kMillisecond;

constexpr double kLoadFill = 0.4;  // so that there are some nodes
constexpr Nanoseconds kLoadPause = 5 * kMillisecond;
constexpr unsigned kLoadTries = 6;

/// Values of a bulk load come at once, which is looked at elsewhere: in histories, the first of
/// them stands for all.
constexpr unsigned value_of_load(unsigned which) { return kFirstLoaded + which * kValuesOfLoad; }

/// Whether that answer to a load says that it has done nothing, and will do nothing.
bool is_refusal(ErrorCode code) {
  return code == ErrorCode::kConflict || code == ErrorCode::kOutOfMemory ||
         code == ErrorCode::kTooLarge;
}

/// What is left of a bound once clocks differ, and the last message was on its way.
Nanoseconds with_drift(Nanoseconds time) {
  return time + 4 * time / group::kDriftDenominator + kMicrosecond;
}

}  // namespace

/// As client::EtcdDirectory, of the simulated etcd.
class ServiceClient::EtcdOfMembers final : public client::Directory {
 public:
  explicit EtcdOfMembers(SimEtcd& etcd) : etcd_(etcd) {}
  Result<std::vector<std::string>> members() override {
    std::vector<std::string> urls;
    const auto state = etcd_.read();
    if (state.view) {
      for (const auto& member : state.view->members) urls.push_back(member.clients);
    }
    for (const auto& one : state.registrations) urls.push_back(one.member.clients);
    return urls;
  }

 private:
  SimEtcd& etcd_;
};

ServiceClient::ServiceClient(Service& service, Ledger& ledger, sim::Host& host,
                             const std::vector<std::string>& urls, const Options& options)
    : service_(service),
      ledger_(ledger),
      host_(host),
      options_(options),
      random_(options.client.seed),
      fabric_(service.group.world, host, service.fabric),
      poller_(std::move(*fabric_.create_poller())),
      urls_(options.knows_members ? urls : std::vector<std::string>()) {
  connect();
  process_ = host.spawn("client", [this](sim::Process& process) { step(process); });
  process_->watch(*poller_);
}

void ServiceClient::connect() {
  std::unique_ptr<client::Directory> directory;
  if (!options_.knows_members) {
    directory = std::make_unique<EtcdOfMembers>(service_.group.etcd);
  }
  auto group = client::ClientCore<2>::create(urls_, std::move(directory), *this, host_.clock(),
                                             options_.client);
  SILURUS_CHECK(group.has_value());
  group_ = std::move(*group);
}

ServiceClient::~ServiceClient() {
  process_.reset();
  group_.reset();
}

std::uint64_t ServiceClient::for_history(std::uint64_t found) {
  std::uint64_t others = 0;
  for (unsigned value = kFirstLoaded; value < kColumnValues; ++value) {
    if ((value - kFirstLoaded) % kValuesOfLoad != 0) others |= std::uint64_t{1} << value;
  }
  return found & ~others;
}

void ServiceClient::finish_with(std::size_t operations) {
  if (load_ == LoadStep::kPlanned) end_load();
  last_ = operations;
  next_ = 0;
  process_->wake();
}

ServiceClientCounters ServiceClient::counters() const {
  ServiceClientCounters all = counters_;
  all.statistics = group_->statistics();
  return all;
}

std::string ServiceClient::to_string() const {
  const char* const modes[] = {"by message", "one-sidedly", "adaptively"};
  std::string text = host_.name() + " reads " + modes[static_cast<int>(options_.client.mode)];
  if (reads_any()) {
    text += " from any member, at most " +
            std::to_string(options_.client.read.max_staleness / kMicrosecond) + " us old";
  }
  return text + ", " + std::to_string(under_way_) + " operations under way" +
         (group_->ready() ? "" : ", has no primary");
}

void ServiceClient::step(sim::Process& process) {
  host_.charge(kMicrosecond);
  std::size_t events = poller_->progress();
  events += group_->settle(true);
  // It found no server from the beginning; its owner tries again.
  const auto& failure = group_->failure();
  if (failure && failure->code != ErrorCode::kConnectionLost && under_way_ == 0) connect();
  work_on_load();
  while (under_way_ < options_.in_flight && host_.clock().now() >= next_ && last_ != 0u) {
    const std::size_t before = under_way_;
    begin();
    if (under_way_ == before) break;
  }
  group_->flush();
  if (events > 0) return process.wake();
  process.wake_at(host_.clock().now() + std::min(kLook, group_->max_wait()));
}

// --- operations

std::optional<unsigned> ServiceClient::choose_column() {
  const auto first = static_cast<unsigned>(random_.below(kColumns));
  for (unsigned i = 0; i < kColumns; ++i) {
    const unsigned column = (first + i) % kColumns;
    if (ledger_.histories[column].operations.size() < ledger_.room) return column;
  }
  return std::nullopt;
}

void ServiceClient::begin() {
  const auto column = choose_column();
  if (!column) {
    if (last_) last_ = 0;
    return;
  }
  next_ =
      last_ ? 0
            : host_.clock().now() + static_cast<Nanoseconds>(random_.below(options_.longest_rest));
  if (last_) --*last_;
  ++under_way_;
  const std::uint64_t dice = random_.below(100);
  if (dice < (reads_any() ? 70 : 45)) return read(*column);
  if (dice > 85 && !own_.empty()) return remove();
  // Few write while the tree is to be loaded.
  const bool leaves_it = service_.loading != 0 && random_.below(20) != 0;
  if (leaves_it || ledger_.next_value[*column] >= kFirstLoaded) return read(*column);
  add(*column);
}

void ServiceClient::read(unsigned column) {
  std::size_t operation = 0;
  if (reads_any()) {
    ++counters_.any_reads;
  } else {
    auto& operations = ledger_.histories[column].operations;
    operation = operations.size();
    operations.push_back({.kind = SetOperation::Kind::kRead,
                          .called = service_.group.world.now(),
                          .whose = host_.name()});
  }
  const Nanoseconds called = host_.clock().now();
  const Before before{.newest = newest_, .called = service_.group.world.now()};
  const Status begun =
      group_->submit(client::request::Range<2>{{.window = window_of(column)}},
                     [this, column, operation, called, before](const auto& answer) {
                       end_read(column, operation, before, answer);
                       check_end(called);
                     });
  if (begun) return;
  complain("a search was refused: " + begun.error().message);
}

void ServiceClient::add(unsigned column) {
  const unsigned value = ledger_.next_value[column]++;
  const auto made = entry_of(column, value);
  write({made.id, protocol::OperationKind::kInsert, 0, made.box, {}}, column, value,
        SetOperation::Kind::kAdd);
}

void ServiceClient::remove() {
  const auto which = random_.below(own_.size());
  const auto [column, value] = std::exchange(own_[which], own_.back());
  own_.pop_back();
  if (ledger_.histories[column].operations.size() >= ledger_.room) {
    --under_way_;
    return;
  }
  const auto made = entry_of(column, value);
  write({made.id, protocol::OperationKind::kErase, 0, made.box, {}}, column, value,
        SetOperation::Kind::kRemove);
}

void ServiceClient::write(const protocol::Operation<2>& operation, unsigned column, unsigned value,
                          SetOperation::Kind kind) {
  auto& operations = ledger_.histories[column].operations;
  const std::size_t which = operations.size();
  operations.push_back(
      {.kind = kind, .value = value, .called = service_.group.world.now(), .whose = host_.name()});
  const Nanoseconds called = host_.clock().now();
  const Status begun = group_->submit(client::request::Write<2>{{&operation, 1}},
                                      [this, column, which, called](const auto& answer) {
                                        end_write(column, which, answer);
                                        check_end(called);
                                      });
  if (begun) return;
  complain("a write was refused: " + begun.error().message);
}

// --- a bulk load

void ServiceClient::plan_load(Nanoseconds at, unsigned which) {
  load_ = LoadStep::kPlanned;
  load_at_ = at;
  load_value_ = value_of_load(which);
  ++service_.loading;
  Published::Content values{};
  for (unsigned column = 0; column < kColumns; ++column) {
    for (unsigned value = load_value_; value < load_value_ + kValuesOfLoad; ++value) {
      values[column] |= std::uint64_t{1} << value;
      const auto made = entry_of(column, value);
      loaded_.push_back(made);
    }
  }
  service_.loads.push_back(values);
}

void ServiceClient::work_on_load() {
  if (load_ == LoadStep::kNone || host_.clock().now() < load_at_ || load_waits_) return;
  const auto step = [this](LoadStep next) {
    load_waits_ = true;
    return [this, next](const Result<LoadAnswer*>& answer) {
      load_waits_ = false;
      answer ? static_cast<void>(load_ = next) : fail_load(answer.error());
      if (answer && next == LoadStep::kNone) end_load();
    };
  };
  Status begun;
  if (load_ == LoadStep::kPlanned) {
    ++under_way_;
    if (load_tries_++ == 0) {
      for (unsigned column = 0; column < kColumns; ++column) {
        auto& operations = ledger_.histories[column].operations;
        load_operations_.push_back(operations.size());
        operations.push_back({.kind = SetOperation::Kind::kAdd,
                              .value = load_value_,
                              .called = service_.group.world.now(),
                              .whose = host_.name()});
      }
    }
    begun = group_->submit(client::request::LoadBegin(), step(LoadStep::kBegun));
  } else if (load_ == LoadStep::kBegun) {
    begun = group_->submit(client::request::LoadEntries<2>{loaded_}, step(LoadStep::kStaged));
  } else {
    begun =
        group_->submit(client::request::LoadCommit{.fill = kLoadFill, .entries = loaded_.size()},
                       step(LoadStep::kNone));
  }
  if (begun) return;
  load_waits_ = false;
  fail_load(begun.error());
}

/// Whatever came of this try, another one finds a tree that is empty or one that is not.
void ServiceClient::fail_load(const Error& error) {
  ++counters_.loads_failed;
  service_.group.note(host_.name() + " has not loaded: " + error.message);
  if (load_ == LoadStep::kStaged) {
    is_refusal(error.code) ? static_cast<void>(++counters_.loads_refused)
                           : static_cast<void>(may_be_loaded_ = true);
  }
  --under_way_;
  load_at_ = host_.clock().now() + kLoadPause;
  load_ = LoadStep::kPlanned;
  if (load_tries_ >= kLoadTries || last_) end_load();
}

void ServiceClient::end_load() {
  const bool is_done = load_ == LoadStep::kNone;
  load_ = LoadStep::kNone;
  --service_.loading;
  if (is_done) {
    --under_way_;
    ++counters_.loads;
  }
  for (unsigned column = 0; column < load_operations_.size(); ++column) {
    if (is_done) {
      entry(column, load_operations_[column]).returned = service_.group.world.now();
    } else if (!may_be_loaded_) {
      forget(column, load_operations_[column]);
    }
  }
}

// --- answers

void ServiceClient::check_end(Nanoseconds called) {
  --under_way_;
  ++counters_.operations;
  const Nanoseconds lasted = host_.clock().now() - called;
  if (lasted > options_.client.deadline + kLate) {
    complain("an operation lasted for " + std::to_string(lasted / kMillisecond) + " ms");
  }
}

/// Neither asks for anything nor changes anything: as a read that may never have happened.
void ServiceClient::forget(unsigned column, std::size_t operation) {
  ++counters_.failed;
  SetOperation& kept = entry(column, operation);
  kept.kind = SetOperation::Kind::kRead;
  kept.returned = SetOperation::kNever;
}

void ServiceClient::end_read(unsigned column, std::size_t operation, const Before& before,
                             const Result<RangeAnswer<2>*>& answer) {
  if (!answer) {
    if (answer.error().code == ErrorCode::kInDoubt) complain("a search that is in doubt");
    if (reads_any()) {
      ++counters_.failed;
    } else {
      forget(column, operation);
    }
    return;
  }
  const std::uint64_t found = check(column, before, **answer);
  if (reads_any()) return;
  SetOperation& kept = entry(column, operation);
  kept.found = for_history(found);
  kept.returned = service_.group.world.now();
}

std::uint64_t ServiceClient::check(unsigned column, const Before& before,
                                   const RangeAnswer<2>& answer) {
  const std::uint64_t found = values_of(column, answer.ids, service_.group.complaints);
  const Published::Content* const published = service_.published.find(answer.version);
  if (published == nullptr) {
    complain("an answer of version " + std::to_string(answer.version) +
             ", which no server published");
    return found;
  }
  if (found != (*published)[column]) {
    complain("an answer that is not what version " + std::to_string(answer.version) + " holds");
  }
  newest_ = std::max(newest_, answer.version);
  // The rule holds for every member, in every mode and view.
  if (answer.version < before.newest) {
    complain("an answer of version " + std::to_string(answer.version) + " after one of " +
             std::to_string(before.newest));
  }
  if (!reads_any()) return found;
  const Nanoseconds superseded = service_.published.superseded(answer.version);
  // What was current since it was asked for is linearizable, and no older than the primary's answer
  // is, however late that arrives.
  if (superseded >= before.called) return found;
  const Nanoseconds age = service_.group.world.now() - superseded;
  if (age > with_drift(options_.client.read.max_staleness)) {
    complain("an answer that is " + std::to_string(age / kMicrosecond) + " us old");
  }
  return found;
}

void ServiceClient::end_write(unsigned column, std::size_t operation,
                              const Result<WriteAnswer*>& answer) {
  SetOperation& kept = entry(column, operation);
  if (!answer) {
    if (answer.error().code != ErrorCode::kInDoubt) return forget(column, operation);
    ++counters_.in_doubt;
    return;
  }
  newest_ = std::max(newest_, (*answer)->version);
  if (!(*answer)->failed.empty()) {
    complain("a write failed: " + std::string(silurus::to_string((*answer)->failed.front().code)));
    return;
  }
  kept.returned = service_.group.world.now();
  if (kept.kind == SetOperation::Kind::kAdd) own_.emplace_back(column, kept.value);
}

}  // namespace silurus::simulation
