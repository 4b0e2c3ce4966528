// SPDX-License-Identifier: Apache-2.0

#include "server/keeper/keeper_link.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "common/log.h"
#include "server/keeper/channel.h"
#include "server/keeper/life_page.h"

namespace silurus::server::keeper {
namespace {

/// For room in the socket: the keeper does nothing that takes long.
constexpr Nanoseconds kSendPatience = 20 * kMillisecond;
constexpr Nanoseconds kNotifyPatience = kSecond;
/// For an answer, at the start.
constexpr Nanoseconds kAnswerPatience = 10 * kSecond;

const KeeperLink* the_link = nullptr;

}  // namespace

std::string Birth::encode() const {
  std::ostringstream text;
  text << socket << ' ' << keeper << ' ' << life << ' ' << lock << ' ' << (has_manager ? 1 : 0)
       << ' ' << watchdog;
  return text.str();
}

std::optional<Birth> Birth::decode(std::string_view text) {
  std::istringstream words{std::string(text)};
  Birth birth;
  words >> birth.socket >> birth.keeper >> birth.life >> birth.lock >> birth.has_manager >>
      birth.watchdog;
  if (!words || birth.socket < 0 || birth.keeper <= 0) return std::nullopt;
  return birth;
}

Result<std::unique_ptr<KeeperLink>> KeeperLink::from_environment() {
  const char* const text = std::getenv(Birth::kVariable);
  if (text == nullptr) return std::unique_ptr<KeeperLink>();
  const std::string variable = std::string(Birth::kVariable) + "='" + text + "'";
  const auto birth = Birth::decode(text);
  unsetenv(Birth::kVariable);
  if (!birth) {
    return fail(ErrorCode::kInvalidArgument,
                variable +
                    " in the environment was not set by a keeper of this release; remove it, "
                    "or start the keeper anew");
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != birth->keeper) {
    return fail(ErrorCode::kUnavailable, "the keeper that " + variable +
                                             " in the environment names has ended, or is not the "
                                             "parent of this process");
  }
  fcntl(birth->socket, F_SETFD, FD_CLOEXEC);
  if (birth->lock >= 0) fcntl(birth->lock, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<KeeperLink>(new KeeperLink(*birth));
}

const KeeperLink* KeeperLink::of_this_process() { return the_link; }

KeeperLink::KeeperLink(const Birth& birth)
    : birth_(birth), socket_(birth.socket), lock_(birth.lock) {
  the_link = this;
}

KeeperLink::~KeeperLink() { the_link = nullptr; }

std::uint64_t KeeperLink::hold(int fd) {
  if (!holds_) return 0;
  const std::lock_guard lock(mutex_);
  send_releases();
  const std::uint64_t ticket = last_ticket_ + 1;
  const bool was_stuck = is_stuck_;
  is_stuck_ = !send(socket_.get(), Kind::kHold, ticket, {}, fd, is_stuck_ ? 0 : kSendPatience);
  if (is_stuck_) {
    if (!was_stuck) log::warning("the keeper takes nothing: new connections end with the server");
    return 0;
  }
  ++held_;
  return last_ticket_ = ticket;
}

void KeeperLink::release(std::uint64_t ticket) {
  if (ticket == 0) return;
  const std::lock_guard lock(mutex_);
  --held_;
  unsent_releases_.push_back(ticket);
  send_releases();
}

void KeeperLink::send_releases() {
  while (!unsent_releases_.empty() &&
         send(socket_.get(), Kind::kRelease, unsent_releases_.back(), {}, -1, 0)) {
    unsent_releases_.pop_back();
  }
}

Status KeeperLink::hold_root(int fd) {
  if (!holds_) return {};
  return ask(static_cast<int>(Kind::kRoot), LifePage::kWord, fd,
             "take charge of the tree's memory");
}

Status KeeperLink::hold_lock(int fd) {
  if (!holds_) return {};
  return ask(static_cast<int>(Kind::kLock), 0, fd, "hold the lock of the data directory");
}

int KeeperLink::inherited_lock(int fd) const {
  struct stat theirs {};
  struct stat ours {};
  if (!lock_ || fstat(lock_.get(), &theirs) != 0 || fstat(fd, &ours) != 0) return -1;
  return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino ? lock_.get() : -1;
}

Status KeeperLink::take_over() {
  return ask(static_cast<int>(Kind::kServe), 0, -1, "end the life before");
}

/// Sends a packet that is answered, and waits for the answer.
Status KeeperLink::ask(int kind, std::uint64_t ticket, int fd, const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!send(socket_.get(), static_cast<Kind>(kind), ticket, {}, fd, kAnswerPatience)) {
    return fail(ErrorCode::kUnavailable, "the keeper could not be told to " + what);
  }
  const auto answer = receive(socket_.get(), kAnswerPatience);
  if (!answer)
    return fail(ErrorCode::kUnavailable, "the keeper does not say that it could " + what);
  if (answer->packet.kind == static_cast<std::uint32_t>(Kind::kDone)) return {};
  return fail(ErrorCode::kUnavailable,
              "the keeper could not " + what + ": " + std::string(answer->packet.said()));
}

void KeeperLink::notify(std::string_view lines) {
  const auto try_to_send = [&] {
    const std::lock_guard lock(mutex_);
    return send(socket_.get(), Kind::kNotify, 0, lines, -1, 0);
  };
  if (try_to_send() || lines == kSignOfLife) return;
  // Without the mutex: workers that end connections need it.
  wait_for_room(socket_.get(), kNotifyPatience);
  if (!try_to_send()) log::warning("the keeper takes nothing: it is not told a change of state");
}

std::uint64_t KeeperLink::held() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

}  // namespace silurus::server::keeper
