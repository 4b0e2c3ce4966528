// SPDX-License-Identifier: Apache-2.0

#include "transport/shm/listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "transport/custody.h"
#include "transport/limits.h"
#include "transport/peer.h"
#include "transport/shm/control.h"

namespace silurus::transport::shm {
namespace {

/// 10 ms apart.
constexpr int kLockTries = 100;

}  // namespace

Result<std::uint32_t> ListenerState::take_ring(const std::string& peer) {
  const std::lock_guard lock(mutex_);
  return budget_.take(peer);
}

void ListenerState::give_back_ring(std::uint32_t ring_bytes, const std::string& peer) {
  const std::lock_guard lock(mutex_);
  budget_.give_back(ring_bytes, peer);
}

std::uint64_t ListenerState::ring_bytes() const {
  const std::lock_guard lock(mutex_);
  return budget_.bytes();
}

void ListenerState::announce_to(int control) {
  const std::lock_guard lock(mutex_);
  controls_.insert(control);
  for (std::size_t i = 0; i < regions_.size(); ++i) send_region(control, i);
}

void ListenerState::forget(int control) {
  const std::lock_guard lock(mutex_);
  controls_.erase(control);
}

Status ListenerState::expose(const Region& region) {
  if (auto size = check_sealed(region.fd, region.bytes.size(), true); !size) {
    return fail(ErrorCode::kInvalidArgument, "cannot expose a region: " + size.error().message);
  }
  UniqueFd fd(fcntl(region.fd, F_DUPFD_CLOEXEC, 0));
  if (!fd) return fail(errno_error(ErrorCode::kIo, "cannot keep a region's descriptor", errno));
  const std::lock_guard lock(mutex_);
  regions_.push_back({std::move(fd), region.bytes.size()});
  for (const int control : controls_) send_region(control, regions_.size() - 1);
  return {};
}

void ListenerState::send_region(int control, std::size_t index) const {
  const Exposed& exposed = regions_[index];
  const RegionPacket packet{static_cast<std::uint64_t>(Packet::kRegion), index, exposed.bytes};
  // A client that does not take in what we tell it is cut off: it would read the wrong regions.
  if (!send_packet(control, bytes_of(packet), exposed.fd.get())) shutdown(control, SHUT_RDWR);
}

ShmListener::ShmListener(Address address, const ListenOptions& options,
                         std::vector<ShmPoller*> pollers, AcceptHandler& handler)
    : address_(std::move(address)),
      allow_other_users_(options.allow_other_users),
      handler_(handler),
      state_(std::make_shared<ListenerState>(options, address_.to_string())),
      dealer_(std::move(pollers), handler) {}

Result<std::unique_ptr<ShmListener>> ShmListener::create(const Address& address,
                                                         const ListenOptions& options,
                                                         std::vector<ShmPoller*> pollers,
                                                         AcceptHandler& handler) {
  std::unique_ptr<ShmListener> listener(
      new ShmListener(address, options, std::move(pollers), handler));
  auto socket = listener->bind_and_listen();
  if (!socket) return fail(std::move(socket.error()));
  auto reception = Reception::create(
      listener->dealer_.loop(), std::move(*socket), address.to_string(), options,
      {[raw = listener.get()](IncomingConnection& incoming) { return raw->hear(incoming); }, refuse,
       peer_of_unix_socket, &listener->state_->refusals()});
  if (!reception) return fail(std::move(reception.error()));
  listener->reception_ = std::move(*reception);
  return listener;
}

namespace {

/// What a path holds: nothing, a dead server's socket (deleted), or a reason not to listen there.
Status clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return fail(errno_error(ErrorCode::kIo, "cannot look at " + path, errno));
  }
  if (!S_ISSOCK(status.st_mode)) {
    return fail(ErrorCode::kConflict, "cannot listen at " + path +
                                          ": it exists and is not a socket; remove it or "
                                          "choose another path");
  }
  UniqueFd probe(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return fail(errno_error(ErrorCode::kIo, "cannot create a socket", errno));
  const int result =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  // Only a refused connection says that no process holds the socket.
  if (result == 0 || errno != ECONNREFUSED) {
    return fail(ErrorCode::kConflict, "cannot listen at " + path +
                                          ": another server is listening there; stop it or "
                                          "choose another path");
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail(errno_error(ErrorCode::kIo, "cannot remove the dead socket " + path, errno));
  }
  return {};
}

}  // namespace

