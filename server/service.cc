// SPDX-License-Identifier: Apache-2.0

#include "server/service.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace silurus::server {
namespace {

/// How much longer a start may take from each step that it reports.
constexpr const char* kMoreTime = "EXTEND_TIMEOUT_USEC=60000000\n";

/// A variable's value, which is removed; empty if there is none.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  unsetenv(name);
  return text;
}

std::optional<std::int64_t> number_of(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value <= 0) return std::nullopt;
  return value;
}

/// A status is one line.
std::string status_line(std::string_view text) {
  std::string line = "STATUS=" + std::string(text);
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  return line + "\n";
}

}  // namespace

ServiceManager ServiceManager::from_environment() {
  ServiceManager manager;
  const std::string address = take_variable("NOTIFY_SOCKET");
  const auto interval = number_of(take_variable("WATCHDOG_USEC"));
  const std::string watched = take_variable("WATCHDOG_PID");
  if (address.empty() || (address.front() != '/' && address.front() != '@')) return manager;
  manager.socket_ = transport::UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  manager.address_ = address;
  manager.is_there_ = static_cast<bool>(manager.socket_);
  if (interval && (watched.empty() || number_of(watched) == getpid())) {
    manager.watchdog_ = *interval * kMicrosecond;
  }
  return manager;
}

ServiceManager ServiceManager::through(std::function<void(std::string_view)> say, bool is_there,
                                       std::optional<Nanoseconds> watchdog) {
  ServiceManager manager;
  manager.say_ = std::move(say);
  manager.is_there_ = is_there;
  manager.watchdog_ = watchdog;
  return manager;
}

void ServiceManager::status(std::string_view text) const { send(status_line(text)); }
void ServiceManager::advances(std::string_view text) const { send(status_line(text) + kMoreTime); }
void ServiceManager::ready(std::string_view text) const { send("READY=1\n" + status_line(text)); }
void ServiceManager::stopping(std::string_view text) const {
  send("STOPPING=1\n" + status_line(text));
}
void ServiceManager::alive() const { send("WATCHDOG=1\n"); }

void ServiceManager::send(const std::string& lines) const {
  if (say_) return say_(lines);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (!socket_ || address_.empty() || address_.size() >= sizeof to.sun_path) return;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  if (address_.front() == '@') to.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size() +
                                           (address_.front() == '@' ? 0 : 1));
  // A manager that is gone is no reason to stop serving.
  (void)sendto(socket_.get(), lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
               reinterpret_cast<const sockaddr*>(&to), size);
}

}  // namespace silurus::server
