// SPDX-License-Identifier: Apache-2.0

#include "tests/fake_verbs/fake_manager.h"

#include <arpa/inet.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/check.h"

namespace silurus::testing_support {
namespace {

FakeManager* the_manager = nullptr;

sockaddr_in at(const std::string& address) {
  sockaddr_in made{};
  made.sin_family = AF_INET;
  made.sin_port = htons(7471);
  SILURUS_CHECK(inet_pton(AF_INET, address.c_str(), &made.sin_addr) == 1);
  return made;
}

}  // namespace

/// What the functions below do.
struct FakeManagerCalls {
  static rdma_event_channel* channel() { return &the_manager->channel_; }
  static ibv_context* device() { return the_manager->device_.context(); }
  static rdma_cm_id* create_id(void* context) {
    const std::lock_guard lock(the_manager->mutex_);
    return make_id(context);
  }
  static rdma_cm_id* make_id(void* context) {
    auto& id = the_manager->ids_.emplace_back(std::make_unique<FakeManager::Id>());
    id->handle.channel = &the_manager->channel_;
    id->handle.context = context;
    return &id->handle;
  }
  static void destroy(rdma_cm_id* id) {
    const std::lock_guard lock(the_manager->mutex_);
    if (FakeManager::Client* const client = the_manager->client_of(id)) {
      client->id = nullptr;
      if (client->state != FakeManager::State::kRejected) client->state = FakeManager::State::kGone;
    }
    if (the_manager->listening_ == id) the_manager->listening_ = nullptr;
    std::erase_if(the_manager->events_, [&](const auto& one) { return one->handle.id == id; });
    std::erase_if(the_manager->ids_, [&](const auto& one) { return &one->handle == id; });
  }
  static void listen(rdma_cm_id* id) {
    const std::lock_guard lock(the_manager->mutex_);
    the_manager->listening_ = id;
  }
  static void answer(const rdma_cm_id* id, FakeManager::State state, const void* data,
                     std::size_t bytes) {
    const std::lock_guard lock(the_manager->mutex_);
    FakeManager::Client& client = *the_manager->client_of(id);
    const auto* const begin = static_cast<const std::byte*>(data);
    client.answer.assign(begin, begin + bytes);
    client.state = state;
  }
  static rdma_cm_event* next_event() {
    const std::lock_guard lock(the_manager->mutex_);
    std::uint64_t count = 0;
    if (the_manager->events_.empty()) {
      [[maybe_unused]] const auto got = read(the_manager->channel_.fd, &count, sizeof(count));
      return nullptr;
    }
    auto& taken = the_manager->taken_.emplace_back(std::move(the_manager->events_.front()));
    the_manager->events_.pop_front();
    return &taken->handle;
  }
  static void acknowledge(const rdma_cm_event* event) {
    const std::lock_guard lock(the_manager->mutex_);
    std::erase_if(the_manager->taken_, [&](const auto& one) { return &one->handle == event; });
  }
};

FakeManager::FakeManager(FakeDevice& device) : device_(device) {
  SILURUS_CHECK(the_manager == nullptr);
  the_manager = this;
  channel_.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

FakeManager::~FakeManager() {
  close(channel_.fd);
  the_manager = nullptr;
}

std::size_t FakeManager::ask(const std::string& from, const void* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  SILURUS_CHECK(listening_ != nullptr);
  rdma_cm_id* const id = FakeManagerCalls::make_id(nullptr);
  id->verbs = device_.context();
  id->route.addr.src_sin = at("10.0.0.1");
  id->route.addr.dst_sin = at(from);
  clients_.push_back({id});
  auto event = std::make_unique<Event>();
  const auto* const begin = static_cast<const std::byte*>(data);
  event->data.assign(begin, begin + bytes);
  event->handle.id = id;
  event->handle.listen_id = listening_;
  event->handle.event = RDMA_CM_EVENT_CONNECT_REQUEST;
  event->handle.param.conn.private_data = event->data.data();
  event->handle.param.conn.private_data_len = static_cast<std::uint8_t>(bytes);
  event->handle.param.conn.responder_resources = 16;
  raise(std::move(event));
  return clients_.size() - 1;
}

void FakeManager::establish(std::size_t client) {
  const std::lock_guard lock(mutex_);
  if (clients_[client].id == nullptr) return;
  auto event = std::make_unique<Event>();
  event->handle.id = clients_[client].id;
  event->handle.event = RDMA_CM_EVENT_ESTABLISHED;
  raise(std::move(event));
}

void FakeManager::raise(std::unique_ptr<Event> event) {
  events_.push_back(std::move(event));
  const std::uint64_t one = 1;
  SILURUS_CHECK(write(channel_.fd, &one, sizeof(one)) == sizeof(one));
}

FakeManager::State FakeManager::state(std::size_t client) const {
  const std::lock_guard lock(mutex_);
  return clients_[client].state;
}

std::vector<std::byte> FakeManager::answer(std::size_t client) const {
  const std::lock_guard lock(mutex_);
  return clients_[client].answer;
}

std::size_t FakeManager::count(State state) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(clients_, [&](const Client& one) { return one.state == state; }));
}

