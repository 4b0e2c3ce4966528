// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "replication/group/view_store.h"
#include "transport/sim/host.h"
#include "transport/sim/world.h"

namespace silurus::simulation {

namespace group = replication::group;
namespace sim = transport::sim;

/// etcd, as far as a group uses it: one host that remembers a view and registrations under leases.
/// It forgets nothing when it crashes (etcd doesn't), and does nothing meanwhile.
class SimEtcd {
 public:
  SimEtcd(sim::World& world, sim::Host& host, Nanoseconds lease)
      : world_(world), host_(host), lease_(lease) {}

  group::ViewStore::State read() {
    std::erase_if(registrations_,
                  [this](const auto& one) { return one.second.expires <= world_.now(); });
    group::ViewStore::State state{.view = view_, .revision = revision_, .registrations = {}};
    for (const auto& [id, kept] : registrations_) state.registrations.push_back(kept.registration);
    return state;
  }
  std::uint64_t replace(std::uint64_t revision, const group::View& next) {
    if (revision != (view_ ? revision_ : 0)) return 0;
    view_ = next;
    history.push_back(next);
    return ++revision_;
  }
  void announce(const group::Registration& registration) {
    registrations_[registration.member.id] = {registration, world_.now() + lease_};
  }
  sim::Host& host() { return host_; }

  std::vector<group::View> history;

 private:
  struct Kept {
    group::Registration registration;
    Nanoseconds expires;
  };
  sim::World& world_;
  sim::Host& host_;
  const Nanoseconds lease_;
  std::optional<group::View> view_;
  std::uint64_t revision_ = 0;
  std::map<group::MemberId, Kept> registrations_;
};

/// A member's way to it: requests and answers are packets that get lost as others do.
class SimViewStore final : public group::ViewStore {
 public:
  /// `wake`: has the member's process call progress().
  SimViewStore(sim::World& world, sim::Host& host, SimEtcd& etcd, Nanoseconds timeout,
               std::function<void()> wake)
      : shared_(std::make_shared<Shared>(world, host, etcd, timeout, std::move(wake))) {}
  ~SimViewStore() override { shared_->is_over = true; }

  void read(OnRead done) override {
    call<State>([](SimEtcd& etcd) { return etcd.read(); }, std::move(done));
  }
  void replace(std::uint64_t revision, const group::View& next, OnReplaced done) override {
    call<std::uint64_t>(
        [revision, next](SimEtcd& etcd) {
          // What is stored is text.
          return etcd.replace(revision, group::decode_view(encode(next)).value());
        },
        std::move(done));
  }
  void announce(const group::Registration& registration, OnAnnounced done) override {
    call<bool>(
        [registration](SimEtcd& etcd) {
          etcd.announce(group::decode_registration(encode(registration)).value());
          return true;
        },
        [done = std::move(done)](Result<bool> answer) {
          answer ? done({}) : done(fail(answer.error()));
        });
  }
  Status progress() override {
    while (!shared_->told.empty()) {
      const auto told = std::move(shared_->told.front());
      shared_->told.pop_front();
      told();
    }
    return {};
  }

 private:
  struct Shared {
    Shared(sim::World& w, sim::Host& h, SimEtcd& e, Nanoseconds t, std::function<void()> wake_up)
        : world(w), host(h), etcd(e), timeout(t), wake(std::move(wake_up)) {}
    sim::World& world;
    sim::Host& host;
    SimEtcd& etcd;
    const Nanoseconds timeout;
    std::function<void()> wake;
    std::deque<std::function<void()>> told;
    bool is_over = false;
    void tell(std::function<void()> what) {
      if (is_over) return;
      told.push_back(std::move(what));
      wake();
    }
  };

  template <typename Answer, typename Action, typename Done>
  void call(Action action, Done done) {
    static constexpr std::size_t kBytes = 500;
    auto shared = shared_;
    auto is_done = std::make_shared<bool>(false);
    auto finish = [shared, is_done, done](Result<Answer> answer) {
      if (std::exchange(*is_done, true)) return;
      shared->tell([done, answer = std::move(answer)] { done(answer); });
    };
    shared->world.after(shared->timeout, [finish] {
      finish(fail(ErrorCode::kDeadlineExceeded, "etcd did not answer"));
    });
    sim::Host& there = shared->etcd.host();
    const auto arrival = shared->world.transmit(shared->host, there, kBytes);
    if (!arrival) return;
    shared->world.at(*arrival, [shared, action, finish, &there] {
      if (!there.alive() || there.paused()) return;
      const Answer answer = action(shared->etcd);
      const auto back = shared->world.transmit(there, shared->host, kBytes);
      if (back) shared->world.at(*back, [finish, answer] { finish(answer); });
    });
  }

  std::shared_ptr<Shared> shared_;
};

}  // namespace silurus::simulation
