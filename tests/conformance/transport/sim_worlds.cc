// SPDX-License-Identifier: Apache-2.0

#include <memory>
#include <string>
#include <vector>

#include "tests/conformance/transport/world.h"
#include "tests/support/seed.h"
#include "transport/sim/fabric.h"

namespace silurus::transport::conformance {
namespace {

/// Longer than any connection takes to break.
constexpr Nanoseconds kSettle = 2 * kSecond;
constexpr Nanoseconds kGenerous = 60 * kSecond;

/// Two hosts of a simulated world; time passes only while the suite waits.
class SimWorld final : public World {
 public:
  explicit SimWorld(const sim::LinkModel& link, const sim::FabricOptions& options = {})
      : world_(testing_support::seed(1)),
        server_(world_.add_host("server")),
        client_(world_.add_host("client", {.clock_rate = 0.9999})),
        server_fabric_(world_, server_, options),
        client_fabric_(world_, client_, options) {
    world_.set_default_link(link);
  }

  Fabric& server_fabric() override { return server_fabric_; }
  Fabric& client_fabric() override { return client_fabric_; }
  Address address() override { return {"sim", "server", "7470", ""}; }
  Address empty_address() override { return {"sim", "server", "1", ""}; }

  bool run_until(std::span<Poller* const> pollers, const std::function<bool()>& done) override {
    const Nanoseconds deadline = world_.now() + kGenerous;
    return world_.run_until(
        [&] {
          for (Poller* poller : pollers) poller->progress();
          return done();
        },
        deadline);
  }
  void settle(std::span<Poller* const> pollers) override {
    const Nanoseconds deadline = world_.now() + kSettle;
    world_.run_until(
        [&] {
          for (Poller* poller : pollers) poller->progress();
          return false;
        },
        deadline);
  }
  void pass(Nanoseconds time) override { world_.run_for(time); }
  Result<std::unique_ptr<Connection>> connect(const Address& address, const ConnectOptions& options,
                                              Poller& poller, std::span<const std::byte> hello,
                                              ConnectionHandler& handler,
                                              std::span<Poller* const> others) override {
    const auto process = server_.spawn("server", [&](sim::Process&) {
      for (Poller* other : others) other->progress();
    });
    for (Poller* other : others) process->watch(*other);
    return client_fabric_.connect(address, options, poller, hello, handler);
  }
  Result<Region> allocate_region(std::size_t bytes) override {
    regions_.push_back(std::make_unique<std::vector<std::uint64_t>>((bytes + 7) / 8));
    return Region{std::as_writable_bytes(std::span(*regions_.back())).first(bytes), -1};
  }
  bool has_threads() const override { return false; }

 private:
  sim::World world_;
  sim::Host& server_;
  sim::Host& client_;
  sim::SimFabric server_fabric_;
  sim::SimFabric client_fabric_;
  std::vector<std::unique_ptr<std::vector<std::uint64_t>>> regions_;
};

const RegisterWorld quiet("sim", [] { return std::make_unique<SimWorld>(sim::LinkModel{}); });
const RegisterWorld outliving("sim_outliving", [] {
  return std::make_unique<SimWorld>(sim::LinkModel{},
                                    sim::FabricOptions{.memory_outlives_process = true});
});
const RegisterWorld lossy("sim_lossy", [] {
  return std::make_unique<SimWorld>(
      sim::LinkModel{.latency = 5000, .jitter = 20'000, .bytes_per_second = 1e9, .loss = 0.05});
});

}  // namespace
}  // namespace silurus::transport::conformance
