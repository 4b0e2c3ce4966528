// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/fetch_thread.h"

#include <pthread.h>

#include "common/clock.h"
#include "common/log.h"
#include "transport/waiter.h"

namespace silurus::replication {

template <int D>
Status receive_tree(transport::Fabric& fabric, const transport::Address& source,
                    const TransferOptions& options, StateSink<D>& sink,
                    const std::function<Status(const TransferReceiver<D>&)>& look) {
  constexpr Nanoseconds kLookInterval = 10 * kMillisecond;
  const SystemClock clock;
  auto poller = fabric.create_poller();
  if (!poller) return fail(poller.error());
  auto waiter =
      transport::Waiter::create({.policy = transport::WaitPolicy::kAdaptive}, {poller->get()});
  if (!waiter) return fail(waiter.error());
  if (Status begun = sink.begin(); !begun) return begun;
  TransferReceiver<D> receiver(options, **poller, sink);
  auto connection = fabric.connect(
      source, {.timeout = kTransferDialTimeout, .key = options.key, .looks_for_key = false},
      **poller, receiver.hello(), receiver);
  if (!connection) return fail(connection.error());
  receiver.begin(std::move(*connection));
  while (!receiver.outcome()) {
    (*waiter)->wait(kLookInterval);
    if (Status goes_on = look ? look(receiver) : Status{}; !goes_on) return goes_on;
    receiver.step(clock.now());
  }
  return *receiver.outcome();
}

template <int D>
void StateFetchThread<D>::begin(const std::string& source, const TransferOptions& options) {
  if (thread_.joinable()) thread_.join();  // it is over
  log_.store(0, std::memory_order_relaxed);
  nodes_.store(0, std::memory_order_relaxed);
  is_over_.store(false, std::memory_order_relaxed);  // before there is another thread
  thread_ = std::jthread([this, source, with_key = options]() mutable {
    with_key.key = key_;
    outcome_ = fetch(source, with_key);
    is_over_.store(true, std::memory_order_release);  // pairs with the acquire in outcome()
    wake_();
  });
  pthread_setname_np(thread_.native_handle(), "silurus-copy");
}

template <int D>
std::optional<Status> StateFetchThread<D>::outcome() const {
  // Acquire: pairs with the release in begin().
  return is_over_.load(std::memory_order_acquire) ? std::optional(outcome_) : std::nullopt;
}

template <int D>
Status StateFetchThread<D>::fetch(const std::string& source, const TransferOptions& options) {
  const auto address = transport::Address::parse(source);
  if (!address) return fail(address.error());
  auto fabric = transport::make_fabric(address->scheme);
  if (!fabric) return fail(fabric.error());
  const Nanoseconds start = SystemClock().now();
  std::uint64_t nodes_read = 0;
  const Status received = receive_tree<D>(
      **fabric, *address, options, sink_, [&](const TransferReceiver<D>& receiver) -> Status {
        nodes_.store(receiver.nodes(), std::memory_order_relaxed);
        nodes_read = receiver.nodes_read();
        if (receiver.is_held() && log_.exchange(receiver.facts().log.lsn) == 0) wake_();
        if (!cancel_.load(std::memory_order_relaxed)) return {};
        return fail(ErrorCode::kUnavailable, "the copy was given up");
      });
  if (received) {
    log::info(label_ + ": copied " + std::to_string(nodes()) + " nodes, " +
              std::to_string(nodes_read) + " of them by one-sided reads, in " +
              std::to_string((SystemClock().now() - start) / kMillisecond) + " ms");
  }
  return received;
}

#define SILURUS_FETCH(D)                                                      \
  template class StateFetchThread<D>;                                         \
  template Status receive_tree(transport::Fabric&, const transport::Address&, \
                               const TransferOptions&, StateSink<D>&,         \
                               const std::function<Status(const TransferReceiver<D>&)>&)
SILURUS_FETCH(2);
SILURUS_FETCH(3);
#undef SILURUS_FETCH

}  // namespace silurus::replication
