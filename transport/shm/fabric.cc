// SPDX-License-Identifier: Apache-2.0

#include "transport/shm/fabric.h"

#include <poll.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "transport/setup.h"
#include "transport/shm/connection.h"
#include "transport/shm/control.h"
#include "transport/shm/listener.h"
#include "transport/shm/poller.h"

namespace silurus::transport::shm {
namespace {

/// Between two attempts to connect: the first pause, each next one twice as long.
constexpr Nanoseconds kFirstPause = kMillisecond;
/// Time in which a refused connection may be that of a server which is starting.
constexpr Nanoseconds kMostRefused = 20 * kMillisecond;

std::string seconds(Nanoseconds time) {
  return std::to_string(static_cast<double>(time) / 1e9).substr(0, 5) + " s";
}

Error connect_error(const std::string& name, int errno_value, Nanoseconds timeout) {
  switch (errno_value) {
    case ENOENT:
      return {ErrorCode::kNotFound, "no server at " + name + ": no such socket; is it running?"};
    case ECONNREFUSED:
      return {ErrorCode::kUnavailable,
              "no server at " + name + ": no process listens on that path; start it again"};
    case EPROTOTYPE:
      return {ErrorCode::kProtocol, name + " is not a Silurus server (a socket of another kind)"};
    case EAGAIN:
      return {ErrorCode::kDeadlineExceeded,
              name + " did not take the connection in " + seconds(timeout) + "; it may be stuck"};
    case EACCES:
    case EPERM:
      return errno_error(ErrorCode::kPermission, "cannot connect to " + name, errno_value);
    default:
      return errno_error(ErrorCode::kIo, "cannot connect to " + name, errno_value);
  }
}

/// One attempt, which waits for a place in the server's queue until the deadline: 0, or an errno.
int try_to_connect(int socket, const sockaddr_un& address, Nanoseconds deadline) {
  const Nanoseconds left =
      std::max<Nanoseconds>(deadline - SystemClock().now(), kMicrosecond);  // 0: for ever
  const timeval time{left / kSecond, left % kSecond / kMicrosecond};
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
  const int result = connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  return result == 0 ? 0 : errno;
}

/// Whether an attempt that failed so may be repeated: a signal came, the queue of a busy server was
/// full, or (for a moment) a server that starts is about to listen.
bool is_worth_another(int errno_value, Nanoseconds waited) {
  return errno_value == EINTR || errno_value == EAGAIN ||
         (errno_value == ECONNREFUSED && waited < kMostRefused);
}

Result<UniqueFd> connect_socket(const std::string& name, const sockaddr_un& address,
                                Nanoseconds timeout, Nanoseconds deadline) {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno_error(ErrorCode::kIo, "cannot create a socket", errno));
  const SystemClock clock;
  Nanoseconds pause = kFirstPause;
  for (;;) {
    const int error = try_to_connect(fd.get(), address, deadline);
    if (error == 0) return fd;
    const Nanoseconds now = clock.now();
    if (now >= deadline || !is_worth_another(error, now - (deadline - timeout))) {
      return fail(connect_error(name, error, timeout));
    }
    const Nanoseconds rest = std::min(std::exchange(pause, 2 * pause), deadline - now);
    const timespec time{rest / kSecond, rest % kSecond};
    nanosleep(&time, nullptr);
  }
}

class ShmFabric final : public Fabric {
 public:
  std::string_view scheme() const override { return "shm"; }
  Capabilities capabilities() const override {
    return static_cast<Capabilities>(Capability::kOneSidedRead) |
           static_cast<Capabilities>(Capability::kOneSidedWrite);
  }
  Result<std::unique_ptr<Poller>> create_poller() override {
    auto poller = ShmPoller::create();
    if (!poller) return fail(std::move(poller.error()));
    return std::unique_ptr<Poller>(std::move(*poller));
  }

  Result<std::unique_ptr<Listener>> listen(const Address& address, const ListenOptions& options,
                                           std::span<Poller* const> pollers,
                                           AcceptHandler& handler) override {
    std::vector<ShmPoller*> own;
    for (Poller* poller : pollers) own.push_back(dynamic_cast<ShmPoller*>(poller));
    if (own.empty() || std::find(own.begin(), own.end(), nullptr) != own.end()) {
      return fail(ErrorCode::kInvalidArgument, "listening on shm needs pollers of that fabric");
    }
    auto listener = ShmListener::create(address, options, std::move(own), handler);
    if (!listener) return fail(std::move(listener.error()));
    return std::unique_ptr<Listener>(std::move(*listener));
  }

