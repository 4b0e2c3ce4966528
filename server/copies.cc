#include "server/copies.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace silurus::server {

using replication::Lsn;

template <int D>
Copies<D>::Copies(const Parts& parts, const CopiesOptions& options)
    : parts_(parts),
      options_(options),
      source_(parts.group, {.first_region = parts.links.regions()},
              [this] {
                if (source_.holds() == 0) held_before_ = parts_.tree.stats().bytes_held;
                return parts_.replica.hold();
              }),
      pause_(options.pause) {
  parts_.links.admit(replication::group::kCopyMagic, &source_);
}

template <int D>
Copies<D>::~Copies() {
  parts_.links.admit(replication::group::kCopyMagic, nullptr);
}

template <int D>
Status Copies<D>::step(Nanoseconds now) {
  give(now);
  return take(now);
}

// --- others copy our tree

/// What is missing behind a copy they take from the primary's log.
template <int D>
void Copies<D>::give(Nanoseconds now) {
  source_.tick(now);
  if (source_.holds() > 0 && hold_too_much()) {
    parts_.tree.reclaim();  // what is known of it may be old: nobody else looks while nobody writes
    if (hold_too_much()) {
      log::warning("ends the copies that others take of the tree: they hold too much memory");
      source_.let_go();
      ++counters_.ended;
    }
  }
  if (source_.counters().messages != messages_) {
    messages_ = source_.counters().messages;
    parts_.standing.note_copies(source_.counters());
  }
  constexpr Lsn kNobody = replication::Store<D>::kNobody;
  parts_.store.hold_log(
      std::min(source_.oldest().value_or(kNobody), parts_.member.wanted_log().value_or(kNobody)));
}

template <int D>
bool Copies<D>::hold_too_much() const {
  const rtree::TreeStats stats = parts_.tree.stats();
  // Old versions that can still be asked for are held, too.
  const std::uint64_t held = stats.bytes_held - std::min(stats.bytes_held, held_before_);
  const std::uint64_t others = stats.bytes_used + stats.bytes_retired - held;
  const std::uint64_t left = stats.bytes_budget - std::min(stats.bytes_budget, others);
  return held > std::min(stats.bytes_budget / options_.memory_share, left / 2);
}

// --- we copy another one's

template <int D>
Status Copies<D>::take(Nanoseconds now) {
  if (fetch_ == nullptr) {
    if (!parts_.member.needs_copy()) {
      pause_ = options_.pause;
    } else if (now >= again_at_) {
      begin();
    }
    return {};
  }
  parts_.member.expect_copy(fetch_->log());
  const auto outcome = fetch_->outcome();
  return outcome ? take_end(*outcome, now) : Status{};
}

template <int D>
Status Copies<D>::take_end(const Status& outcome, Nanoseconds now) {
  if (!outcome) {
    log::warning("no copy of the member at " + sources_.front() + ": " + outcome.error().message);
    ++counters_.in_vain;
    sources_.pop_front();
    sources_.empty() ? drop(now) : try_next();
    return {};
  }
  // Another primary may have what was missing: then there are writes that only our own log has.
  if (!parts_.member.needs_copy() || fetch_->log() < parts_.member.copy_needs()) {
    ++counters_.dropped;
    drop(now);
    return {};
  }
  if (parts_.member.store_is_away()) {  // nothing starts without it
    if (!std::exchange(is_waiting_, true)) ++counters_.waits;
    return {};
  }
  if (Status arrived = fetch_->arrive(); !arrived) return arrived;
  log::info("a copy of the group's tree is here: starts again with it");
  ++counters_.arrived;
  return {};
}

template <int D>
void Copies<D>::begin() {
  const replication::group::View& view = parts_.member.view();
  for (const auto& member : view.members) {
    if (member.id == parts_.self) continue;
    // From a backup, if there is one: the primary has enough to do.
    sources_.insert(member.id == view.primary ? sources_.end() : sources_.begin(), member.peers);
  }
  if (sources_.empty()) return;
  fetch_ = parts_.make_fetch();
  is_waiting_ = false;
  try_next();
}

template <int D>
void Copies<D>::try_next() {
  log::info("copies the tree of the member at " + sources_.front());
  ++counters_.begun;
  parts_.member.expect_copy(0);
  fetch_->begin(sources_.front(), {.group = parts_.group,
                                   .epoch = parts_.member.epoch(),
                                   .at_least = parts_.member.copy_needs(),
                                   .patience = options_.patience});
}

template <int D>
void Copies<D>::drop(Nanoseconds now) {
  fetch_.reset();
  sources_.clear();
  parts_.member.expect_copy(0);
  again_at_ = now + pause_;
  pause_ = std::min(2 * pause_, options_.longest_pause);
}

template class Copies<2>;
template class Copies<3>;

}  // namespace silurus::server
