// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/control.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <filesystem>

#include "common/log.h"
#include "transport/custody.h"
#include "transport/verbs/error.h"
#include "transport/verbs/poller.h"

namespace silurus::transport::verbs {
namespace {

Status set_nonblocking(int fd) {
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot make a file descriptor non-blocking", errno));
  }
  return {};
}

/// Why a call found no RDMA here: rdma-core says that there is no device also when there is one
/// that this user may not open.
Error no_rdma(std::string_view call, int errno_value) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/infiniband", ignored)) {
    const std::string path = entry.path();
    const bool needed = entry.path().filename() == "rdma_cm" ||
                        entry.path().filename().string().starts_with("uverbs");
    if (needed && ::access(path.c_str(), R_OK | W_OK) != 0 && errno == EACCES) {
      return call_error(call, "(" + path + ")", EACCES);
    }
  }
  return call_error(call, "", errno_value);
}

Result<std::vector<std::shared_ptr<Device>>> open_devices() {
  int count = 0;
  const std::unique_ptr<ibv_context*, Release<rdma_free_devices>> contexts(
      rdma_get_devices(&count));
  if (!contexts || count == 0) {
    return fail(no_rdma("rdma_get_devices", contexts ? ENODEV : errno));
  }
  std::vector<std::shared_ptr<Device>> devices;
  for (int i = 0; i < count; ++i) {
    auto device = Device::create(contexts.get()[i]);
    if (!device) return fail(std::move(device.error()));
    devices.push_back(std::move(*device));
  }
  return devices;
}

}  // namespace

void PollerGate::post(std::function<void(VerbsPoller&)> task) {
  const std::lock_guard lock(mutex_);
  if (poller_ != nullptr) poller_->post(std::move(task));
}

void PollerGate::close() {
  const std::lock_guard lock(mutex_);
  poller_ = nullptr;
}

CmNotice CmNotice::take(CmEvent event) {
  CmNotice notice{event->event, event->status, nullptr, {}, 0, 0};
  if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) notice.requester.reset(event->id);
  const rdma_conn_param& parameters = event->param.conn;
  switch (event->event) {
    case RDMA_CM_EVENT_CONNECT_REQUEST:
    case RDMA_CM_EVENT_CONNECT_RESPONSE:
    case RDMA_CM_EVENT_REJECTED: {
      const auto* data = static_cast<const std::byte*>(parameters.private_data);
      if (data != nullptr) notice.private_data.assign(data, data + parameters.private_data_len);
      notice.responder_resources = parameters.responder_resources;
      notice.initiator_depth = parameters.initiator_depth;
      break;
    }
    default:
      break;
  }
  return notice;
}

Link::Link(CmId id, std::shared_ptr<PollerGate> gate, std::uint64_t serial)
    : id_(std::move(id)), gate_(std::move(gate)), serial_(serial) {
  id_->context = static_cast<CmSink*>(this);
}

void Link::on_cm(CmNotice notice) {
  switch (notice.type) {
    case RDMA_CM_EVENT_ESTABLISHED:
      gate_->post([serial = serial_](VerbsPoller& poller) { poller.on_established(serial); });
      break;
    case RDMA_CM_EVENT_DISCONNECTED:
      report_lost({ErrorCode::kConnectionLost, "closed by the peer"});
      break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      report_lost({ErrorCode::kConnectionLost, "the RDMA device was removed"});
      break;
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
    case RDMA_CM_EVENT_REJECTED:
    case RDMA_CM_EVENT_MULTICAST_ERROR:
      report_lost({ErrorCode::kConnectionLost,
                   std::string("connection manager: ") + rdma_event_str(notice.type)});
      break;
    default:
      break;  // address change, time wait over: nothing to do
  }
}

void Link::report_lost(Error reason) {
  gate_->post([serial = serial_, reason = std::move(reason)](VerbsPoller& poller) {
    poller.on_lost(serial, reason);
  });
}

Result<std::shared_ptr<Control>> Control::create() {
  EventChannel channel(rdma_create_event_channel());
  if (!channel) return fail(no_rdma("rdma_create_event_channel", errno));
  auto loop = EventLoop::create();
  if (!loop) return fail(std::move(loop.error()));
  std::shared_ptr<Control> control(new Control(std::move(channel), std::move(*loop)));
  if (auto started = control->start(); !started) return fail(std::move(started.error()));
  return control;
}

Status Control::start() {
  auto devices = open_devices();
  if (!devices) return fail(std::move(devices.error()));
  devices_ = std::move(*devices);
  if (auto status = set_nonblocking(channel_->fd); !status) return status;
  if (auto added = loop_->add(channel_->fd, POLLIN, *this); !added) {
    return fail(std::move(added.error()));
  }
  for (const auto& device : devices_) {
    const int fd = device->context()->async_fd;
    if (auto status = set_nonblocking(fd); !status) return status;
    watched_.push_back(std::make_unique<Watched>(*this, *device));
    if (auto added = loop_->add(fd, POLLIN, *watched_.back()); !added) {
      return fail(std::move(added.error()));
    }
  }
  hold_in_custody();
  thread_ = std::thread([this] { run(); });
  return {};
}

