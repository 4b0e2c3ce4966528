// SPDX-License-Identifier: Apache-2.0

#include "silurus/open.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <thread>
#include <utility>

#include "common/result.h"

extern char** environ;

namespace silurus {
namespace {

constexpr int kTurnsOfGrace = 3000;  // fiftieths of a second that a server may take to end
constexpr auto kLookAgain = std::chrono::milliseconds(2);
constexpr std::size_t kMaxLogText = 2000;  // bytes of a server's last words

/// Starts the server and waits for a line on standard input, or for its end, which is that of the
/// processes that hold the pipe's other end, however it comes; then ends the server and removes the
/// folder of its socket. As in python/silurus/_open.py.
constexpr const char* kKeeper = R"(
folder=$1; turns=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- >"$folder/log" 2>&1 &
server=$!
{
  read -r _ <&3
  [ -e "$folder/ended" ] || kill "$server" 2>/dev/null
  while [ "$turns" -gt 0 ] && [ ! -e "$folder/ended" ] && kill -0 "$server" 2>/dev/null; do
    sleep 0.02
    turns=$((turns - 1))
  done
  [ "$turns" -gt 0 ] || kill -9 "$server" 2>/dev/null
} &
exec 3<&-
wait "$server"
echo $? >"$folder/ended"
wait
rm -rf "$folder"
)";

namespace fs = std::filesystem;

bool is_program(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

Result<std::string> find_program(const std::string& given) {
  if (!given.empty()) return given;
  if (const char* named = ::secure_getenv("SILURUS_SERVER_PROGRAM")) return std::string(named);
  std::error_code error;
  std::vector<fs::path> folders = {fs::read_symlink("/proc/self/exe", error).parent_path(),
                                   SILURUS_BIN_DIR};
  const char* path = ::secure_getenv("PATH");
  const std::string all = path == nullptr ? "" : path;
  for (std::size_t begin = 0; begin < all.size();) {
    const std::size_t end = std::min(all.find(':', begin), all.size());
    folders.emplace_back(all.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const fs::path& folder : folders) {
    if (is_program(folder / "silurus-server")) return (folder / "silurus-server").string();
  }
  return fail(ErrorCode::kNotFound,
              "there is no silurus-server on the path: install the package silurus-server, or name "
              "the program in SILURUS_SERVER_PROGRAM");
}

}  // namespace

namespace own_server {

/// A server, the shell that keeps it, and their private folder.
class KeptServer {
 public:
  KeptServer(fs::path folder, pid_t keeper, int pipe)
      : folder_(std::move(folder)), keeper_(keeper), pipe_(pipe), owner_(::getpid()) {}
  KeptServer(const KeptServer&) = delete;
  KeptServer& operator=(const KeptServer&) = delete;
  ~KeptServer() {
    if (::getpid() != owner_) {  // this is a child after fork(): the server is the parent's
      ::close(pipe_);
      return;
    }
    // The end of the pipe alone is not seen while a child holds it as well.
    [[maybe_unused]] const ssize_t ignored = ::write(pipe_, "\n", 1);
    ::close(pipe_);
    while (::waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) {
    }
    std::error_code error;
    fs::remove_all(folder_, error);
  }

  std::string url() const { return "shm://" + (folder_ / "socket").string(); }

  Status wait_until_ready(Nanoseconds timeout) const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(timeout);
    std::error_code error;
    while (!fs::exists(folder_ / "ready", error)) {
      if (fs::exists(folder_ / "ended", error)) {
        return fail(ErrorCode::kUnavailable, "silurus-server did not start: " + log());
      }
      if (std::chrono::steady_clock::now() > until) {
        return fail(ErrorCode::kDeadlineExceeded, "silurus-server was not ready in time");
      }
      std::this_thread::sleep_for(kLookAgain);
    }
    return {};
  }

 private:
  std::string log() const {
    std::ifstream in(folder_ / "log");
    std::string text(std::istreambuf_iterator<char>(in), {});
    while (!text.empty() && text.back() == '\n') text.pop_back();
    if (text.size() > kMaxLogText) text.erase(0, text.size() - kMaxLogText);
    return text;
  }

  fs::path folder_;
  pid_t keeper_;
  int pipe_;
  pid_t owner_;
};

}  // namespace own_server

namespace {

using own_server::KeptServer;

std::vector<std::string> command_of(const std::string& program, const fs::path& folder,
                                    int dimensions, const OwnServerOptions& options) {
  std::vector<std::string> words = {"/bin/sh",
                                    "-c",
                                    kKeeper,
                                    "silurus-keeper",
                                    folder.string(),
                                    std::to_string(kTurnsOfGrace),
                                    program,
                                    "--listen",
                                    "shm://" + (folder / "socket").string(),
                                    "--ready-file",
                                    (folder / "ready").string(),
                                    "--log-level",
                                    "warning",
                                    "--dimensions",
                                    std::to_string(dimensions)};
  if (!options.path.empty()) {
    words.insert(words.end(), {"--data", fs::absolute(options.path).string()});
  }
  if (!options.memory.empty()) words.insert(words.end(), {"--memory", options.memory});
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  return words;
}

/// Starts the shell with `input` as its standard input, in a session of its own, so that an
/// interrupt from the terminal reaches this program alone. 0 or an errno.
int spawn_keeper(std::vector<std::string>& words, int input, pid_t& keeper) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  sigset_t none;
  ::sigemptyset(&none);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  const int error =
      ::posix_spawn(&keeper, words[0].c_str(), &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  return error;
}

Result<std::unique_ptr<KeptServer>> start(int dimensions, const OwnServerOptions& options) {
  const auto program = find_program(options.program);
  if (!program) return fail(program.error());
  if (!is_program(*program)) {
    return fail(ErrorCode::kNotFound, *program + " is no program: it should be silurus-server");
  }
  std::error_code error;
  const fs::path temporary = fs::temp_directory_path(error);
  std::string folder = ((error ? fs::path("/tmp") : temporary) / "silurus-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) {
    return fail(errno_error(ErrorCode::kIo, "cannot make a folder for a socket", errno));
  }
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    const int why = errno;
    fs::remove_all(folder, error);
    return fail(errno_error(ErrorCode::kIo, "cannot make a pipe for a server", why));
  }
  auto words = command_of(*program, folder, dimensions, options);
  pid_t keeper = -1;
  const int why = spawn_keeper(words, pipe[0], keeper);
  ::close(pipe[0]);
  if (why != 0) {
    ::close(pipe[1]);
    fs::remove_all(folder, error);
    return fail(errno_error(ErrorCode::kIo, "cannot start " + *program, why));
  }
  auto server = std::make_unique<KeptServer>(folder, keeper, pipe[1]);
  if (auto ok = server->wait_until_ready(options.timeout); !ok) return fail(ok.error());
  return server;
}

}  // namespace