Result<UniqueFd> ShmListener::bind_and_listen() {
  const std::string& path = address_.path;
  const auto address = socket_address(path);
  if (!address) return fail(address.error());
  // Servers that start in one directory do so one at a time: else two of them could find the same
  // dead socket, and the second delete the first one's new one.
  const std::string directory = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  const UniqueFd lock(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) {
    return fail(errno_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                            "cannot listen at " + path + ": directory " + directory, errno));
  }
  // Not for ever: in a directory that others can open, any of them may hold the lock.
  for (int i = 0; i < kLockTries && flock(lock.get(), LOCK_EX | LOCK_NB) != 0; ++i) usleep(10'000);
  if (auto status = clear_path(path, *address); !status) return fail(std::move(status.error()));
  UniqueFd listening(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listening) return fail(errno_error(ErrorCode::kIo, "cannot create a socket", errno));
  const auto* raw = reinterpret_cast<const sockaddr*>(&*address);
  if (bind(listening.get(), raw, sizeof(*address)) != 0) {
    return fail(errno_error(errno == EACCES ? ErrorCode::kPermission : ErrorCode::kIo,
                            "cannot bind a socket to " + path, errno));
  }
  lstat(path.c_str(), &bound_);
  // No client can connect before listen(), so the mode is in force in time.
  const mode_t mode = allow_other_users_ ? 0666 : 0600;
  if (chmod(path.c_str(), mode) != 0 || listen(listening.get(), kBacklog) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot listen at " + path, errno));
  }
  return listening;
}

ShmListener::~ShmListener() {
  struct stat now {};
  if (bound_.st_ino != 0 && lstat(address_.path.c_str(), &now) == 0 &&
      now.st_ino == bound_.st_ino && now.st_dev == bound_.st_dev) {
    unlink(address_.path.c_str());
  }
}

bool ShmListener::hear(IncomingConnection& incoming) {
  const auto received = receive_packet(incoming.fd(), writable_bytes_of(incoming.setup));
  if (!received && (errno == EAGAIN || errno == EINTR)) return false;
  if (!received || received->bytes == 0) return true;
  Status status = received->bytes == sizeof(incoming.setup)
                      ? check(incoming.setup, kShmMagic)
                      : fail(ErrorCode::kProtocol, "a hello of the wrong length");
  if (!status) state_->refusals().add(RefusalReason::kHello);
  if (status) status = welcome(incoming);
  if (!status) {
    log::debug(address_.to_string() + ": refused a client: " + status.error().message);
    refuse(incoming, status.error());
  }
  return true;
}

void ShmListener::refuse(IncomingConnection& incoming, const Error& error) {
  const ServerSetup refusal = make_refusal(kShmMagic, error);
  send_packet(incoming.fd(), bytes_of(refusal), -1);
}

Status ShmListener::welcome(IncomingConnection& incoming) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(incoming.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot tell who is connecting", errno));
  }
  if (!allow_other_users_ && peer.uid != geteuid()) {
    state_->refusals().add(RefusalReason::kPermission);
    return fail(not_for_user("user " + std::to_string(peer.uid)));
  }
  const Caller caller{.user = peer.uid, .name = incoming.peer()};
  auto hello = ask(handler_, incoming.setup, caller);
  if (!hello) {
    state_->refusals().add(reason_of_handler(hello.error().code));
    return fail(std::move(hello.error()));
  }
  auto ring_bytes = state_->take_ring(incoming.peer());
  if (!ring_bytes) return fail(std::move(ring_bytes.error()));
  const auto give_back = [&](Error error) {
    state_->give_back_ring(*ring_bytes, incoming.peer());
    return fail(std::move(error));
  };
  auto memory = create_ring_memory(memory_bytes(*ring_bytes));
  if (!memory) return give_back(std::move(memory.error()));
  auto mapping = Mapping::create(memory->get(), memory_bytes(*ring_bytes), true);
  if (!mapping) return give_back(std::move(mapping.error()));
  const ConnectionLimits limits{max_message_bytes(*ring_bytes), kMaxReadsInFlight, kMaxReadBytes};
  const ServerSetup answer = make_welcome(kShmMagic, *ring_bytes, limits, *hello);
  if (!send_packet(incoming.fd(), bytes_of(answer), memory->get())) {
    return give_back(errno_error(ErrorCode::kConnectionLost, "cannot answer a client", errno));
  }
  const auto said = hello_of(incoming.setup);
  UniqueFd control = incoming.take(dealer_.loop());
  const std::uint64_t ticket = custody() != nullptr ? custody()->hold(control.get()) : 0;
  dealer_.deal_out({Role::kServer, std::move(control), std::move(*mapping), *ring_bytes, limits,
                    std::vector<std::byte>(said.begin(), said.end()),
                    "shm client pid " + std::to_string(peer.pid), state_, incoming.peer(), peer.uid,
                    handler_.may_read_regions(caller), ticket});
  return {};
}

}  // namespace silurus::transport::shm
