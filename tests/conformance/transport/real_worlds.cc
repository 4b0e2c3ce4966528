// SPDX-License-Identifier: Apache-2.0

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>

#include "common/check.h"
#include "tests/conformance/transport/world.h"
#include "tests/support/patience.h"
#include "transport/shm/memory.h"

// shm, tcp and rdma (where SILURUS_RDMA_HOST says so: tests/vm): one process, real time, client and
// server driven by one thread.

namespace silurus::transport::conformance {
namespace {

/// What takes an idle machine the time, a busy one in no fewer rounds.
constexpr Nanoseconds kSettled = 20 * kMillisecond;
constexpr int kSettledRounds = 1000;

/// An address of this host on an RDMA device; soft-RoCE cannot use 127.0.0.1. Empty: no RDMA.
std::string rdma_host() {
  const char* host = std::getenv("SILURUS_RDMA_HOST");
  return host == nullptr ? "" : host;
}

class RealWorld final : public World {
 public:
  explicit RealWorld(std::string_view scheme) : fabric_(std::move(*make_fabric(scheme))) {
    std::string pattern = std::filesystem::temp_directory_path() / "silurus-XXXXXX";
    SILURUS_CHECK(mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
  }
  ~RealWorld() override { std::filesystem::remove_all(directory_); }

  Fabric& server_fabric() override { return *fabric_; }
  Fabric& client_fabric() override { return *fabric_; }
  Address address() override {
    if (fabric_->scheme() == "tcp") return *Address::parse("tcp://127.0.0.1:0");
    if (fabric_->scheme() == "rdma") return *Address::parse("rdma://" + rdma_host() + ":0");
    return *Address::parse("shm://" + directory_ + "/socket");
  }
  Address empty_address() override {
    // No program listens at port 1 (tcpmux).
    if (fabric_->scheme() == "tcp") return *Address::parse("tcp://127.0.0.1:1");
    if (fabric_->scheme() == "rdma") return *Address::parse("rdma://" + rdma_host() + ":1");
    return *Address::parse("shm://" + directory_ + "/nobody");
  }

  bool run_until(std::span<Poller* const> pollers, const std::function<bool()>& done) override {
    testing_support::Patience patience;
    while (!done()) {
      std::size_t events = 0;
      for (Poller* poller : pollers) events += poller->progress();
      if (patience.is_over()) return false;
      if (events == 0) testing_support::pace(20 * kMicrosecond);  // pacing: between two looks
    }
    return true;
  }

  void settle(std::span<Poller* const> pollers) override {
    const SystemClock clock;
    const Nanoseconds deadline = clock.now() + kSettled;
    for (int round = 0; round < kSettledRounds || clock.now() < deadline; ++round) {
      for (Poller* poller : pollers) poller->progress();
    }
  }

  void pass(Nanoseconds time) override {
    testing_support::pace(time);  // pacing: lets a proof of life grow old, or older
  }

  Result<std::unique_ptr<Connection>> connect(const Address& address, const ConnectOptions& options,
                                              Poller& poller, std::span<const std::byte> hello,
                                              ConnectionHandler& handler,
                                              std::span<Poller* const> others) override {
    std::atomic<bool> connected = false;
    Result<std::unique_ptr<Connection>> result = fail(ErrorCode::kConflict, "not yet");
    std::thread client([&] {
      result = fabric_->connect(address, options, poller, hello, handler);
      connected = true;
    });
    while (!connected) {
      for (Poller* other : others) other->progress();
      testing_support::pace(20 * kMicrosecond);  // pacing: lets the client's thread run
    }
    client.join();
    return result;
  }

  Result<Region> allocate_region(std::size_t bytes) override {
    auto slab = shm::SharedSlab::create(bytes, "conformance", false);
    if (!slab) return fail(std::move(slab.error()));
    slabs_.push_back(std::move(*slab));
    return slabs_.back().region();
  }

  bool has_threads() const override { return true; }
  bool answers_without_poller() const override { return fabric_->scheme() == "rdma"; }
  bool is_reachable_by_others() const override { return fabric_->scheme() == "rdma"; }

 private:
  std::unique_ptr<Fabric> fabric_;
  std::string directory_;
  std::vector<shm::SharedSlab> slabs_;
};

const RegisterWorld shm_world("shm", [] { return std::make_unique<RealWorld>("shm"); });
const RegisterWorld tcp_world("tcp", [] { return std::make_unique<RealWorld>("tcp"); });
const auto rdma_world = []() -> std::optional<RegisterWorld> {
  if (rdma_host().empty()) return std::nullopt;
  return RegisterWorld("rdma", [] { return std::make_unique<RealWorld>("rdma"); });
}();

}  // namespace
}  // namespace silurus::transport::conformance