template <int D>
struct OwnServer<D>::Impl {
  std::unique_ptr<own_server::KeptServer> server;  // ends after the client
  std::string url;
  std::optional<Client<D>> client;
};

template <int D>
OwnServer<D>::OwnServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
template <int D>
OwnServer<D>::OwnServer(OwnServer&&) noexcept = default;
template <int D>
OwnServer<D>& OwnServer<D>::operator=(OwnServer&&) noexcept = default;
template <int D>
OwnServer<D>::~OwnServer() = default;
template <int D>
Client<D>& OwnServer<D>::client() {
  return *impl_->client;
}
template <int D>
const std::string& OwnServer<D>::url() const {
  return impl_->url;
}

template <int D>
Result<OwnServer<D>> open(const OwnServerOptions& options) {
  auto server = start(D, options);
  if (!server) return fail(server.error());
  auto impl = std::make_unique<typename OwnServer<D>::Impl>();
  impl->server = std::move(*server);
  impl->url = impl->server->url();
  auto client = Client<D>::connect(impl->url, options.client);
  if (!client) return fail(client.error());
  impl->client.emplace(std::move(*client));
  return OwnServer<D>(std::move(impl));
}

template class OwnServer<2>;
template class OwnServer<3>;
template Result<OwnServer<2>> open<2>(const OwnServerOptions&);
template Result<OwnServer<3>> open<3>(const OwnServerOptions&);

}  // namespace silurus
