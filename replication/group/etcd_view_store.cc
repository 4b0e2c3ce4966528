// SPDX-License-Identifier: Apache-2.0

#include "replication/group/etcd_view_store.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace silurus::replication::group {
namespace {

/// Calls that wait for the thread. A member makes no more than three at a time.
constexpr std::size_t kMaxCalls = 16;

class Store final : public ViewStore {
 public:
  Store(const EtcdOptions& options, std::unique_ptr<etcd::Gateway> gateway)
      : options_(options),
        prefix_("silurus/" + options.address.name + "/" + std::to_string(options.shard) + "/"),
        gateway_(std::move(gateway)) {}
  ~Store() override {
    thread_.request_stop();
    wanted_.notify_all();
  }
  void start() {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }

  void read(OnRead done) override {
    call([this, done = std::move(done)] { return [done, state = do_read()] { done(state); }; });
  }
  void replace(std::uint64_t revision, const View& next, OnReplaced done) override {
    call([this, revision, view = encode(next), done = std::move(done)] {
      return [done, replaced = do_replace(revision, view)] { done(replaced); };
    });
  }
  void announce(const Registration& registration, OnAnnounced done) override {
    call([this, id = registration.member.id, content = encode(registration),
          done = std::move(done)] {
      return [done, announced = do_announce(id, content)] { done(announced); };
    });
  }
  Status progress() override {
    std::deque<Told> told;
    {
      const std::lock_guard lock(mutex_);
      told.swap(told_);
    }
    for (const Told& one : told) one();
    return {};
  }

 private:
  using Told = std::function<void()>;
  using Call = std::function<Told()>;

  void call(Call call) {
    {
      const std::lock_guard lock(mutex_);
      calls_.push_back(std::move(call));
      // Never that many: each kind of call is made only when the one before has been told of.
      if (calls_.size() > kMaxCalls) calls_.pop_front();
    }
    wanted_.notify_one();
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      Call call;
      {
        std::unique_lock lock(mutex_);
        if (!wanted_.wait(lock, stop, [this] { return !calls_.empty(); })) return;
        call = std::move(calls_.front());
        calls_.pop_front();
      }
      Told told = call();
      {
        const std::lock_guard lock(mutex_);
        told_.push_back(std::move(told));
      }
      if (options_.wake) options_.wake();
    }
  }

  // --- its thread

  Result<State> do_read() {
    const auto found = gateway_->read_prefix(prefix_);
    if (!found) return fail(found.error());
    State state;
    for (const etcd::KeyValue& one : *found) {
      if (one.key == prefix_ + "view") {
        auto view = decode_view(one.value);
        if (!view) return fail(view.error());
        state.view = std::move(*view);
        state.revision = one.revision;
      } else {
        auto registration = decode_registration(one.value);
        if (!registration) return fail(registration.error());
        state.registrations.push_back(std::move(*registration));
      }
    }
    return state;
  }

  Result<std::uint64_t> do_replace(std::uint64_t revision, const std::string& view) {
    return gateway_->replace(prefix_ + "view", revision, view);
  }

  Status do_announce(MemberId id, const std::string& content) {
    if (lease_ != 0) {
      const auto kept = gateway_->renew(lease_);
      if (!kept) return fail(kept.error());
      // Over: a new one is needed, and the registration is gone with it.
      if (!*kept) lease_ = 0;
    }
    if (lease_ == 0) {
      announced_.clear();
      const auto granted = gateway_->grant(std::max<std::int64_t>(options_.lease / kSecond, 1));
      if (!granted) return fail(granted.error());
      lease_ = *granted;
    }
    if (announced_ == content) return {};
    const auto put = gateway_->put(prefix_ + "members/" + std::to_string(id), content, lease_);
    if (!put) {
      lease_ = 0;  // perhaps because it is over
      return fail(put.error());
    }
    announced_ = content;
    return {};
  }

  const EtcdOptions options_;
  const std::string prefix_;
  std::unique_ptr<etcd::Gateway> gateway_;
  std::uint64_t lease_ = 0;
  std::string announced_;
  std::mutex mutex_;
  std::condition_variable_any wanted_;
  std::deque<Call> calls_;
  std::deque<Told> told_;
  std::jthread thread_;  ///< last: ends first
};

}  // namespace

Result<std::unique_ptr<ViewStore>> make_etcd_view_store(const EtcdOptions& options) {
  auto gateway = etcd::Gateway::create(options.address, options.timeout);
  if (!gateway) return fail(gateway.error());
  auto store = std::make_unique<Store>(options, std::move(*gateway));
  store->start();
  return store;
}

}  // namespace silurus::replication::group
