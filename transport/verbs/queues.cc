// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/queues.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "common/check.h"
#include "common/log.h"
#include "transport/verbs/error.h"

namespace silurus::transport::verbs {
namespace {

constexpr std::uint32_t kMaxSharedReceives = 2048;
/// The number of every receive of the shared queue: known by it also when it failed.
constexpr std::uint64_t kSharedReceive = ~std::uint64_t{0};
constexpr std::size_t kFoundReserve = 256;

}  // namespace

Queues::Queues(std::shared_ptr<Device> device, CompletionChannel channel,
               CompletionQueue completions, std::unique_ptr<ReceivesOwner> receives_owner,
               SharedReceiveQueue receives, std::uint32_t capacity, std::uint32_t receive_count)
    : device_(std::move(device)),
      channel_(std::move(channel)),
      completions_(std::move(completions)),
      receives_owner_(std::move(receives_owner)),
      receives_(std::move(receives)),
      receive_count_(receive_count),
      capacity_(capacity),
      taken_(receive_count),
      chain_(kReplenishBatch) {
  found_.reserve(kFoundReserve);
}

Result<std::shared_ptr<Queues>> Queues::create(std::shared_ptr<Device> device,
                                               std::uint32_t completions,
                                               std::shared_ptr<PollerGate> gate) {
  const DeviceLimits& limits = device->limits();
  completions = std::min(completions, limits.max_completions);
  const std::uint32_t receive_count =
      std::min({kMaxSharedReceives, limits.max_shared_receives, completions / 4});
  CompletionChannel channel(ibv_create_comp_channel(device->context()));
  if (!channel) return fail(call_error("ibv_create_comp_channel", "on " + device->name(), errno));
  if (fcntl(channel->fd, F_SETFL, O_NONBLOCK) != 0) {
    return fail(
        errno_error(ErrorCode::kIo, "cannot make a completion channel non-blocking", errno));
  }
  CompletionQueue queue(
      ibv_create_cq(device->context(), static_cast<int>(completions), nullptr, channel.get(), 0));
  if (!queue) {
    return fail(call_error("ibv_create_cq",
                           "of " + std::to_string(completions) + " entries on " + device->name(),
                           errno));
  }
  auto receives_owner = std::make_unique<ReceivesOwner>(ReceivesOwner{std::move(gate)});
  ibv_srq_init_attr attributes{};
  attributes.srq_context = receives_owner.get();
  attributes.attr.max_wr = receive_count;
  attributes.attr.max_sge = 1;
  SharedReceiveQueue receives(ibv_create_srq(device->domain(), &attributes));
  if (!receives) {
    return fail(call_error("ibv_create_srq",
                           "of " + std::to_string(receive_count) + " entries on " + device->name(),
                           errno));
  }
  std::shared_ptr<Queues> queues(new Queues(std::move(device), std::move(channel), std::move(queue),
                                            std::move(receives_owner), std::move(receives),
                                            completions, receive_count));
  if (auto posted = queues->post_receives(receive_count); !posted) {
    return fail(std::move(posted.error()));
  }
  queues->watch_receives();
  return queues;
}

Queues::~Queues() {
  if (loop_ != nullptr) loop_->remove(registration_, channel_->fd);
  if (unacknowledged_ != 0) ibv_ack_cq_events(completions_.get(), unacknowledged_);
}

bool Queues::take(std::uint32_t entries) {
  const std::lock_guard lock(mutex_);
  if (entries > capacity_ - taken_) return false;
  taken_ += entries;
  return true;
}

void Queues::give_back(std::uint32_t entries) {
  const std::lock_guard lock(mutex_);
  taken_ -= entries;
}

Result<Queues::Created> Queues::create_pair(const QueuePairOptions& options,
                                            std::shared_ptr<const QueuePairOwner> owner) {
  const std::lock_guard lock(pairs_mutex_);
  ibv_qp_init_attr attributes{};
  attributes.qp_context = const_cast<QueuePairOwner*>(owner.get());
  attributes.send_cq = completions_.get();
  attributes.recv_cq = completions_.get();
  attributes.srq = options.receives == 0 ? receives_.get() : nullptr;
  attributes.cap.max_send_wr = options.sends;
  attributes.cap.max_recv_wr = options.receives;
  attributes.cap.max_send_sge = 1;
  attributes.cap.max_recv_sge = 1;
  attributes.cap.max_inline_data = options.inline_bytes;
  attributes.qp_type = options.type;
  QueuePair pair(ibv_create_qp(device_->domain(), &attributes));
  if (!pair && attributes.cap.max_inline_data != 0) {
    attributes.cap.max_inline_data = 0;  // not every device sends inline
    pair.reset(ibv_create_qp(device_->domain(), &attributes));
  }
  if (!pair) return fail(call_error("ibv_create_qp", "on " + device_->name(), errno));
  owners_[pair->qp_num] = std::move(owner);
  return Created{std::move(pair), attributes.cap.max_inline_data};
}

Status Queues::attach(EventLoop& loop) {
  if (loop_ != nullptr) return {};
  auto added = loop.add(channel_->fd, POLLIN, *this);
  if (!added) return fail(std::move(added.error()));
  loop_ = &loop;
  registration_ = *added;
  return {};
}

void Queues::add(const ibv_qp& pair, CompletionSink& sink) { sinks_[pair.qp_num] = &sink; }

void Queues::take_completions() {
  std::array<ibv_wc, kBatch> batch;
  int count = 0;
  while ((count = ibv_poll_cq(completions_.get(), kBatch, batch.data())) > 0) {
    found_.insert(found_.end(), batch.begin(), batch.begin() + count);
  }
}

void Queues::destroy(QueuePair pair) {
  const std::uint32_t number = pair->qp_num;
  // No pair gets the number again before what is left of its completions has been taken out.
  const std::lock_guard lock(pairs_mutex_);
  sinks_.erase(number);
  take_completions();  // a device may throw away those of a pair that is destroyed
  pair.reset();
  owners_.erase(number);
  take_completions();
  const auto is_of_pair = [&](const ibv_wc& wc) { return wc.qp_num == number; };
  const auto receives = static_cast<std::uint32_t>(std::ranges::count_if(
      found_, [&](const ibv_wc& wc) { return is_of_pair(wc) && wc.wr_id == kSharedReceive; }));
  owed_ += receives;
  completed_ += receives;
  std::erase_if(found_, is_of_pair);
  if (owed_ >= kReplenishBatch) static_cast<void>(post_receives(owed_));
}

void Queues::discard(QueuePair pair) {
  const std::lock_guard lock(pairs_mutex_);
  const std::uint32_t number = pair->qp_num;
  pair.reset();
  owners_.erase(number);
}

void Queues::retire(QueuePair pair, std::uint32_t entries, Nanoseconds now) {
  sinks_.erase(pair->qp_num);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  if (ibv_modify_qp(pair.get(), &attributes, IBV_QP_STATE) != 0) {  // a failed device
    destroy(std::move(pair));
    return give_back(entries);
  }
  retired_.push_back({std::move(pair), entries, now + kLongestRetirement});
}

Nanoseconds Queues::reap(Nanoseconds now) {
  Nanoseconds next = kNever;
  std::vector<Retired> still;
  std::size_t reaped = 0;
  for (Retired& retired : retired_) {
    if (retired.until > now || reaped == kMostReapedAtOnce) {
      next = std::min(next, std::max(retired.until, now));
      still.push_back(std::move(retired));
    } else {
      destroy(std::move(retired.pair));
      give_back(retired.entries);
      ++reaped;
    }
  }
  retired_ = std::move(still);
  watch_again();
  return next;
}

void Queues::on_last_receive(std::uint32_t number) {
  for (Retired& retired : retired_) {
    if (retired.pair->qp_num == number) retired.until = 0;
  }
}

std::size_t Queues::poll() {
  if (!found_.empty()) {
    // A sink may destroy a queue pair, and so add to found_ or take out of it.
    std::vector<ibv_wc> batch;
    batch.swap(found_);
    tell_all(batch);
    const std::size_t told = batch.size();
    if (found_.empty()) {
      batch.clear();
      batch.swap(found_);  // keeps the memory
    }
    return told;
  }
  std::array<ibv_wc, kBatch> batch;
  const int count = ibv_poll_cq(completions_.get(), kBatch, batch.data());
  if (count <= 0) return 0;
  tell_all(std::span(batch).first(static_cast<std::size_t>(count)));
  return static_cast<std::size_t>(count);
}

void Queues::tell_all(std::span<const ibv_wc> completions) {
  is_telling_ = true;
  for (const ibv_wc& completion : completions) tell(completion);
  is_telling_ = false;
  watch_again();
}

/// If few receives were left at a moment at which that could not be judged.
void Queues::watch_again() {
  if (!is_few_ || !retired_.empty() || is_telling_) return;
  is_few_ = false;
  watch_receives();
}

bool Queues::is_retired(std::uint32_t number) const {
  return std::ranges::any_of(
      retired_, [&](const Retired& retired) { return retired.pair->qp_num == number; });
}

void Queues::tell(const ibv_wc& completion) {
  auto found = sinks_.find(completion.qp_num);
  if (found == sinks_.end() && !is_retired(completion.qp_num)) {
    // A client may be quicker than the task that adds its queue pair here, which was posted before
    // the client was accepted.
    loop_->poll();
    found = sinks_.find(completion.qp_num);
  }
  if (found != sinks_.end() && found->second->is_new()) {
    found->second->on_first();
    found = sinks_.find(completion.qp_num);
  }
  CompletionSink* const sink = found == sinks_.end() ? nullptr : found->second;
  if (completion.wr_id == kSharedReceive) {
    ++owed_;
    ++completed_;
    if (owed_ >= kReplenishBatch) {
      const std::uint32_t count = owed_;
      if (post_receives(count) && sink != nullptr) sink->on_replenished(count);
    }
  }
  if (sink != nullptr) sink->on_completion(completion);
}

Status Queues::post_receives(std::uint32_t count) {
  owed_ = count;
  while (owed_ > 0) {
    const auto batch = std::min<std::size_t>(owed_, chain_.size());
    for (std::size_t i = 0; i < batch; ++i) {
      chain_[i] = {};
      chain_[i].wr_id = kSharedReceive;
      chain_[i].next = i + 1 < batch ? &chain_[i + 1] : nullptr;
    }
    ibv_recv_wr* bad = nullptr;
    const int error = ibv_post_srq_recv(receives_.get(), chain_.data(), &bad);
    const auto done = error == 0 ? batch : static_cast<std::size_t>(bad - chain_.data());
    owed_ -= static_cast<std::uint32_t>(done);
    posted_ += done;
    if (error == ENOMEM) owed_ = 0;  // the queue is full: there is nothing that it lacks
    if (error != 0) {
      return fail(call_error("ibv_post_srq_recv", "on " + device_->name(), error));
    }
  }
  return {};
}

void Queues::watch_receives() {
  ibv_srq_attr attributes{};
  attributes.srq_limit = std::max(receive_count_ / kFewReceives, 1u);
  posted_when_watched_ = posted_;
  ibv_modify_srq(receives_.get(), &attributes, IBV_SRQ_LIMIT);  // where it cannot, nothing is told
}

void Queues::on_few_receives() {
  // Retired pairs are about to give back what they have.
  is_few_ = !retired_.empty() || is_telling_;
  if (is_few_) {
    if (owed_ > 0) static_cast<void>(post_receives(owed_));
    return;
  }
  // Only what is said of a queue that nothing was posted to since may be compared with our count.
  const bool is_of_now = posted_ == posted_when_watched_;
  take_completions();
  const auto untold = std::ranges::count(found_, kSharedReceive, &ibv_wc::wr_id);
  const auto expected = static_cast<std::int64_t>(posted_ - completed_) - untold;
  const std::int64_t few = receive_count_ / kFewReceives;
  if (is_of_now && expected > few) {
    const auto lost = static_cast<std::uint32_t>(expected - few);
    log::warning(device_->name() + " has lost " + std::to_string(lost) +
                 " receives, which are posted again");
    lost_ += lost;
    completed_ += lost;
    static_cast<void>(post_receives(owed_ + lost));
  } else if (owed_ > 0) {
    static_cast<void>(post_receives(owed_));
  }
  watch_receives();
}

bool Queues::arm() {
  if (ibv_req_notify_cq(completions_.get(), 0) != 0) return true;  // a failed device: no events
  std::array<ibv_wc, kBatch> batch;
  const int count = ibv_poll_cq(completions_.get(), kBatch, batch.data());
  if (count > 0) found_.insert(found_.end(), batch.begin(), batch.begin() + count);
  return found_.empty();
}

void Queues::on_ready(std::uint32_t) {
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel_.get(), &queue, &context) == 0) ++unacknowledged_;
  constexpr unsigned kAcknowledgeBatch = 64;  // acknowledging takes a lock
  if (unacknowledged_ < kAcknowledgeBatch) return;
  ibv_ack_cq_events(completions_.get(), unacknowledged_);
  unacknowledged_ = 0;
}

}  // namespace silurus::transport::verbs