/// Queue pairs and regions live as long as their device's command descriptor is open anywhere, and
/// the connection manager ends its connections when the channel is closed everywhere.
void Control::hold_in_custody() {
  Custody* const holder = custody();
  if (holder == nullptr) return;
  custody_tickets_.push_back(holder->hold(channel_->fd));
  for (const auto& device : devices_) {
    custody_tickets_.push_back(holder->hold(device->context()->cmd_fd));
    custody_tickets_.push_back(holder->hold(device->context()->async_fd));
  }
}

Control::~Control() {
  for (const std::uint64_t ticket : custody_tickets_) custody()->release(ticket);
  if (!thread_.joinable()) return;
  // relaxed: post() and the loop's lock order it.
  loop_->post([this] { stopping_.store(true, std::memory_order_relaxed); });
  thread_.join();
}

void Control::run() {
  while (!stopping_.load(std::memory_order_relaxed)) {
    pollfd waiting{loop_->fd(), POLLIN, 0};
    poll(&waiting, 1, -1);
    loop_->poll();
  }
}

Result<std::shared_ptr<Device>> Control::device(const rdma_cm_id& id) const {
  for (const auto& device : devices_) {
    if (device->context() == id.verbs) return device;
  }
  return fail(ErrorCode::kUnsupported, "an RDMA device that came after the start: start again");
}

void Control::call(const std::function<void()>& task) {
  std::mutex mutex;
  std::condition_variable done;
  bool finished = false;
  loop_->post([&] {
    task();
    const std::lock_guard lock(mutex);
    finished = true;
    done.notify_one();
  });
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return finished; });
}

Link* Control::adopt(std::unique_ptr<Link> link) {
  Link* const raw = link.get();
  // std::function wants to be copyable
  auto shared = std::make_shared<std::unique_ptr<Link>>(std::move(link));
  loop_->post([this, raw, shared] { links_.emplace(raw, std::move(*shared)); });
  return raw;
}

void Control::dispose(Link* link) {
  loop_->post([this, link] {
    const auto found = links_.find(link);
    if (found == links_.end()) return;
    rdma_disconnect(link->id());
    links_.erase(found);
  });
}

void Control::on_ready(std::uint32_t) {
  rdma_cm_event* event = nullptr;
  while (rdma_get_cm_event(channel_.get(), &event) == 0) {
    auto* const sink = static_cast<CmSink*>(event->event == RDMA_CM_EVENT_CONNECT_REQUEST
                                                ? event->listen_id->context
                                                : event->id->context);
    CmNotice notice = CmNotice::take(CmEvent(event));
    if (sink != nullptr) sink->on_cm(std::move(notice));
  }
}

void Control::on_async(Device& device) {
  ibv_async_event event{};
  while (ibv_get_async_event(device.context(), &event) == 0) {
    switch (event.event_type) {
      case IBV_EVENT_PORT_ERR:
        log::warning("port " + std::to_string(event.element.port_num) + " of " + device.name() +
                     " is down");
        break;
      case IBV_EVENT_PORT_ACTIVE:
        log::info("port " + std::to_string(event.element.port_num) + " of " + device.name() +
                  " is up");
        break;
      case IBV_EVENT_DEVICE_FATAL:
        log::error(device.name() + " has failed");
        lose_all(device);
        break;
      case IBV_EVENT_QP_FATAL:
      case IBV_EVENT_QP_REQ_ERR:
      case IBV_EVENT_QP_ACCESS_ERR: {
        // Destroying a queue pair waits for this event's acknowledgement: the owner is alive.
        const auto* owner = static_cast<const QueuePairOwner*>(event.element.qp->qp_context);
        const Error reason{
            event.event_type == IBV_EVENT_QP_FATAL ? ErrorCode::kConnectionLost
                                                   : ErrorCode::kProtocol,
            std::string(ibv_event_type_str(event.event_type)) + " on " + device.name()};
        owner->gate->post([serial = owner->serial, reason](VerbsPoller& poller) {
          poller.on_lost(serial, reason);
        });
        break;
      }
      case IBV_EVENT_QP_LAST_WQE_REACHED: {
        const auto* owner = static_cast<const QueuePairOwner*>(event.element.qp->qp_context);
        owner->gate->post([number = event.element.qp->qp_num](VerbsPoller& poller) {
          poller.on_last_receive(number);
        });
        break;
      }
      case IBV_EVENT_SRQ_LIMIT_REACHED: {
        const auto* owner = static_cast<const ReceivesOwner*>(event.element.srq->srq_context);
        owner->gate->post(
            [queue = event.element.srq](VerbsPoller& poller) { poller.on_few_receives(*queue); });
        break;
      }
      default:
        break;
    }
    ibv_ack_async_event(&event);
  }
}

void Control::lose_all(const Device& device) {
  for (const auto& [link, owner] : links_) {
    if (link->id()->verbs == device.context()) {
      link->report_lost({ErrorCode::kConnectionLost, device.name() + " has failed"});
    }
  }
}

}  // namespace silurus::transport::verbs