FakeManager::Client* FakeManager::client_of(const rdma_cm_id* id) {
  const auto found = std::ranges::find_if(clients_, [&](const auto& one) { return one.id == id; });
  return found == clients_.end() ? nullptr : &*found;
}

}  // namespace silurus::testing_support

// What the program links instead of librdmacm's.

using silurus::testing_support::FakeManager;
using silurus::testing_support::FakeManagerCalls;

extern "C" {

rdma_event_channel* rdma_create_event_channel() { return FakeManagerCalls::channel(); }
void rdma_destroy_event_channel(rdma_event_channel*) {}
ibv_context** rdma_get_devices(int* count) {
  *count = 1;
  return new ibv_context* [2] { FakeManagerCalls::device(), nullptr };
}
void rdma_free_devices(ibv_context** list) { delete[] list; }

int rdma_getaddrinfo(const char*, const char*, const rdma_addrinfo*, rdma_addrinfo** out) {
  static sockaddr_in here = silurus::testing_support::at("10.0.0.1");
  *out = new rdma_addrinfo{};
  (*out)->ai_src_addr = reinterpret_cast<sockaddr*>(&here);
  (*out)->ai_src_len = sizeof(here);
  return 0;
}
void rdma_freeaddrinfo(rdma_addrinfo* found) { delete found; }

int rdma_create_id(rdma_event_channel*, rdma_cm_id** id, void* context, rdma_port_space) {
  *id = FakeManagerCalls::create_id(context);
  return 0;
}
int rdma_destroy_id(rdma_cm_id* id) {
  FakeManagerCalls::destroy(id);
  return 0;
}
int rdma_bind_addr(rdma_cm_id* id, sockaddr* address) {
  id->route.addr.src_sin = *reinterpret_cast<sockaddr_in*>(address);
  return 0;
}
int rdma_listen(rdma_cm_id* id, int) {
  FakeManagerCalls::listen(id);
  return 0;
}
int rdma_init_qp_attr(rdma_cm_id*, ibv_qp_attr*, int* mask) {
  *mask = IBV_QP_STATE;
  return 0;
}
int rdma_accept(rdma_cm_id* id, rdma_conn_param* parameters) {
  FakeManagerCalls::answer(id, FakeManager::State::kAccepted, parameters->private_data,
                           parameters->private_data_len);
  return 0;
}
int rdma_reject(rdma_cm_id* id, const void* data, std::uint8_t bytes) {
  FakeManagerCalls::answer(id, FakeManager::State::kRejected, data, bytes);
  return 0;
}
int rdma_disconnect(rdma_cm_id*) { return 0; }

int rdma_get_cm_event(rdma_event_channel*, rdma_cm_event** event) {
  *event = FakeManagerCalls::next_event();
  if (*event != nullptr) return 0;
  errno = EAGAIN;
  return -1;
}
int rdma_ack_cm_event(rdma_cm_event* event) {
  FakeManagerCalls::acknowledge(event);
  return 0;
}

}  // extern "C"
