// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace silurus::testing_support {

/// A device that exists in this program alone: it defines the functions of libibverbs that
/// transport/verbs/queues.h uses, and does what the specification allows and mlx5 does, where
/// soft-RoCE is kinder: a queue pair that is destroyed takes its completions along, and the
/// receives that they were of are not in the shared queue any more. One at a time. One thread.
class FakeDevice {
 public:
  FakeDevice();
  ~FakeDevice();
  FakeDevice(const FakeDevice&) = delete;
  FakeDevice& operator=(const FakeDevice&) = delete;

  ibv_context* context() { return &context_; }

  /// A message comes to the pair, and takes a receive of the shared queue. Only if it is whole
  /// there is a completion now; else there is one when the pair goes to the error state. False:
  /// there is no receive, and the sender has to wait.
  bool deliver(const ibv_qp& pair, bool is_whole = true);
  /// A work request of the pair has been sent: it completes.
  void complete_send(const ibv_qp& pair);
  /// Receives in the shared queue.
  std::uint32_t receives() const { return receives_; }
  std::size_t pairs() const { return pairs_.size(); }
  /// What each pair lets its peer do (ibv_access_flags), in the order of set-up.
  const std::vector<int>& granted() const { return granted_; }
  /// Pairs in the error state of which it was told that they take no more receives.
  std::vector<std::uint32_t> take_last_receives() { return std::exchange(last_receives_, {}); }
  /// Whether it was told since the last call that few receives are left.
  bool take_few_receives() { return std::exchange(is_few_told_, false); }

 private:
  friend struct FakeVerbs;
  struct Pair {
    ibv_qp handle;
    std::uint32_t unfinished = 0;  ///< receives of messages that are not whole
    bool is_in_error = false;
  };
  void complete(std::uint32_t pair_number, ibv_wc_status status, std::uint64_t number);
  void look_at_limit();

  ibv_device device_{};
  ibv_context context_{};
  ibv_cq completion_queue_{};
  ibv_srq receive_queue_{};
  std::deque<ibv_wc> completions_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::vector<std::uint32_t> last_receives_;
  std::vector<int> granted_;
  std::uint64_t receive_number_ = 0;  ///< wr_id of the receives
  std::uint32_t receives_ = 0;
  std::uint32_t limit_ = 0;  ///< 0: not armed
  std::uint32_t next_number_ = 100;
  bool is_few_told_ = false;
};

}  // namespace silurus::testing_support
