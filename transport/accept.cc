#include "transport/accept.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

#include "common/log.h"

namespace silurus::transport {

Accepting::Accepting() : spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

UniqueFd Accepting::accept(int listening) {
  UniqueFd client(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (client || (errno != EMFILE && errno != ENFILE)) return client;
  log::debug("no file descriptor left for a new connection (raise the limit: ulimit -n)");
  spare_.reset();
  UniqueFd(accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
  spare_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return {};
}

}  // namespace silurus::transport