  Result<std::unique_ptr<Connection>> connect(const Address& address, const ConnectOptions& options,
                                              Poller& poller, std::span<const std::byte> hello,
                                              ConnectionHandler& handler) override;
};

/// The user of that name or number; nothing: there is none.
std::optional<uid_t> find_user(const std::string& name) {
  uid_t number = 0;
  const char* const end = name.data() + name.size();
  if (const auto parsed = std::from_chars(name.data(), end, number);
      parsed.ec == std::errc{} && parsed.ptr == end) {
    return number;
  }
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> texts(std::size_t{16} << 10);
  if (getpwnam_r(name.c_str(), &entry, texts.data(), texts.size(), &found) != 0 ||
      found == nullptr) {
    return {};
  }
  return entry.pw_uid;
}

/// Whether the process that listens may be taken for the server (as libpq's requirepeer): it is
/// ours, root's, or of the user that the address names. Others could have taken the socket's place.
Status check_owner(const ucred& server, const Address& address) {
  if (server.uid == geteuid() || server.uid == 0) return {};
  const std::string who = address.to_string() + " is user " + std::to_string(server.uid) + "'s";
  if (address.peer.empty()) {
    return fail(ErrorCode::kPermission,
                who + ", not yours: if that is the server that you mean, say " +
                    address.to_string() + "?peer=" + std::to_string(server.uid));
  }
  const auto expected = find_user(address.peer);
  if (!expected) {
    return fail(ErrorCode::kInvalidArgument,
                address.to_string() + ": there is no user '" + address.peer + "' here");
  }
  if (server.uid == *expected) return {};
  return fail(ErrorCode::kPermission, who + ", not that of '" + address.peer + "'");
}

/// Waits for the server's answer, for what the deadline leaves of the timeout.
Result<Received> await_answer(int socket, const std::string& name, Nanoseconds timeout,
                              Nanoseconds deadline, ServerSetup& setup) {
  const SystemClock clock;
  for (;;) {
    pollfd fd{socket, POLLIN, 0};
    const Nanoseconds left = std::max<Nanoseconds>(deadline - clock.now(), 0);
    const timespec time{left / kSecond, left % kSecond};
    const int ready = ppoll(&fd, 1, &time, nullptr);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      return fail(ErrorCode::kDeadlineExceeded,
                  name + " did not answer in " + seconds(timeout) + "; it may be stuck or busy");
    }
    auto received = receive_packet(socket, writable_bytes_of(setup));
    if (!received && (errno == EAGAIN || errno == EINTR)) continue;
    if (!received || received->bytes == 0) {
      return fail(ErrorCode::kConnectionLost, name + " closed the connection without an answer");
    }
    return std::move(*received);
  }
}

Result<std::unique_ptr<Connection>> ShmFabric::connect(const Address& address,
                                                       const ConnectOptions& options,
                                                       Poller& poller,
                                                       std::span<const std::byte> hello,
                                                       ConnectionHandler& handler) {
  auto* const own = dynamic_cast<ShmPoller*>(&poller);
  if (own == nullptr) {
    return fail(ErrorCode::kInvalidArgument, "connecting over shm needs a poller of that fabric");
  }
  const std::string name = address.to_string();
  const auto where = socket_address(address.path);
  if (!where) return fail(where.error());
  const auto setup = make_client_setup(kShmMagic, hello);
  if (!setup) return fail(setup.error());
  const Nanoseconds deadline = SystemClock().now() + options.timeout;
  auto socket = connect_socket(name, *where, options.timeout, deadline);
  if (!socket) return fail(std::move(socket.error()));
  ucred server{};
  socklen_t length = sizeof(server);
  if (getsockopt(socket->get(), SOL_SOCKET, SO_PEERCRED, &server, &length) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot tell whose server " + name + " is", errno));
  }
  if (Status ours = check_owner(server, address); !ours) return fail(ours.error());
  // Should this fail, then the server has hung up, and may have said why.
  send_packet(socket->get(), bytes_of(*setup), -1);
  ServerSetup answer{};
  auto received = await_answer(socket->get(), name, options.timeout, deadline, answer);
  if (!received) return fail(std::move(received.error()));
  if (received->bytes != sizeof(answer)) {
    return fail(ErrorCode::kProtocol, name + " is not a Silurus server (it answered otherwise)");
  }
  if (auto status = check(answer, kShmMagic, name); !status) return fail(status.error());
  const std::size_t bytes = memory_bytes(answer.ring_bytes);
  if (auto size = check_sealed(received->fd.get(), bytes, false); !size) {
    return fail(ErrorCode::kProtocol, name + " sent message rings: " + size.error().message);
  }
  auto mapping = Mapping::create(received->fd.get(), bytes, true);
  if (!mapping) return fail(std::move(mapping.error()));
  const auto said = hello_of(answer);
  auto connection = ShmConnection::create(
      *own, {Role::kClient, std::move(*socket), std::move(*mapping), answer.ring_bytes,
             limits_of(answer), std::vector<std::byte>(said.begin(), said.end()),
             name + " pid " + std::to_string(server.pid), nullptr});
  if (!connection) return fail(std::move(connection.error()));
  (*connection)->set_handler(&handler);
  return std::unique_ptr<Connection>(std::move(*connection));
}

}  // namespace

Result<std::unique_ptr<Fabric>> make_fabric() { return std::make_unique<ShmFabric>(); }

}  // namespace silurus::transport::shm
