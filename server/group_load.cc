// SPDX-License-Identifier: Apache-2.0

#include "server/group_load.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <utility>

#include "common/log.h"
#include "common/units.h"

namespace silurus::server {

using replication::LoadPayload;
using replication::RecordType;
namespace group = replication::group;

namespace {

Error refused(const Error& why) {
  return {why.code, "the load is refused, nothing has changed: " + why.message};
}

/// What no other member can help with: it has to be mended there.
bool is_for_want_of_room(ErrorCode code) {
  return code == ErrorCode::kOutOfMemory || code == ErrorCode::kNoSpace ||
         code == ErrorCode::kTooLarge;
}

}  // namespace

/// What the executor works on, and tells the group's thread.
template <int D>
struct GroupLoad<D>::Build {
  std::unique_ptr<Load<D>> load;  ///< with the server's one place for a load
  rtree::BulkLoadOptions options;
  rtree::Run run;
  std::atomic<bool> is_given_up{false};
  std::atomic<bool> is_built{false};  ///< the nodes are in their run,
  std::atomic<bool> is_over{true};    ///< and durable, or `outcome` says why not
  std::atomic<bool> is_left{true};    ///< the executor needs nothing of ours any more
  Status outcome;

  void work(replication::Store<D>& store, rtree::Tree<D>& tree, const LoadWorld<D>& world) {
    outcome = build(store, tree, world);
    is_over.store(true, std::memory_order_release);  // pairs with the acquire of outcome's reader
    world.wake();
    is_left.store(true, std::memory_order_release);  // pairs with ~GroupLoad(), end_build()
    is_left.notify_all();
  }

