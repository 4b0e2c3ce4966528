#include "server/gate.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <utility>

namespace silurus::server {
namespace {

constexpr std::string_view kRetiredWord = "retired";

/// Makes a change of the directory itself durable.
Status sync_folder_of(const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/'));
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) return fail(errno_error(ErrorCode::kIo, "cannot flush " + folder, error));
  return {};
}

/// The whole file, durably, or none.
Status write_file(const std::string& path, const std::string& text) {
  const std::string draft = path + ".new";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 &&
                       ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!written || std::rename(draft.c_str(), path.c_str()) != 0) {
    return fail(errno_error(ErrorCode::kIo, "cannot write " + path, written ? errno : error));
  }
  return sync_folder_of(path);
}

}  // namespace

std::string_view to_string(Gate::State state) {
  switch (state) {
    case Gate::State::kServing:
      return "serving";
    case Gate::State::kFilling:
      return "filling";
    case Gate::State::kFrozen:
      return "frozen";
    case Gate::State::kRetired:
      return "retired";
  }
  return "unknown";
}

Error retired_error() {
  return {ErrorCode::kMoved,
          "this server is retired: what it held has moved to others (silurus cluster status)"};
}

Status Gate::recover() {
  if (path_.empty()) return {};
  std::ifstream file(path_);
  if (!file.is_open()) return {};
  std::string word;
  std::uint64_t ticket = 0;
  if (!(file >> word >> ticket) || word != kRetiredWord) {
    return fail(ErrorCode::kProtocol, path_ +
                                          " does not say that this server is retired, as it "
                                          "should if it is there");
  }
  ticket_.store(ticket, std::memory_order_relaxed);
  become(State::kRetired);
  return {};
}

Status Gate::accept(std::uint64_t ticket) {
  if (ticket == 0 || ticket < ticket_.load(std::memory_order_relaxed)) {
    return fail(ErrorCode::kConflict, "ticket " + std::to_string(ticket) +
                                          " comes too late: ticket " +
                                          std::to_string(ticket_.load(std::memory_order_relaxed)) +
                                          " has taken over here");
  }
  return {};
}

Status Gate::fill(std::uint64_t ticket) {
  if (auto ok = accept(ticket); !ok) return ok;
  if (state() == State::kFrozen || state() == State::kRetired) {
    return fail(ErrorCode::kConflict, "this server is " + std::string(to_string(state())) +
                                          ": only an empty one is filled");
  }
  ticket_.store(ticket, std::memory_order_relaxed);
  become(State::kFilling);
  return {};
}

Status Gate::freeze(std::uint64_t ticket, Nanoseconds now, Nanoseconds until) {
  if (auto ok = accept(ticket); !ok) return ok;
  if (state() == State::kFilling || state() == State::kRetired) {
    return fail(ErrorCode::kConflict,
                "this server is " + std::string(to_string(state())) + ": it cannot be frozen");
  }
  // A freeze that had lapsed begins anew.
  if (state() == State::kFrozen && now >= frozen_until_) become(State::kServing);
  ticket_.store(ticket, std::memory_order_relaxed);
  frozen_until_ = until;
  become(State::kFrozen);
  return {};
}

Status Gate::retire(std::uint64_t ticket, Nanoseconds now) {
  if (auto ok = accept(ticket); !ok) return ok;
  if (state() == State::kRetired && ticket == ticket_.load(std::memory_order_relaxed)) return {};
  if (state() != State::kFrozen || ticket != ticket_.load(std::memory_order_relaxed) ||
      now >= frozen_until_) {
    return fail(ErrorCode::kConflict, "this server is not frozen (any more): writes may have come");
  }
  if (!path_.empty()) {
    const std::string text = std::string(kRetiredWord) + " " + std::to_string(ticket) + "\n";
    if (auto ok = write_file(path_, text); !ok) return ok;
  }
  become(State::kRetired);
  return {};
}

Status Gate::serve(std::uint64_t ticket) {
  if (auto ok = accept(ticket); !ok) return ok;
  if (state() == State::kRetired && !path_.empty()) {
    if (::unlink(path_.c_str()) != 0 && errno != ENOENT) {
      return fail(errno_error(ErrorCode::kIo, "cannot remove " + path_, errno));
    }
    if (auto ok = sync_folder_of(path_); !ok) return ok;
  }
  ticket_.store(ticket, std::memory_order_relaxed);
  become(State::kServing);
  return {};
}

Status Gate::admit(std::uint64_t ticket, Nanoseconds now) const {
  switch (state()) {
    case State::kServing:
      if (ticket == 0) return {};
      return fail(ErrorCode::kConflict, "this connection does not fill this server any more");
    case State::kFilling:
      if (ticket != 0 && ticket == ticket_.load(std::memory_order_relaxed)) return {};
      if (ticket == 0) {
        return fail(ErrorCode::kMoved,
                    "this server is being filled: it takes writes when it is complete");
      }
      return fail(ErrorCode::kConflict, "another connection fills this server now");
    case State::kFrozen:
      if (ticket == 0 && now >= frozen_until_) return {};
      return fail(ErrorCode::kMoved,
                  "this server is about to hand over what it holds: write again a little later");
    case State::kRetired:
      break;
  }
  return fail(retired_error());
}

}  // namespace silurus::server
