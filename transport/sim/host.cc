// SPDX-License-Identifier: Apache-2.0

#include "transport/sim/host.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "transport/sim/options.h"
#include "transport/sim/poller.h"
#include "transport/sim/world.h"

namespace silurus::transport::sim {

struct Process::State {
  // clang 14 makes no aggregate in a make_shared
  State(Host& on, std::string called, Step does)
      : host(on), name(std::move(called)), step(std::move(does)) {}
  Host& host;
  std::string name;
  Step step;
  Process* process = nullptr;  // null once destroyed
  std::uint64_t id = 0;
  std::uint32_t incarnation = 0;
  Nanoseconds busy_until = 0;
  bool is_scheduled =
      false;  // a run at the next possible time is in the queue, or waits for resume
  bool is_running = false;
  std::uint64_t timer = 0;  // counts wake_at()s: only the last one's event counts
};

Process::~Process() {
  state_->process = nullptr;
  SILURUS_CHECK(!state_->is_running);
}

Host& Process::host() const { return state_->host; }

void Process::wake() {
  Host& host = state_->host;
  Host::schedule(state_, host.world().now() + host.options().wake_latency);
}

void Process::wake_at(Nanoseconds host_time) {
  const std::uint64_t timer = ++state_->timer;
  const Nanoseconds time = state_->host.to_world_time(host_time);
  state_->host.world().at(time, [state = state_, timer, host_time] {
    if (state->timer != timer || state->process == nullptr) return;
    // The clock may have stood still meanwhile.
    const Nanoseconds now = state->host.world().now();
    if (state->host.to_world_time(host_time) > now) return state->process->wake_at(host_time);
    Host::schedule(state, now);
  });
}

void Process::watch(Poller& poller) {
  auto& sim_poller = static_cast<SimPoller&>(poller);
  SILURUS_CHECK(&sim_poller.host() == &state_->host);
  sim_poller.set_wake([weak = std::weak_ptr<State>(state_)] {
    if (const auto state = weak.lock(); state && state->process) state->process->wake();
  });
}

Host::Host(World& world, std::uint32_t index, std::string name, const HostOptions& options)
    : world_(world), index_(index), name_(std::move(name)), options_(options) {}

Host::~Host() = default;

Nanoseconds Host::HostClock::now() const {
  return host_.to_host_time(host_.world_.now() + host_.ahead_);
}

Nanoseconds Host::to_host_time(Nanoseconds world_time) const {
  return options_.clock_offset - lost_ +
         static_cast<Nanoseconds>(
             std::floor(static_cast<double>(world_time) * options_.clock_rate));
}

Nanoseconds Host::to_world_time(Nanoseconds host_time) const {
  auto time = static_cast<Nanoseconds>(std::floor(
      static_cast<double>(host_time - options_.clock_offset + lost_) / options_.clock_rate));
  while (to_host_time(time) < host_time) ++time;  // rounding must not wake a host too early
  return time;
}

std::unique_ptr<Process> Host::spawn(std::string name, Process::Step step) {
  SILURUS_CHECK(alive_);
  auto state = std::make_shared<Process::State>(*this, std::move(name), std::move(step));
  state->id = world_.next_id();
  state->incarnation = incarnation_;
  std::unique_ptr<Process> process(new Process(state));
  state->process = process.get();
  schedule(state, world_.now());
  return process;
}

void Host::schedule(const std::shared_ptr<Process::State>& state, Nanoseconds time) {
  if (state->is_scheduled || state->process == nullptr) return;
  state->is_scheduled = true;
  state->host.world_.at(std::max(time, state->busy_until), [state] { run(state); });
}

void Host::run(const std::shared_ptr<Process::State>& state) {
  Host& host = state->host;
  if (state->process == nullptr || !host.alive_ || state->incarnation != host.incarnation_) return;
  if (host.paused_) {
    host.upon_resume_.push_back([state] { run(state); });
    return;
  }
  if (state->is_running) {  // it waits within its step (connect): the step goes first
    host.world_.at(host.world_.now() + kMicrosecond, [state] { run(state); });
    return;
  }
  if (state->busy_until > host.world_.now()) {
    host.world_.at(state->busy_until, [state] { run(state); });
    return;
  }
  state->is_scheduled = false;
  state->is_running = true;
  host.world_.trace(Trace::kStep, host.index_, state->id);
  const Nanoseconds outer_ahead = std::exchange(host.ahead_, 0);
  ++host.steps_;
  state->step(*state->process);
  host.cpu_time_ += host.ahead_;
  state->busy_until = host.world_.now() + host.ahead_;
  host.ahead_ = outer_ahead;
  --host.steps_;
  state->is_running = false;
}

void Host::charge(Nanoseconds cpu_time) {
  SILURUS_CHECK(cpu_time >= 0);
  ahead_ += cpu_time;
}

void Host::pause() {
  if (!std::exchange(paused_, true)) paused_since_ = world_.now();
  world_.trace(Trace::kPause, index_);
}

void Host::suspend() {
  if (!alive_) return;
  pause();
  if (!std::exchange(suspended_, true)) suspended_since_ = world_.now();
}

void Host::end_pause() {
  paused_ = false;
  if (std::exchange(suspended_, false)) slept_ += world_.now() - suspended_since_;
}

void Host::resume(Nanoseconds lost) {
  if (paused_) lost_ += std::clamp<Nanoseconds>(lost, 0, world_.now() - paused_since_);
  end_pause();
  world_.trace(Trace::kResume, index_, static_cast<std::uint64_t>(lost));
  for (auto& action : std::exchange(upon_resume_, {})) world_.after(0, std::move(action));
}

Nanoseconds Host::awake_time() const {
  return world_.now() - slept_ - (suspended_ ? world_.now() - suspended_since_ : 0);
}

void Host::end_processes() {
  if (!alive_) return;
  alive_ = false;
  end_pause();
  upon_resume_.clear();
  world_.trace(Trace::kCrash, index_, has_power_ ? 1 : 0);
  for (auto& [id, action] : std::exchange(crash_actions_, {})) action();
}

void Host::crash() {
  if (std::exchange(has_power_, false)) ++power_failures_;
  kept_.clear();
  end_processes();
}

void Host::kill() {
  kept_.insert(incarnation_);
  end_processes();
}

void Host::let_go(const EndLife& end_life) {
  kept_.clear();
  for (const auto& action : std::exchange(life_ends_, {})) action(end_life);
  for (const auto& action : std::exchange(let_go_actions_, {})) action();
}

void Host::set_multicast(const Multicast& multicast) {
  multicast_ = multicast;
  if (multicast.holds_back) return;
  auto held = std::exchange(held_, {});
  for (std::size_t i = held.size(); i > 1; --i) {
    std::swap(held[i - 1], held[world_.random().below(i)]);
  }
  for (auto& delivery : held) world_.after(0, std::move(delivery));
}

void Host::restart() {
  SILURUS_CHECK(!alive_);
  alive_ = true;
  has_power_ = true;
  ++incarnation_;
  nic_free_at_ = static_cast<double>(world_.now());
  world_.trace(Trace::kRestart, index_, incarnation_);
}

Nanoseconds Host::take_read_slot() {
  const double start = std::max(static_cast<double>(world_.now()), nic_free_at_);
  nic_free_at_ = start + 1e9 / options_.nic.reads_per_second;
  ++card_use_.reads;
  return static_cast<Nanoseconds>(start);
}

Nanoseconds Host::pass(Timetable& way, std::uint64_t& total, Nanoseconds at, std::size_t bytes,
                       std::size_t operations) {
  const NicModel& nic = options_.nic;
  const std::size_t packets = nic.packet_bytes == 0 ? 1 : 1 + bytes / (nic.packet_bytes + 1);
  const double more = static_cast<double>(packets) * nic.extra_packet_bytes;
  const std::size_t whole = bytes + (packets - 1) * kPacketOverheadBytes;
  const auto all = static_cast<std::size_t>(std::max(0.0, static_cast<double>(whole) + more));
  total += all;
  card_use_.messages += operations;
  Nanoseconds through =
      way.claim(world_.now(), at, static_cast<double>(all) / nic.link_bytes_per_second * 1e9);
  if (nic.messages_per_second > 0 && operations > 0) {
    const double each = 1e9 / nic.messages_per_second;
    through = std::max(through,
                       operations_.claim(world_.now(), at, each * static_cast<double>(operations)));
  }
  return through;
}

void Host::charge_message(std::span<const std::byte> message) {
  if (steps_ == 0) return;
  const CpuModel& cpu = options_.cpu;
  charge(cpu.receive +
         static_cast<Nanoseconds>(cpu.message_byte * static_cast<double>(message.size())));
  if (work_) charge(work_(message));
}

std::uint64_t Host::on_crash(std::function<void()> action) {
  const std::uint64_t id = world_.next_id();
  crash_actions_.emplace(id, std::move(action));
  return id;
}

}  // namespace silurus::transport::sim
