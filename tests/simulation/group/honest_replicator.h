// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "replication/group/replicator.h"

namespace silurus::simulation {

/// A replicator that looks at what the primary says to be committed before it says so to others.
class HonestReplicator final : public replication::group::Replicator {
 public:
  using Lsn = replication::Lsn;
  using SenderId = replication::group::SenderId;

  /// `check` is called with all that is told.
  HonestReplicator(Replicator& inner, std::function<void(Lsn)> check)
      : inner_(inner), check_(std::move(check)) {}

  void enter(const replication::group::View& view) override { inner_.enter(view); }
  void lead(const SenderId& self) override { inner_.lead(self); }
  void tell(Lsn commit, std::uint64_t heartbeat) override {
    check_(commit);
    inner_.tell(commit, heartbeat);
  }
  void beat(Lsn commit, std::uint64_t heartbeat) override {
    check_(commit);
    inner_.beat(commit, heartbeat);
  }
  void serve(const replication::group::Message<replication::group::FetchBody>& fetch) override {
    inner_.serve(fetch);
  }
  void follow(const SenderId& self, const SenderId& primary, replication::LogPosition safe,
              Nanoseconds now) override {
    inner_.follow(self, primary, safe, now);
  }
  void leave() override { inner_.leave(); }
  void on_log(const replication::group::Message<replication::group::LogBody>& message,
              Nanoseconds now) override {
    inner_.on_log(message, now);
  }
  void on_fetched(const replication::group::Message<replication::group::FetchBody>& message,
                  Nanoseconds now) override {
    inner_.on_fetched(message, now);
  }
  void on_window_bytes(std::uint64_t cookie, std::span<const std::byte> bytes,
                       Nanoseconds now) override {
    inner_.on_window_bytes(cookie, bytes, now);
  }
  Status step(Nanoseconds now) override { return inner_.step(now); }
  std::optional<Nanoseconds> deadline() const override { return inner_.deadline(); }
  bool in_step() const override { return inner_.in_step(); }
  Lsn received() const override { return inner_.received(); }
  Lsn known() const override { return inner_.known(); }
  bool needs_copy() const override { return inner_.needs_copy(); }
  Lsn copy_needs() const override { return inner_.copy_needs(); }
  bool contradicts() const override { return inner_.contradicts(); }
  replication::group::ReplicatorCounters counters() const override { return inner_.counters(); }

 private:
  Replicator& inner_;
  std::function<void(Lsn)> check_;
};

}  // namespace silurus::simulation
