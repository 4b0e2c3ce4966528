// SPDX-License-Identifier: Apache-2.0

#include "replication/state_transfer/state_transfer.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/units.h"

namespace silurus::replication {

template <int D>
StateTransfer<D>::StateTransfer(const Parts& parts, TransferHost<D> host,
                                const StateTransferOptions& options)
    : parts_(parts),
      host_(std::move(host)),
      options_(options),
      source_(
          parts.group, {.first_region = parts.links.regions()},
          [this] {
            if (source_.holds() == 0) held_before_ = parts_.tree.stats().bytes_held;
            return host_.hold();
          },
          host_.hold_load),
      pause_(options.pause) {
  parts_.links.admit(kTransferMagic, &source_);
}

template <int D>
StateTransfer<D>::~StateTransfer() {
  parts_.links.admit(kTransferMagic, nullptr);
}

template <int D>
Status StateTransfer<D>::step(Nanoseconds now) {
  give(now);
  return take(now);
}

// --- others copy our tree

/// Lets others copy the tree, within limits, and keeps the log that they will need behind it, for
/// this member may be the next primary.
template <int D>
void StateTransfer<D>::give(Nanoseconds now) {
  source_.tick(now);
  if (source_.holds() > 0 && hold_too_much()) {
    parts_.tree.reclaim();  // what is known of it may be old: no other code looks while there are
                            // no writes
    if (hold_too_much()) {
      log::warning(parts_.member.label() +
                   ": ends the copies that others take of the tree: they hold too much memory");
      source_.let_go();
      ++counters_.ended;
    }
  }
  if (source_.counters().messages != messages_) {
    messages_ = source_.counters().messages;
    host_.on_copied(source_.counters());
  }
  constexpr Lsn kNobody = Store<D>::kNobody;
  parts_.store.hold_log(
      std::min(source_.oldest().value_or(kNobody), parts_.member.wanted_log().value_or(kNobody)));
}

template <int D>
bool StateTransfer<D>::hold_too_much() const {
  const rtree::TreeStats stats = parts_.tree.stats();
  // Old versions that can still be asked for are held, too.
  const std::uint64_t held = stats.bytes_held - std::min(stats.bytes_held, held_before_);
  const std::uint64_t others = stats.bytes_used + stats.bytes_retired - held;
  const std::uint64_t left = stats.bytes_budget - std::min(stats.bytes_budget, others);
  return held > std::min(stats.bytes_budget / options_.memory_share, left / 2);
}

// --- we copy another one's

template <int D>
Status StateTransfer<D>::take(Nanoseconds now) {
  if (fetch_ == nullptr) {
    if (!parts_.member.needs_copy()) {
      if (std::exchange(lacks_room_, false)) host_.on_obstacle("");
      pause_ = options_.pause;
    } else if (now >= again_at_) {
      begin(now);
    }
    return {};
  }
  parts_.member.expect_transfer(
      group::Member::TransferUnderWay{.log = fetch_->log(), .nodes = fetch_->nodes()});
  const auto outcome = fetch_->outcome();
  return outcome ? take_end(*outcome, now) : Status{};
}

template <int D>
Status StateTransfer<D>::take_end(const Status& outcome, Nanoseconds now) {
  if (!outcome) {
    ++counters_.in_vain;
    if (outcome.error().code == ErrorCode::kTooLarge) {
      give_up_for_want_of_room(now);
      return {};
    }
    const std::string text = parts_.member.label() + ": no copy of the member at " +
                             sources_.front() + ": " + outcome.error().message;
    if (const auto line = limiter_.line(sources_.front(), text, now)) log::warning(*line);
    sources_.pop_front();
    sources_.empty() ? drop(now, options_.longest_pause) : try_next(now);
    return {};
  }
  if (!may_replace_tree(fetch_->log(), parts_.member.needs_copy(), parts_.member.copy_needs())) {
    ++counters_.dropped;
    drop(now, options_.longest_pause);
    return {};
  }
  if (parts_.member.store_is_away()) {  // nothing starts without it
    if (!std::exchange(is_waiting_, true)) ++counters_.waits;
    return {};
  }
  if (Status arrived = sink_->arrive(); !arrived) return arrived;
  log::info(parts_.member.label() + ": a copy of the group's tree is here: starts again with it");
  ++counters_.arrived;
  return {};
}

template <int D>
void StateTransfer<D>::begin(Nanoseconds now) {
  const group::View& view = parts_.member.view();
  for (const auto& member : view.members) {
    if (member.id == parts_.self) continue;
    // From a backup, if there is one: the primary has enough to do.
    sources_.insert(member.id == view.primary ? sources_.end() : sources_.begin(), member.peers);
  }
  if (sources_.empty()) return;
  sink_ = std::make_unique<IncomingStore<D>>(host_.make_place());
  fetch_ = host_.make_fetch(*sink_);
  is_waiting_ = false;
  try_next(now);
}

template <int D>
void StateTransfer<D>::try_next(Nanoseconds now) {
  const std::string text =
      parts_.member.label() + ": copies the tree of the member at " + sources_.front();
  const auto line = limiter_.line("from " + sources_.front(), text, now);
  if (line && !lacks_room_) log::info(*line);
  ++counters_.begun;
  parts_.member.expect_transfer(group::Member::TransferUnderWay{});
  fetch_->begin(sources_.front(), {.group = parts_.group,
                                   .epoch = parts_.member.epoch(),
                                   .at_least = parts_.member.copy_needs(),
                                   .patience = options_.patience});
}

template <int D>
void StateTransfer<D>::drop(Nanoseconds now, Nanoseconds longest_pause) {
  fetch_.reset();
  sink_.reset();
  sources_.clear();
  parts_.member.expect_transfer(std::nullopt);
  again_at_ = now + pause_;
  pause_ = std::min(2 * pause_, longest_pause);
}

/// All others have the same tree, and it will hardly be smaller soon: says so once, and asks again
/// after longer and longer.
template <int D>
void StateTransfer<D>::give_up_for_want_of_room(Nanoseconds now) {
  const std::string why = "the group's tree is larger than " +
                          format_size(parts_.tree.stats().bytes_budget) +
                          ", which is what this member may take: start it with a larger --memory";
  if (!std::exchange(lacks_room_, true)) log::error(parts_.member.label() + ": no copy: " + why);
  host_.on_obstacle(why);
  drop(now, options_.longest_pause_without_room);
}

template class StateTransfer<2>;
template class StateTransfer<3>;

}  // namespace silurus::replication
