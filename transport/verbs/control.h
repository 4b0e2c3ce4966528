// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "transport/event_loop.h"
#include "transport/verbs/device.h"
#include "transport/verbs/handles.h"

namespace silurus::transport::verbs {

class VerbsPoller;

/// The way from the control thread to a poller that may be gone already. Shared by both.
class PollerGate {
 public:
  explicit PollerGate(VerbsPoller* poller) : poller_(poller) {}
  /// Any thread: the task runs on the poller's thread, or never.
  void post(std::function<void(VerbsPoller&)> task);
  /// The poller's destructor.
  void close();

 private:
  std::mutex mutex_;
  VerbsPoller* poller_;  ///< under mutex_
};

/// What the connection manager reported: a copy, the event itself is acknowledged by then.
struct CmNotice {
  rdma_cm_event_type type;
  int status;
  CmId requester;  ///< with RDMA_CM_EVENT_CONNECT_REQUEST: the new connection's id
  std::vector<std::byte> private_data;
  std::uint8_t responder_resources;  ///< the peer's initiator depth
  std::uint8_t initiator_depth;      ///< the peer's responder resources

  /// Copies and acknowledges.
  static CmNotice take(CmEvent event);
};

/// Hears what happens to a CmId whose context points to it. On the control thread.
class CmSink {
 public:
  virtual void on_cm(CmNotice notice) = 0;

 protected:
  ~CmSink() = default;
};

/// The CmId of an established connection (or a group): tells its poller when the connection ends.
/// Owned by Control, so that no event finds it gone.
class Link final : public CmSink {
 public:
  Link(CmId id, std::shared_ptr<PollerGate> gate, std::uint64_t serial);
  rdma_cm_id* id() const { return id_.get(); }
  void on_cm(CmNotice notice) override;
  /// Tells the poller that the connection is lost.
  void report_lost(Error reason);

 private:
  CmId id_;
  std::shared_ptr<PollerGate> gate_;
  std::uint64_t serial_;
};

/// What an asynchronous event about a queue pair is told to: its qp_context.
struct QueuePairOwner {
  std::shared_ptr<PollerGate> gate;
  std::uint64_t serial;
};

/// What an asynchronous event about a shared receive queue is told to: its srq_context.
struct ReceivesOwner {
  std::shared_ptr<PollerGate> gate;
};

/// The thread that waits for the connection manager's and the devices' events, sleeping between
/// them, and the devices of this host. One for each fabric; set-up only, never on the data path.
class Control final : private EventSink {
 public:
  static Result<std::shared_ptr<Control>> create();
  ~Control();

  const std::vector<std::shared_ptr<Device>>& devices() const { return devices_; }
  /// The device of a CmId; kUnsupported for one that came after the start.
  Result<std::shared_ptr<Device>> device(const rdma_cm_id& id) const;
  rdma_event_channel* channel() const { return channel_.get(); }

  /// Any thread but the control thread: runs it there, and waits until it has.
  void call(const std::function<void()>& task);
  /// Any thread: from now on events of the link are heard; its id must be on channel().
  Link* adopt(std::unique_ptr<Link> link);
  /// Any thread: disconnects and destroys, soon.
  void dispose(Link* link);

 private:
  struct Watched final : EventSink {
    Watched(Control& owner, Device& watched) : control(owner), device(watched) {}
    void on_ready(std::uint32_t /*events*/) override { control.on_async(device); }
    Control& control;
    Device& device;
  };
  Control(EventChannel channel, std::unique_ptr<EventLoop> loop)
      : channel_(std::move(channel)), loop_(std::move(loop)) {}
  Status start();
  void hold_in_custody();
  void run();
  void on_ready(std::uint32_t events) override;
  void on_async(Device& device);
  void lose_all(const Device& device);

  EventChannel channel_;
  std::vector<std::shared_ptr<Device>> devices_;
  std::unique_ptr<EventLoop> loop_;
  std::vector<std::unique_ptr<Watched>> watched_;
  std::unordered_map<Link*, std::unique_ptr<Link>> links_;  ///< the control thread's
  std::vector<std::uint64_t> custody_tickets_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace silurus::transport::verbs
