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

}  // namespace

int main(int argc, char** argv) {
  // A reader that goes away is an error of writing, not a sudden death.
  std::signal(SIGPIPE, SIG_IGN);
  const auto invocation = silurus::tool::parse_arguments({argv + 1, argv + argc});
  if (!invocation) return complain(invocation.error(), kUsage);
  const auto output = silurus::tool::run(*invocation);
  if (!output) {
    return complain(output.error(),
                    silurus::tool::is_usage_error(output.error()) ? kUsage : kFailure);
  }
  if (std::fwrite(output->data(), 1, output->size(), stdout) != output->size() ||
      std::fflush(stdout) != 0) {
    return complain(silurus::errno_error(silurus::ErrorCode::kIo, "cannot write the answer", errno),
                    kFailure);
  }
  return 0;
}
