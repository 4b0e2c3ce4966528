// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/shards/sim_environment.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "common/check.h"

namespace silurus::simulation {
namespace {

/// What a request to etcd may take. Time runs some fifty times as fast as in a real cluster.
constexpr Nanoseconds kEtcdTimeout = 20 * kMillisecond;

class SimFabrics final : public client::Fabrics {
 public:
  SimFabrics(sim::Thread& thread, const sim::FabricOptions& options)
      : thread_(thread),
        fabric_(thread.host().world(), thread.host(), options),
        poller_(std::move(*fabric_.create_poller())) {
    pollers_.push_back(poller_.get());
    thread_.watch(*poller_);
  }
  Result<Route> route_to(const transport::Address&) override {
    return Route{&fabric_, poller_.get()};
  }
  std::size_t wait(Nanoseconds longest) override {
    if (const std::size_t events = poller_->progress(); events > 0) return events;
    thread_.wait_until(thread_.clock().now() + std::max<Nanoseconds>(longest, 1));
    return poller_->progress();
  }

 private:
  sim::Thread& thread_;
  sim::SimFabric fabric_;
  std::unique_ptr<transport::Poller> poller_;
};

/// Requests and answers are packets that get lost as others do.
class SimGateway final : public etcd::Gateway {
 public:
  SimGateway(sim::Thread& thread, EtcdOfShards& etcd, Nanoseconds timeout)
      : thread_(thread), etcd_(etcd), timeout_(timeout) {}

  Result<etcd::KeyValue> read(const std::string& key) override {
    return call<etcd::KeyValue>([key](EtcdOfShards& etcd) { return etcd.read(key); });
  }
  Result<std::vector<etcd::KeyValue>> read_prefix(const std::string& prefix) override {
    return call<std::vector<etcd::KeyValue>>(
        [prefix](EtcdOfShards& etcd) { return etcd.read_prefix(prefix); });
  }
  Result<std::uint64_t> replace(const std::string& key, std::uint64_t revision,
                                const std::string& value) override {
    return call<std::uint64_t>(
        [key, revision, value](EtcdOfShards& etcd) { return etcd.replace(key, revision, value); });
  }
  // Members of groups have leases, not those who look for them.
  Status put(const std::string&, const std::string&, std::uint64_t) override { return none(); }
  Result<std::uint64_t> grant(std::int64_t) override { return none(); }
  Result<bool> renew(std::uint64_t) override { return none(); }

 private:
  static tl::unexpected<Error> none() {
    return fail(ErrorCode::kUnsupported, "a simulated client has no leases");
  }

  static constexpr std::size_t kBytes = 500;

  /// One that stands still does it later, when the caller may have given up.
  template <typename Answer, typename Action>
  static void serve(EtcdOfShards& etcd, sim::Host& asker, const Action& action,
                    const std::shared_ptr<std::optional<Answer>>& answer,
                    const std::function<void()>& wake) {
    sim::World& world = asker.world();
    if (!etcd.host().alive()) return;
    if (etcd.host().paused()) {
      return world.after(kMillisecond, [&etcd, &asker, action, answer, wake] {
        serve<Answer>(etcd, asker, action, answer, wake);
      });
    }
    const Answer said = action(etcd);
    const auto back = world.transmit(etcd.host(), asker, kBytes);
    if (!back) return;
    world.at(*back, [answer, said, wake] {
      *answer = said;
      wake();
    });
  }

  template <typename Answer, typename Action>
  Result<Answer> call(Action action) {
    const auto answer = std::make_shared<std::optional<Answer>>();
    sim::Host& here = thread_.host();
    sim::World& world = here.world();
    const auto arrival =
        thread_.is_over() ? std::nullopt : world.transmit(here, etcd_.host(), kBytes);
    if (arrival) {
      world.at(*arrival, [&etcd = etcd_, &here, action, answer, wake = thread_.waker()] {
        serve<Answer>(etcd, here, action, answer, wake);
      });
    }
    const Nanoseconds until = thread_.clock().now() + timeout_;
    while (!answer->has_value() && thread_.clock().now() < until) thread_.wait_until(until);
    if (!answer->has_value()) return fail(ErrorCode::kUnavailable, "etcd does not answer");
    return std::move(**answer);
  }

  sim::Thread& thread_;
  EtcdOfShards& etcd_;
  const Nanoseconds timeout_;
};

}  // namespace

etcd::KeyValue EtcdOfShards::read(const std::string& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? etcd::KeyValue{.key = key, .value = {}} : found->second;
}

std::vector<etcd::KeyValue> EtcdOfShards::read_prefix(const std::string& prefix) {
  std::vector<etcd::KeyValue> found;
  for (const auto& [number, group] : groups_) {
    if (prefix != "silurus/" + cluster_ + "/" + std::to_string(number) + "/") continue;
    const auto state = group->read();
    for (const auto& one : state.registrations) {
      found.push_back({prefix + "members/" + std::to_string(one.member.id), encode(one), 1});
    }
    if (state.view) found.push_back({prefix + "view", encode(*state.view), state.revision});
  }
  return found;
}

std::uint64_t EtcdOfShards::replace(const std::string& key, std::uint64_t revision,
                                    const std::string& value) {
  if (read(key).revision != revision) return 0;
  history_.push_back(value);
  keys_[key] = {key, value, history_.size()};
  return history_.size();
}

Result<std::unique_ptr<client::Fabrics>> SimEnvironment::open_fabrics(
    const transport::WaitOptions&) {
  return std::make_unique<SimFabrics>(thread_, fabric_);
}

Result<std::unique_ptr<etcd::Gateway>> SimEnvironment::open_etcd(const etcd::Address&,
                                                                 Nanoseconds timeout) {
  return std::make_unique<SimGateway>(thread_, etcd_, std::min(timeout, kEtcdTimeout));
}

}  // namespace silurus::simulation
