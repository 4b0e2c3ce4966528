// SPDX-License-Identifier: Apache-2.0

// silurus: the command-line tool. Everything of substance is in commands.cc.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "client/tool/arguments.h"
#include "client/tool/commands.h"
#include "client/tool/output.h"

namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

int complain(const silurus::Error& error, int status) {
  std::fprintf(stderr, "silurus: %s\n", error.message.c_str());
  return status;
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
  const auto printed = silurus::tool::write_out(answer->text, stdout);
  if (!printed) return complain(printed.error(), kFailure);
  for (const std::uint64_t id : answer->missing) {
    std::fprintf(stderr, "silurus: there is no entry of id %llu\n",
                 static_cast<unsigned long long>(id));
  }
  return answer->missing.empty() ? 0 : kFailure;
}
