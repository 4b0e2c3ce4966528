// silurus: the command-line tool. Everything of substance is in commands.cc.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "client/tool/arguments.h"
#include "client/tool/commands.h"

namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

int complain(const silurus::Error& error, int status) {
  std::fprintf(stderr, "silurus: %s\n", error.message.c_str());
  return status;
}

/// Prints an answer; the exit status. If its reader has gone, as in `silurus range ... | head`,
/// this ends as other programs do: silently, by the signal that they die of.
int print(const std::string& answer) {
  const bool is_written = std::fwrite(answer.data(), 1, answer.size(), stdout) == answer.size() &&
                          std::fflush(stdout) == 0;
  if (is_written) return 0;
  if (errno == EPIPE) {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  return complain(silurus::errno_error(silurus::ErrorCode::kIo,
                                       "cannot write the answer to standard output", errno),
                  kFailure);
}

}  // namespace

int main(int argc, char** argv) {
  // While the command runs, a peer that goes away is an error to be told, not a sudden death.
  std::signal(SIGPIPE, SIG_IGN);
  const auto invocation = silurus::tool::parse_arguments({argv + 1, argv + argc});
  if (!invocation) return complain(invocation.error(), kUsage);
  const auto answer = silurus::tool::run(*invocation);
  if (!answer) {
    return complain(answer.error(),
                    silurus::tool::is_usage_error(answer.error()) ? kUsage : kFailure);
  }
  return print(*answer);
}
