// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/shards/router_client.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "client/internal.h"

namespace silurus::simulation {
namespace {

constexpr Nanoseconds kRetry = 5 * kMillisecond;
/// Faults keep no host from running, or from being heard, for longer.
constexpr Nanoseconds kLongestPause = 500 * kMillisecond;
constexpr unsigned kAllValues = kColumns * kColumnValues;

}  // namespace

RouterClient::RouterClient(ShardWorld& shards, sim::Host& host, const Options& options)
    : shards_(shards), host_(host), options_(options), random_(options.client.seed) {
  thread_ = std::make_unique<sim::Thread>(host, "client", [this](sim::Thread& self) { run(self); });
}

std::string RouterClient::to_string() const {
  const char* const modes[] = {"by message", "one-sidedly", "adaptively"};
  return host_.name() + " reads " + modes[static_cast<int>(options_.client.mode)] + ", does " +
         doing_;
}

void RouterClient::run(sim::Thread& self) {
  self_ = &self;
  SimEnvironment environment(self, shards_.etcd, shards_.fabric, random_());
  std::optional<Router<2>> router;
  while (!self.is_over() && !is_finished_) {
    if (!router) {
      auto made =
          client::Internal::connect_router<2>(shards_.etcd.url(), options_.client, environment);
      if (made) {
        router.emplace(std::move(*made));
      } else {
        self.sleep(kRetry);
      }
    } else if (last_ == 0u) {
      read_everything(*router);
    } else {
      const std::uint64_t before = counters_.failed + counters_.in_doubt;
      operate(*router);
      const bool is_good = counters_.failed + counters_.in_doubt == before;
      if (!last_) {
        self.sleep(static_cast<Nanoseconds>(random_.below(options_.longest_rest)));
      } else if (!is_good) {
        self.sleep(kRetry);
      } else if (*last_ > 0) {
        --*last_;
      }
    }
  }
  if (router) counters_.visits += router->visits();
  self_ = nullptr;
}

std::optional<unsigned> RouterClient::choose_column() {
  const auto first = static_cast<unsigned>(random_.below(kColumns));
  for (unsigned i = 0; i < kColumns; ++i) {
    if (has_room((first + i) % kColumns)) return (first + i) % kColumns;
  }
  return std::nullopt;
}

void RouterClient::operate(Router<2>& router) {
  const auto column = choose_column();
  if (!column) {
    if (last_) last_ = 0;
    return;
  }
  const Nanoseconds called = self_->clock().now();
  const std::uint64_t dice = random_.below(options_.writes ? 100 : 45);
  if (dice < 30) {
    read(router, *column);
  } else if (dice < 40) {
    nearest(router, *column);
  } else if (dice < 45) {
    count(router, *column);
  } else if (dice > 85 && !own_.empty()) {
    remove(router);
  } else {
    add(router, *column);
  }
  doing_ = "nothing";
  if (self_->is_over()) return;
  ++counters_.operations;
  // Each of a call's attempts has the deadline, and connects to servers before.
  const Nanoseconds lasted = self_->clock().now() - called;
  const auto& client = options_.client;
  if (lasted > 2 * (client.deadline + client.connect_timeout) + kLongestPause) {
    complain("an operation lasted for " + std::to_string(lasted / kMillisecond) + " ms");
  }
}

std::size_t RouterClient::begin(unsigned column, Operation::Kind kind, unsigned value) {
  const char* const names[] = {"add ", "remove ", "read "};
  doing_ = names[static_cast<int>(kind)] + std::to_string(column) + "/" + std::to_string(value);
  auto& operations = shards_.ledger.histories[column].operations;
  operations.push_back({.kind = kind, .value = value, .called = now(), .whose = host_.name()});
  return operations.size() - 1;
}

/// As a read that may never have happened.
void RouterClient::forget(unsigned column, std::size_t operation, const Error& why) {
  expect_fault(why);
  entry(column, operation).kind = Operation::Kind::kRead;
}

/// Faults, and shards that are being replaced, make calls fail with these errors, and no others.
void RouterClient::expect_fault(const Error& why) {
  ++counters_.failed;
  switch (why.code) {
    case ErrorCode::kConnectionLost:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kMoved:
    case ErrorCode::kUnavailable:
      return;
    default:
      complain(doing_ + " failed with '" + why.message + "'");
  }
}

// --- searches

void RouterClient::read(Router<2>& router, unsigned column) {
  const std::size_t operation = begin(column, Operation::Kind::kRead);
  const auto answer = router.range(window_of(column));
  if (self_->is_over()) return;
  if (!answer) return forget(column, operation, answer.error());
  Operation& kept = entry(column, operation);
  kept.found = values_of(column, answer->ids, shards_.everyone.complaints);
  kept.returned = now();
}

/// It has found all that is nearer than the last one that it found.
void RouterClient::nearest(Router<2>& router, unsigned column) {
  ++counters_.nearest;
  const std::size_t operation = begin(column, Operation::Kind::kRead);
  const double y = static_cast<double>(random_.below(kColumnValues));
  const auto k = static_cast<std::uint32_t>(1 + random_.below(24));
  const auto answer = router.nearest({{static_cast<double>(column), y}}, k);
  if (self_->is_over()) return;
  if (!answer) return forget(column, operation, answer.error());
  const auto& found = answer->neighbors;
  const double last =
      found.size() < k ? std::numeric_limits<double>::infinity() : found.back().distance;
  std::vector<std::uint64_t> ids;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i > 0 && found[i].distance < found[i - 1].distance) complain("neighbours out of order");
    for (std::size_t j = 0; j < i; ++j) {
      if (found[j].id == found[i].id) complain("a neighbour twice");
    }
    if (found[i].distance < last && found[i].id / kColumnValues == column) {
      ids.push_back(found[i].id);
    }
  }
  Operation& kept = entry(column, operation);
  kept.looked_for = 0;
  for (unsigned value = 0; value < kColumnValues; ++value) {
    if (std::abs(value - y) < last) kept.looked_for |= std::uint64_t{1} << value;
  }
  kept.found = values_of(column, ids, shards_.everyone.complaints);
  kept.returned = now();
}