 private:
  Status build(replication::Store<D>& store, rtree::Tree<D>& tree, const LoadWorld<D>& world) {
    CheckpointPause<D> pause(world);
    pause.begin();
    // Before anything is built, so that what does not fit spoils nothing.
    if (Status room = store.begin_run(run); !room) return room;
    tree.build_run(run, load->take_entries(), options);
    is_built.store(true, std::memory_order_release);  // pairs with the acquire in GroupLoad::build
    world.wake();
    const rtree::RunLayout layout(run, rtree::kChunkShape<D>);
    for (std::uint64_t i = 0; i < layout.nodes(); ++i) {
      // Relaxed: a wish.
      if (is_given_up.load(std::memory_order_relaxed)) {
        return fail(ErrorCode::kUnavailable, "the load was given up");
      }
      const rtree::NodeRef ref(layout.node(i), run.birth);
      if (Status taken = store.take_of_run(ref, tree.batch_node(ref)); !taken) return taken;
    }
    return store.keep_run(run);
  }
};

template <int D>
GroupLoad<D>::~GroupLoad() {
  if (build_ == nullptr) return;
  build_->is_given_up.store(true, std::memory_order_relaxed);
  build_->is_left.wait(false, std::memory_order_acquire);
}

template <int D>
void GroupLoad<D>::submit(std::unique_ptr<LoadJob<D>> job) {
  {
    const std::lock_guard lock(mutex_);
    asked_ = std::move(job);
  }
  world_.wake();
}

template <int D>
Status GroupLoad<D>::step(Nanoseconds now) {
  if (phase_ == Phase::kIdle) take_next(now);
  const bool leads =
      parts_.member.role() == group::Role::kPrimary && parts_.member.view().since == term_;
  if (current_ && !leads && phase_ != Phase::kLogged) {
    is_offered_ = false;  // there is no member to be told
    refuse({ErrorCode::kNotPrimary, "this member lost its place as primary"});
  }
  const Phase before = phase_;
  Status done = go_on(now);
  if (before != Phase::kIdle) tell();
  return done;
}

/// What people are told of it.
template <int D>
void GroupLoad<D>::tell() {
  const char* const phases[] = {"",        "waits for writes", "building", "building",
                                "copying", "committing",       ""};
  const char* const phase = phases[static_cast<int>(phase_)];
  if (*phase == 0) return parts_.member_status.note_load({});
  parts_.member_status.note_load({phase, load_.entries, nodes_, least_copied_});
}

template <int D>
Status GroupLoad<D>::go_on(Nanoseconds now) {
  switch (phase_) {
    case Phase::kIdle:
    case Phase::kLogged:
      return {};
    case Phase::kSettling:
      settle(now);
      return {};
    case Phase::kReserving:
      reserve();
      return {};
    case Phase::kBuilding:
      return build(now);
    case Phase::kCopying:
      return copy(now);
    case Phase::kEnding:
      end_build();
      return {};
  }
  return {};
}

template <int D>
bool GroupLoad<D>::has_more() const {
  // Acquire: as in build(). The executor has told, and is about to leave.
  return phase_ == Phase::kReserving ||
         (phase_ == Phase::kEnding && build_->is_over.load(std::memory_order_acquire));
}

template <int D>
void GroupLoad<D>::take_next(Nanoseconds now) {
  {
    const std::lock_guard lock(mutex_);
    if (!asked_) return;
    current_ = std::move(asked_);
  }
  build_ = std::make_shared<Build>();
  build_->load = std::move(current_->load);
  build_->options = current_->options;
  term_ = parts_.member.view().since;
  load_ = {};
  nodes_ = 0;
  least_copied_ = 0;
  is_offered_ = false;
  progress_.clear();
  began_ = now;
  phase_ = Phase::kSettling;
}

/// Waits until all that was logged is applied everywhere, as far as that can be had in time: then
/// the chunks that are free at one member are known to the primary, and stay so.
template <int D>
void GroupLoad<D>::settle(Nanoseconds now) {
  if (!parts_.replica.is_quiet()) {
    if (now - began_ > world_.patience) {
      refuse({ErrorCode::kUnavailable, "the writes before it have not come to an end"});
    }
    return;
  }
  parts_.replica.hold_back(true);
  std::uint64_t first = parts_.tree.unused_chunk();
  if (!are_settled(now, first)) return;
  const Status planned = plan(now, first);
  if (!planned) return refuse(planned.error());
  if (build_->load->count() == 0) {
    current_->version = parts_.tree.next_version() - 1;
    return answer();
  }
  phase_ = Phase::kReserving;
}

template <int D>
bool GroupLoad<D>::are_settled(Nanoseconds now, std::uint64_t& unused_chunk) {
  const replication::Lsn end = parts_.store.log().end().lsn;
  for (const auto& member : parts_.member.view().members) {
    if (member.id == parts_.self) continue;
    const auto applied = parts_.member.applied_at(member.id);
    const auto row = parts_.member.load_at(member.id);
    if (applied && row && *applied >= end) {
      unused_chunk = std::max(unused_chunk, row->unused_chunk);
    } else if (now - began_ <= world_.patience) {
      return false;
    }
  }
  return true;
}

template <int D>
Status GroupLoad<D>::plan(Nanoseconds now, std::uint64_t first) {
  const rtree::BulkLoadOptions& options = build_->options;
  if (!(options.fill >= 0 && options.fill <= 1)) {
    return fail(ErrorCode::kInvalidArgument, "fill = " + format_number(options.fill) +
                                                 " is not in (0, 1], nor 0 for the default");
  }
  if (Status admitted = parts_.replica.admit(current_->fencing_token, now); !admitted) {
    return admitted;
  }
  if (const group::View& view = parts_.member.view(); !view.has_enough()) {
    return fail(ErrorCode::kUnavailable, too_few_members(view));
  }
  if (const std::uint64_t entries = parts_.tree.snapshot().size(); entries != 0) {
    return fail(ErrorCode::kConflict, "the tree holds " + std::to_string(entries) +
                                          " entries: a bulk load needs an empty one");
  }
  const std::uint64_t count = build_->load->count();
  if (count == 0) return {};
  const rtree::NodeCounts nodes = rtree::Tree<D>::nodes_of(count, options);
  const std::uint64_t chunks = rtree::Tree<D>::chunks_for(nodes);
  const replication::LogPosition end = parts_.store.log().end();
  load_ = {.id = (end.chain ^ (std::uint64_t{parts_.member.epoch()} << 32 | end.lsn)) | 1,
           .first = first,
           .chunks = chunks,
           .inners = nodes.inners,
           .version = parts_.tree.next_version(),
           .entries = count};
  if (chunks > rtree::NodeRef::kMaxChunks - first) {
    return fail(ErrorCode::kTooLarge,
                "the tree would have " + std::to_string(nodes.leaves + nodes.inners) + " nodes");
  }
  nodes_ = nodes.leaves + nodes.inners;
  build_->run = replication::run_of(load_);
  return {};
}

template <int D>
void GroupLoad<D>::reserve() {
  const auto reserved = parts_.runs.reserve(load_);
  if (!reserved) return refuse(reserved.error());
  if (!*reserved) return;  // a slab in each step
  phase_ = Phase::kBuilding;
  build_->is_over.store(false, std::memory_order_relaxed);  // the executor orders them
  build_->is_left.store(false, std::memory_order_relaxed);
  parts_.executor.run([this, build = build_] { build->work(parts_.store, parts_.tree, world_); });
}

template <int D>
Status GroupLoad<D>::build(Nanoseconds now) {
  // Acquire: pairs with the releases in Build.
  if (build_->is_over.load(std::memory_order_acquire) && !build_->outcome) {
    refuse(build_->outcome.error());
    return {};
  }
  if (!build_->is_built.load(std::memory_order_acquire) || !parts_.replica.may_log_load()) {
    return {};
  }
  Status offered = parts_.replica.log_load(RecordType::kLoadOffer, load_, {});
  if (!offered && offered.error().code == ErrorCode::kNoSpace) {
    refuse(offered.error());
    return {};
  }
  is_offered_ = true;
  began_ = now;
  phase_ = Phase::kCopying;
  return offered;
}

template <int D>
Status GroupLoad<D>::copy(Nanoseconds now) {
  const bool is_over = build_->is_over.load(std::memory_order_acquire);  // as in build()
  if (is_over && !build_->outcome) {
    refuse(build_->outcome.error());
    return {};
  }
  const Result<bool> copied = are_copied(now);
  if (!copied) {
    refuse(copied.error());
    return {};
  }
  if (!*copied || !is_over || !parts_.replica.may_log_load()) return {};
  return log_load(now);
}

/// Whether something new has been heard of a member's copy lately.
template <int D>
bool GroupLoad<D>::makes_progress(group::MemberId member, std::uint64_t nodes, Nanoseconds now) {
  const auto [found, is_new] = progress_.try_emplace(member, Progress{nodes, now});
  Progress& progress = found->second;
  if (progress.nodes != nodes) progress = {nodes, now};
  return now - progress.since <= world_.patience;
}

template <int D>
Result<bool> GroupLoad<D>::are_copied(Nanoseconds now) {
  const group::View& view = parts_.member.view();
  std::size_t whole = 1;  // ours
  std::string others;
  bool is_pending = false;
  least_copied_ = nodes_;
  for (const auto& member : view.members) {
    if (member.id == parts_.self) continue;
    const auto row = parts_.member.load_at(member.id);
    const bool is_of_this = row && row->load == load_.id;
    if (is_of_this && row->outcome == group::kLoadIsWhole) {
      ++whole;
    } else if (is_of_this && row->outcome >= group::kLoadFailed) {
      const auto code = static_cast<ErrorCode>(row->outcome - group::kLoadFailed);
      const std::string text = "the member at " + member.clients + ": " +
                               std::string(to_string(code)) + " (its log says why)";
      if (is_for_want_of_room(code)) return fail(code, "there is no room for it at " + text);
      others += "; " + text;
    } else if (makes_progress(member.id, is_of_this ? row->nodes : 0, now)) {
      is_pending = true;
      least_copied_ = std::min(least_copied_, is_of_this ? row->nodes : 0);
    } else {
      others += "; the member at " + member.clients + ": nothing more was heard of its copy";
    }
  }
  if (is_pending) return false;
  if (whole >= std::max(view.quorum(), view.needed())) return true;
  return fail(ErrorCode::kUnavailable, "only " + std::to_string(whole) + " of " +
                                           std::to_string(view.members.size()) +
                                           " members have copied it" + others);
}

template <int D>
Status GroupLoad<D>::log_load(Nanoseconds now) {
  if (Status admitted = parts_.replica.admit(current_->fencing_token, now); !admitted) {
    refuse(admitted.error());
    return {};
  }
  parts_.runs.keep(load_.id);
  phase_ = Phase::kLogged;
  Status logged = parts_.replica.log_load(
      RecordType::kLoad, load_,
      [this](Result<rtree::Version> version) { on_end(std::move(version)); });
  if (!logged && logged.error().code == ErrorCode::kNoSpace) {
    phase_ = Phase::kCopying;
    refuse(logged.error());
    return {};
  }
  return logged;
}

/// The record was applied; or it is not known whether it ever will be.
template <int D>
void GroupLoad<D>::on_end(Result<rtree::Version> version) {
  if (!version && version.error().code == ErrorCode::kConnectionLost) {
    version = fail(ErrorCode::kConnectionLost,
                   "this member lost its place as primary while the load was being made the tree: "
                   "ask the next primary what it has");
  }
  current_->version = std::move(version);
  answer();
}

template <int D>
void GroupLoad<D>::refuse(const Error& error) {
  withdraw();
  if (parts_.runs.is_whole(load_.id)) parts_.runs.drop(load_.id);
  current_->version = fail(refused(error));
  answer();
}

/// Ends the current load, whose job has its outcome.
template <int D>
void GroupLoad<D>::answer() {
  parts_.replica.hold_back(false);
  parts_.member_status.note_load({});
  build_->is_given_up.store(true, std::memory_order_relaxed);
  current_->entries = parts_.tree.snapshot().size();
  if (current_->version) {
    log::info(parts_.member.label() + ": a bulk load of " + std::to_string(load_.entries) +
              " entries is version " + std::to_string(*current_->version));
  }
  auto job = std::move(current_);
  // A client that is told that it has ended may write. Acquire: pairs with the releases in Build.
  if (build_->is_left.load(std::memory_order_acquire) ||
      build_->is_built.load(std::memory_order_acquire)) {
    build_->load.reset();
  }
  phase_ = Phase::kEnding;
  end_build();
  world_.wake();  // what was held back goes on
  if (!job->version) job->version = fail(with_remedy(job->version.error()));
  give_back(std::move(job));
}

/// The nodes that others have copied are not needed.
template <int D>
void GroupLoad<D>::withdraw() {
  if (!std::exchange(is_offered_, false) || !parts_.replica.may_log_load()) return;
  LoadPayload nothing = load_;
  nothing.chunks = 0;
  // Not logged, members keep what they have until another version comes.
  static_cast<void>(parts_.replica.log_load(RecordType::kLoadOffer, nothing, {}));
}

/// When the executor has ended, the nodes are free, unless a record speaks of them.
template <int D>
void GroupLoad<D>::end_build() {
  if (!build_->is_left.load(std::memory_order_acquire)) return;  // pairs with Build::work()
  if (parts_.runs.has(load_.id) && !parts_.runs.is_whole(load_.id)) parts_.runs.give_up(load_.id);
  build_.reset();
  phase_ = Phase::kIdle;
}

template <int D>
void GroupLoad<D>::give_up(const Error& error) {
  if (phase_ == Phase::kEnding) end_build();
  if (phase_ == Phase::kIdle) take_next(0);
  if (!current_) return;
  current_->version = fail(error);
  answer();
}

template class GroupLoad<2>;
template class GroupLoad<3>;

}  // namespace silurus::server
