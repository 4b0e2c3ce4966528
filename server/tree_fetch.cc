#include "server/tree_fetch.h"

#include <pthread.h>

#include "common/clock.h"
#include "common/log.h"
#include "replication/group/tree_machine.h"

namespace silurus::server {

namespace group = replication::group;

template <int D>
void StateFetchThread<D>::begin(const std::string& source, const group::TransferOptions& copy) {
  if (thread_.joinable()) thread_.join();  // it is over
  log_.store(0, std::memory_order_relaxed);
  nodes_.store(0, std::memory_order_relaxed);
  is_over_.store(false, std::memory_order_relaxed);  // before there is another thread
  thread_ = std::jthread([this, source, copy] { run(source, copy); });
  pthread_setname_np(thread_.native_handle(), "silurus-copy");
}

template <int D>
std::optional<Status> StateFetchThread<D>::outcome() const {
  // Acquire: pairs with the release in run().
  return is_over_.load(std::memory_order_acquire) ? std::optional(outcome_) : std::nullopt;
}

template <int D>
void StateFetchThread<D>::run(const std::string& source, const group::TransferOptions& copy) {
  group::TransferOptions with_key = copy;
  with_key.key = key_;
  outcome_ = fetch(source, with_key);
  is_over_.store(true, std::memory_order_release);  // pairs with the acquire in outcome()
  wake_();
}

template <int D>
Status StateFetchThread<D>::fetch(const std::string& source, const group::TransferOptions& copy) {
  const auto address = transport::Address::parse(source);
  if (!address) return fail(address.error());
  auto fabric = transport::make_fabric(address->scheme);
  if (!fabric) return fail(fabric.error());
  const auto given_up = [this]() -> Status {
    if (!cancel_.load(std::memory_order_relaxed)) return {};
    return fail(ErrorCode::kUnavailable, "the copy was given up");
  };
  if (Status ok = given_up(); !ok) return ok;
  if (Status begun = sink_.begin(); !begun) return begun;
  const Nanoseconds start = SystemClock().now();
  std::uint64_t nodes = 0;
  std::uint64_t nodes_read = 0;
  const auto facts = group::receive_tree<D>(
      **fabric, *address, copy,
      [&](rtree::NodeRef ref, const rtree::Node<D>& node) { return sink_.take(ref, node); },
      [&](const group::TransferReceiver<D>& copier) -> Status {
        nodes = copier.nodes();
        nodes_.store(nodes, std::memory_order_relaxed);
        nodes_read = copier.nodes_read();
        if (copier.is_held() && log_.exchange(copier.facts().log.lsn) == 0) wake_();
        return given_up();
      });
  if (!facts) return fail(facts.error());
  if (Status ok = given_up(); !ok) return ok;
  if (Status done = sink_.finish(*facts); !done) return done;
  log::info(label_ + ": copied " + std::to_string(nodes) + " nodes, " + std::to_string(nodes_read) +
            " of them by one-sided reads, in " +
            std::to_string((SystemClock().now() - start) / kMillisecond) + " ms");
  return {};
}

template <int D>
Status DirectorySink<D>::begin() {
  if (directory_ != nullptr && directory_->store().is_untouched()) return {};
  directory_.reset();
  auto made = replication::IncomingDirectory<D>::create(path_, store_);
  if (!made) return fail(made.error());
  directory_ = std::move(*made);
  return {};
}

template <int D>
Status DirectorySink<D>::finish(const group::TreeFacts& facts) {
  // What a start would refuse must not arrive.
  if (const auto state = group::MachineState::decode(facts.extra); !state) {
    return fail(state.error());
  }
  return directory_->store().finish(facts.log, facts.stamp, facts.extra);
}

template class DirectorySink<2>;
template class DirectorySink<3>;
template class StateFetchThread<2>;
template class StateFetchThread<3>;

}  // namespace silurus::server