/// Compares a count with the number of entries known to have been there all the time, and with the
/// number that may have been.
void RouterClient::count(Router<2>& router, unsigned column) {
  ++counters_.counts;
  doing_ = "count " + std::to_string(column);
  const Nanoseconds called = now();
  const auto answer = router.count(window_of(column));
  if (self_->is_over()) return;
  if (!answer) return expect_fault(answer.error());
  std::uint64_t certain = 0;
  std::uint64_t possible = 0;
  std::uint64_t perhaps_gone = 0;
  for (const Operation& one : shards_.ledger.histories[column].operations) {
    const std::uint64_t bit = std::uint64_t{1} << one.value;
    const bool was_before = one.returned < called;
    if (one.kind == Operation::Kind::kAdd) {
      possible |= bit;
      if (was_before) certain |= bit;
    } else if (one.kind == Operation::Kind::kRemove) {
      perhaps_gone |= bit;
      if (was_before) possible &= ~bit;
    }
  }
  certain &= ~perhaps_gone;
  if (*answer < static_cast<std::uint64_t>(std::popcount(certain)) ||
      *answer > static_cast<std::uint64_t>(std::popcount(possible))) {
    complain("a count of " + std::to_string(*answer) + ", not within " +
             std::to_string(std::popcount(certain)) + " and " +
             std::to_string(std::popcount(possible)));
  }
}

/// Each entry of it is one of the ledger's, once.
void RouterClient::read_everything(Router<2>& router) {
  const Nanoseconds called = now();
  const auto all = router.range({{-1, -2}, {kColumns, kColumnValues + 1}});
  const auto nearest =
      all ? router.nearest({{0, 0}}, kAllValues) : Result<NearestAnswer>(fail(all.error()));
  if (self_->is_over() || !all || !nearest) return;
  std::vector<std::uint64_t> neighbours;
  for (const auto& one : nearest->neighbors) neighbours.push_back(one.id);
  for (const auto* ids : {&all->ids, static_cast<const std::vector<std::uint64_t>*>(&neighbours)}) {
    for (unsigned column = 0; column < kColumns; ++column) {
      std::vector<std::uint64_t> own;
      std::ranges::copy_if(*ids, std::back_inserter(own),
                           [column](std::uint64_t id) { return id / kColumnValues == column; });
      const std::size_t operation = begin(column, Operation::Kind::kRead);
      Operation& kept = entry(column, operation);
      kept.called = called;
      kept.found = values_of(column, own, shards_.everyone.complaints);
      kept.returned = now();
    }
  }
  is_finished_ = true;
}

// --- writes

void RouterClient::add(Router<2>& router, unsigned column) {
  const unsigned value = shards_.ledger.next_value[column]++;
  const auto made = entry_of(column, value);
  const std::size_t operation = begin(column, Operation::Kind::kAdd, value);
  end_write(column, operation, router.insert(made.id, made.box));
}

void RouterClient::remove(Router<2>& router) {
  const auto which = random_.below(own_.size());
  const auto [column, value] = own_[which];
  if (!has_room(column)) return;
  own_[which] = own_.back();
  own_.pop_back();
  const auto made = entry_of(column, value);
  const std::size_t operation = begin(column, Operation::Kind::kRemove, value);
  end_write(column, operation, router.erase(made.id, made.box));
}

void RouterClient::end_write(unsigned column, std::size_t operation,
                             const Result<Version>& answer) {
  if (self_->is_over()) return;
  Operation& kept = entry(column, operation);
  if (!answer) {
    if (answer.error().code == ErrorCode::kNotFound) complain("an entry that is lost");
    if (answer.error().code != ErrorCode::kInDoubt) {
      return forget(column, operation, answer.error());
    }
    ++counters_.in_doubt;
    return;
  }
  kept.returned = now();
  if (kept.kind == Operation::Kind::kAdd) own_.emplace_back(column, kept.value);
}

}  // namespace silurus::simulation
