#include "server/tree_fetch.h"

#include <pthread.h>

#include <utility>

#include "common/clock.h"
#include "common/log.h"
#include "replication/group/tree_machine.h"
#include "server/limits.h"

namespace silurus::server {

namespace group = replication::group;

template <int D>
TreeFetch<D>::TreeFetch(Options options, std::function<void()> wake)
    : options_(std::move(options)), wake_(std::move(wake)) {
  thread_ = std::jthread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "silurus-copy");
}

template <int D>
TreeFetch<D>::~TreeFetch() {
  cancel();
}

template <int D>
void TreeFetch<D>::run() {
  for (const std::string& source : options_.sources) {
    log::info("copies the tree of the member at " + source);
    outcome_ = fetch_from(source);
    if (outcome_ || cancel_.load(std::memory_order_relaxed)) break;
    log::warning("no copy of the member at " + source + ": " + outcome_.error().message);
    if (store_ != nullptr && !store_->is_untouched()) store_.reset();
    log_.store(0, std::memory_order_relaxed);
  }
  is_over_.store(true, std::memory_order_release);
  wake_();
}

template <int D>
Status TreeFetch<D>::fetch_from(const std::string& source) {
  const auto address = transport::Address::parse(source);
  if (!address) return fail(address.error());
  auto fabric = transport::make_fabric(address->scheme);
  if (!fabric) return fail(fabric.error());
  if (store_ == nullptr) {
    auto store = replication::IncomingStore<D>::create(options_.path, options_.store);
    if (!store) return fail(store.error());
    store_ = std::move(*store);
  }
  const Nanoseconds start = SystemClock().now();
  std::uint64_t nodes = 0;
  std::uint64_t nodes_read = 0;
  const auto facts = group::copy_tree<D>(
      **fabric, *address, options_.copy, kCopyPatience,
      [this](rtree::NodeRef ref, const rtree::Node<D>& node) { return store_->take(ref, node); },
      [&](const group::TreeCopier<D>& copier) -> Status {
        nodes = copier.nodes();
        nodes_read = copier.nodes_read();
        if (copier.is_held() && log_.exchange(copier.facts().log.lsn) == 0) wake_();
        if (!cancel_.load(std::memory_order_relaxed)) return {};
        return fail(ErrorCode::kUnavailable, "the copy was given up");
      });
  if (!facts) return fail(facts.error());
  // What a start would refuse must not arrive.
  if (const auto state = group::MachineState::decode(facts->extra); !state) {
    return fail(state.error());
  }
  if (Status done = store_->finish(facts->log, facts->stamp, facts->extra); !done) return done;
  log::info("copied " + std::to_string(nodes) + " nodes, " + std::to_string(nodes_read) +
            " of them by one-sided reads, in " +
            std::to_string((SystemClock().now() - start) / kMillisecond) + " ms");
  return {};
}

template class TreeFetch<2>;
template class TreeFetch<3>;

}  // namespace silurus::server
