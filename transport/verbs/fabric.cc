// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/fabric.h"

#include "transport/verbs/connector.h"
#include "transport/verbs/control.h"
#include "transport/verbs/listener.h"
#include "transport/verbs/multicast.h"
#include "transport/verbs/poller.h"

namespace silurus::transport::verbs {
namespace {

template <typename Base, typename T>
Result<std::unique_ptr<Base>> as(Result<std::unique_ptr<T>> result) {
  if (!result) return fail(std::move(result.error()));
  return std::unique_ptr<Base>(std::move(*result));
}

class VerbsFabric final : public Fabric {
 public:
  explicit VerbsFabric(std::shared_ptr<Control> control) : control_(std::move(control)) {}

  std::string_view scheme() const override { return "rdma"; }
  Capabilities capabilities() const override {
    return static_cast<std::uint32_t>(Capability::kOneSidedRead) |
           static_cast<std::uint32_t>(Capability::kMulticast) |
           static_cast<std::uint32_t>(Capability::kOneSidedWrite);
  }
  Result<std::unique_ptr<Poller>> create_poller() override {
    return as<Poller>(VerbsPoller::create(control_));
  }
  Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options,
                                           std::span<Poller* const> pollers,
                                           AcceptHandler& handler) override {
    return as<Listener>(VerbsListener::create(control_, address, options, pollers, handler));
  }
  Result<std::unique_ptr<Connection>> connect(const Address& address, const ConnectOptions& options,
                                              Poller& poller, std::span<const std::byte> hello,
                                              ConnectionHandler& handler) override {
    return verbs::connect(control_, address, options, static_cast<VerbsPoller&>(poller), hello,
                          handler);
  }
  Result<std::unique_ptr<MulticastGroup>> join(const Address& group, const ConnectOptions& options,
                                               Poller& poller, MulticastHandler& handler) override {
    return VerbsMulticast::join(control_, group, options, static_cast<VerbsPoller&>(poller),
                                handler);
  }

 private:
  std::shared_ptr<Control> control_;
};

}  // namespace

Result<std::unique_ptr<Fabric>> make_fabric() {
  auto control = Control::create();
  if (!control) return fail(std::move(control.error()));
  return std::unique_ptr<Fabric>(std::make_unique<VerbsFabric>(std::move(*control)));
}

}  // namespace silurus::transport::verbs
