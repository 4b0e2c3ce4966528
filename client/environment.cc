// SPDX-License-Identifier: Apache-2.0

#include "client/environment.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <utility>

namespace silurus::client {
namespace {

class RealFabrics final : public Fabrics {
 public:
  explicit RealFabrics(const transport::WaitOptions& wait) : options_(wait) {}

  Status make_waiter() {
    auto made = transport::Waiter::create(options_, pollers_);
    if (!made) return fail(made.error());
    waiter_ = std::move(*made);
    waits_for_ = pollers_.size();
    return {};
  }

  Result<Route> route_to(const transport::Address& address) override {
    const auto found = std::ranges::find(endpoints_, address.scheme, &Endpoint::scheme);
    if (found != endpoints_.end()) return Route{found->fabric.get(), found->poller.get()};
    auto fabric = transport::make_fabric(address.scheme);
    if (!fabric) return fail(fabric.error());
    auto poller = (*fabric)->create_poller();
    if (!poller) return fail(poller.error());
    const Endpoint& made =
        endpoints_.emplace_back(Endpoint{address.scheme, std::move(*fabric), std::move(*poller)});
    pollers_.push_back(made.poller.get());
    return Route{made.fabric.get(), made.poller.get()};
  }

  std::size_t wait(Nanoseconds longest) override {
    if (waits_for_ != pollers_.size()) [[unlikely]] {
      // A server was found on another fabric. Without descriptors for that, go on polling.
      if (!make_waiter()) {
        std::size_t events = 0;
        for (transport::Poller* poller : pollers_) events += poller->progress();
        return events;
      }
    }
    return waiter_->wait(longest);
  }

 private:
  struct Endpoint {
    std::string scheme;
    std::unique_ptr<transport::Fabric> fabric;
    std::unique_ptr<transport::Poller> poller;
  };
  const transport::WaitOptions options_;
  std::vector<Endpoint> endpoints_;
  std::unique_ptr<transport::Waiter> waiter_;
  std::size_t waits_for_ = 0;  ///< pollers
};

class RealEnvironment final : public Environment {
 public:
  const Clock& clock() const override { return clock_; }
  void sleep(Nanoseconds time) override {
    std::this_thread::sleep_for(std::chrono::nanoseconds(time));
  }
  std::uint64_t random_id() override {
    std::random_device device;
    std::uint64_t id = 0;
    while (id == 0) id = std::uint64_t{device()} << 32 | device();
    return id;
  }
  Result<std::unique_ptr<Fabrics>> open_fabrics(const transport::WaitOptions& wait) override {
    auto fabrics = std::make_unique<RealFabrics>(wait);
    if (auto ok = fabrics->make_waiter(); !ok) return fail(ok.error());
    return fabrics;
  }
  Result<std::unique_ptr<etcd::Gateway>> open_etcd(const etcd::Address& address,
                                                   Nanoseconds timeout) override {
    return etcd::Gateway::create(address, timeout);
  }

 private:
  SystemClock clock_;
};

}  // namespace

Environment& real_environment() {
  // Never destroyed: clients that are static, or of threads that still run, outlive main().
  static Environment& environment = *new RealEnvironment;
  return environment;
}

}  // namespace silurus::client
