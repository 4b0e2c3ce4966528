// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/world.h"

#include <algorithm>
#include <bit>

#include "common/check.h"
#include "transport/sim/host.h"

namespace silurus::transport::sim {

World::World(std::uint64_t seed)
    : seed_(seed),
      random_(seed),
      loopback_{.latency = 200, .jitter = 50},
      trace_hash_(0xcbf29ce484222325u ^ seed) {}

World::~World() = default;

void World::at(Nanoseconds time, Action action) {
  queue_.push_back({std::max(time, now_), ++last_order_, std::move(action)});
  std::push_heap(queue_.begin(), queue_.end(), later);
}

bool World::step() {
  if (queue_.empty()) return false;
  std::pop_heap(queue_.begin(), queue_.end(), later);
  const Event event = std::move(queue_.back());
  queue_.pop_back();
  SILURUS_CHECK(event.time >= now_);
  now_ = event.time;
  ++events_;
  event.action();
  return true;
}

void World::run_until(Nanoseconds time) {
  while (!queue_.empty() && queue_.front().time <= time) step();
  now_ = std::max(now_, time);
}

bool World::run_until(const std::function<bool()>& done, Nanoseconds deadline) {
  while (!done()) {
    if (queue_.empty() || queue_.front().time > deadline) {
      now_ = std::max(now_, deadline);
      return done();
    }
    step();
  }
  return true;
}

Host& World::add_host(std::string name) { return add_host(std::move(name), HostOptions{}); }

Host& World::add_host(std::string name, const HostOptions& options) {
  SILURUS_CHECK(find_host(name) == nullptr);
  const auto index = static_cast<std::uint32_t>(hosts_.size());
  hosts_.push_back(std::make_unique<Host>(*this, index, std::move(name), options));
  return *hosts_.back();
}

Host* World::find_host(std::string_view name) {
  for (const auto& host : hosts_) {
    if (host->name() == name) return host.get();
  }
  return nullptr;
}

World::LinkName World::name(const Host& from, const Host& to) { return {from.index(), to.index()}; }

void World::set_link(const Host& from, const Host& to, const LinkModel& model) {
  links_[name(from, to)].model = model;
}

void World::cut(const Host& from, const Host& to) {
  if (&from == &to) return;
  links_[name(from, to)].is_cut = true;
  trace(Trace::kCut, from.index(), to.index());
}

void World::heal(const Host& from, const Host& to) {
  links_[name(from, to)].is_cut = false;
  trace(Trace::kHeal, from.index(), to.index());
}

void World::partition(std::span<Host* const> side, std::span<Host* const> other) {
  for (const Host* a : side) {
    for (const Host* b : other) {
      cut(*a, *b);
      cut(*b, *a);
    }
  }
}

void World::heal_all() {
  for (auto& [link_name, link] : links_) link.is_cut = false;
  trace(Trace::kHeal, ~std::uint64_t{0});
}

const LinkModel& World::link(const Host& from, const Host& to) const {
  const auto found = links_.find(name(from, to));
  if (found != links_.end() && found->second.model) return *found->second.model;
  return &from == &to ? loopback_ : default_link_;
}

std::optional<Nanoseconds> World::transmit(Host& from, Host& to, std::size_t bytes, CardWork work) {
  Link& state = links_[name(from, to)];
  const LinkModel& model = link(from, to);
  Nanoseconds sent = now_ + from.ahead();
  if (from.options().nic.link_bytes_per_second > 0) {
    // The card alone decides: it serves its host's processes by the time at which they send, which
    // is not the order in which their steps run.
    sent = from.pass_out(sent, bytes, work.sender);
  } else {
    sent = std::max(sent, state.free_at);
    sent += static_cast<Nanoseconds>(static_cast<double>(bytes) / model.bytes_per_second * 1e9);
    state.free_at = sent;
  }
  // Drawn in any case, so that a run with a fault keeps in step with one without for longer.
  const double fate = random_.uniform();
  const auto jitter =
      static_cast<Nanoseconds>(random_.below(static_cast<std::uint64_t>(model.jitter) + 1));
  const bool works = work.is_of_card ? from.has_power() : from.alive();
  if (!works || from.suspended() || to.suspended() || state.is_cut || fate < model.loss) {
    trace(Trace::kLost, from.index(), to.index());
    return std::nullopt;
  }
  const Nanoseconds arrival = sent + model.latency + jitter;
  if (to.options().nic.link_bytes_per_second <= 0) return arrival;
  return to.pass_in(arrival, bytes, work.receiver);
}

void World::trace(Trace kind, std::uint64_t a, std::uint64_t b) {
  const auto fold = [this](std::uint64_t word) {
    trace_hash_ = std::rotl((trace_hash_ ^ word) * 0x9e3779b97f4a7c15u, 29);
  };
  fold(static_cast<std::uint64_t>(now_));
  fold(static_cast<std::uint64_t>(kind));
  fold(a);
  fold(b);
  if (trace_sink_) trace_sink_(now_, kind, a, b);
}

}  // namespace silurus::transport::sim
