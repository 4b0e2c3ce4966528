// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "transport/fabric.h"
#include "transport/verbs/control.h"
#include "transport/verbs/memory.h"
#include "transport/verbs/poller.h"
#include "transport/verbs/queues.h"

namespace silurus::transport::verbs {

/// A multicast group joined with a UD queue pair. Members on one host may not hear each other: some
/// devices (soft-RoCE) do not send back to where a datagram came from.
class VerbsMulticast final : public MulticastGroup, public Endpoint, private CompletionSink {
 public:
  /// On the poller's thread.
  static Result<std::unique_ptr<MulticastGroup>> join(const std::shared_ptr<Control>& control,
                                                      const Address& group,
                                                      const ConnectOptions& options,
                                                      VerbsPoller& poller,
                                                      MulticastHandler& handler);
  ~VerbsMulticast() override;

  std::size_t max_datagram_bytes() const override { return max_datagram_bytes_; }
  PostStatus send(std::span<const std::byte> datagram) override;
  void flush() override { post_chain(); }
  const ConnectionCounters& counters() const override { return counters_; }

 private:
  VerbsMulticast(std::shared_ptr<Control> control, VerbsPoller& poller, MulticastHandler& handler,
                 std::string name, std::shared_ptr<Queues> queues, std::uint32_t mtu,
                 std::uint32_t slots, Pages pages, LandingArea area);
  Status enter(const rdma_ud_param& group, std::uint8_t port);
  Status start(CmId id);

  // Endpoint, CompletionSink
  void post_held_back() override;
  void report_ended() override;
  void on_lost(const Error& reason) override;
  void on_completion(const ibv_wc& completion) override;

  void post_chain();
  bool from_us(const ibv_wc& completion, const std::byte* header) const;
  void post_receive(std::uint64_t slot);
  std::span<std::byte> slot(std::uint64_t number) const;

  static constexpr std::uint32_t kSignalEvery = 16;

  std::shared_ptr<Control> control_;
  VerbsPoller& poller_;
  MulticastHandler& handler_;
  std::string name_;
  std::shared_ptr<Queues> queues_;
  std::shared_ptr<const QueuePairOwner> owner_;
  std::size_t max_datagram_bytes_;
  std::size_t slot_bytes_;
  const std::uint32_t slots_;  ///< for datagrams that come, and as many for those that go
  Pages pages_;                ///< the former, then the latter
  LandingArea area_;           ///< sends may go from it too
  QueuePair pair_;
  AddressHandle address_;
  rdma_ud_param group_{};
  ibv_gid own_{};
  Link* link_ = nullptr;
  bool started_ = false;
  bool ended_ = false;
  bool held_back_ = false;
  std::optional<Error> end_reason_;
  std::uint64_t sent_ = 0;       ///< datagrams posted
  std::uint64_t completed_ = 0;  ///< datagrams whose slots are free again
  std::vector<ibv_send_wr> chain_;
  std::vector<ibv_sge> pieces_;
  std::size_t chained_ = 0;
  ConnectionCounters counters_;
};

}  // namespace silurus::transport::verbs
