// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <memory>
#include <utility>

namespace silurus::server {

/// Jobs in a row, which it owns. They are linked by their member `next`, so that nothing is
/// allocated on their way.
template <typename Job>
class JobList {
 public:
  JobList() = default;
  JobList(JobList&& other) noexcept
      : first_(std::exchange(other.first_, nullptr)), last_(std::exchange(other.last_, nullptr)) {}
  JobList& operator=(JobList&& other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    return *this;
  }
  ~JobList() {
    while (first_ != nullptr) pop_front();
  }

  bool empty() const { return first_ == nullptr; }
  void push_back(std::unique_ptr<Job> job) {
    job->next = nullptr;
    Job*& link = first_ == nullptr ? first_ : last_->next;
    link = last_ = job.release();
  }
  void push_front(std::unique_ptr<Job> job) {
    job->next = first_;
    if (first_ == nullptr) last_ = job.get();
    first_ = job.release();
  }
  /// The oldest one; nullptr: there is none.
  std::unique_ptr<Job> pop_front() {
    std::unique_ptr<Job> job(first_);
    if (job != nullptr) first_ = job->next;
    return job;
  }

 private:
  Job* first_ = nullptr;
  Job* last_ = nullptr;  ///< has no meaning while the list is empty
};

/// Jobs handed from many threads to one, without locks: a stack (Treiber, 1986) that is emptied
/// in one exchange and turned around, so that they come out in the order in which they went in.
/// Owns those on their way.
template <typename Job>
class Handover {
 public:
  Handover() = default;
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;
  ~Handover() { take_all(); }

  /// Any thread. Returns whether it was empty.
  bool push(std::unique_ptr<Job> job) {
    Job* const pushed = job.release();
    Job* head = head_.load(std::memory_order_relaxed);
    do {
      pushed->next = head;
      // Release: pairs with the acquire of take_all(), which then reads the job. Sequentially
      // consistent as well, for the argument at Combiner::turn().
    } while (!head_.compare_exchange_weak(head, pushed, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    return head == nullptr;
  }
  /// One thread at a time: everything, oldest first.
  JobList<Job> take_all() {
    JobList<Job> all;
    if (head_.load(std::memory_order_relaxed) == nullptr) return all;
    // Acquire: pairs with the release of push().
    Job* newest = head_.exchange(nullptr, std::memory_order_acquire);
    while (newest != nullptr) {
      Job* const older = newest->next;
      all.push_front(std::unique_ptr<Job>(newest));
      newest = older;
    }
    return all;
  }

 private:
  std::atomic<Job*> head_{nullptr};
};

/// Gets jobs back when they are done.
template <typename Job>
class JobOwner {
 public:
  /// Any thread: a job of this owner, with its outcome.
  virtual void complete(std::unique_ptr<Job> job) = 0;

 protected:
  ~JobOwner() = default;
};

template <typename Job>
void give_back(std::unique_ptr<Job> job) {
  JobOwner<Job>& owner = *job->owner;
  owner.complete(std::move(job));
}

}  // namespace silurus::server
