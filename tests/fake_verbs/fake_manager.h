// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <rdma/rdma_cma.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/fake_verbs/fake_device.h"

namespace silurus::testing_support {

/// A connection manager that exists in this program alone: it defines the functions of librdmacm
/// that a listener uses, with one FakeDevice. Clients are what the test says: they ask for a
/// connection, and answer when they are told to. One at a time. Any thread; the device is touched
/// by the thread that the manager's events wake until accept or reject is called, and by the
/// poller's thread.
class FakeManager {
 public:
  explicit FakeManager(FakeDevice& device);
  ~FakeManager();
  FakeManager(const FakeManager&) = delete;
  FakeManager& operator=(const FakeManager&) = delete;

  /// A client at that IPv4 address asks for a connection with these private data. Its number.
  std::size_t ask(const std::string& from, const void* data, std::size_t bytes);
  /// The client's answer to being accepted comes.
  void establish(std::size_t client);

  enum class State { kAsks, kAccepted, kRejected, kGone };
  State state(std::size_t client) const;
  /// The private data of that answer.
  std::vector<std::byte> answer(std::size_t client) const;
  std::size_t count(State state) const;

 private:
  friend struct FakeManagerCalls;
  struct Id {
    rdma_cm_id handle{};
    bool listens = false;
  };
  struct Event {
    rdma_cm_event handle{};
    std::vector<std::byte> data;
  };
  struct Client {
    rdma_cm_id* id = nullptr;  ///< null once it is destroyed
    State state = State::kAsks;
    std::vector<std::byte> answer = {};
  };
  void raise(std::unique_ptr<Event> event);
  Client* client_of(const rdma_cm_id* id);

  mutable std::mutex mutex_;
  FakeDevice& device_;
  rdma_event_channel channel_{};
  std::vector<std::unique_ptr<Id>> ids_;
  rdma_cm_id* listening_ = nullptr;
  std::deque<std::unique_ptr<Event>> events_;
  std::vector<std::unique_ptr<Event>> taken_;  ///< and not acknowledged
  std::vector<Client> clients_;
};

}  // namespace silurus::testing_support
