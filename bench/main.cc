// SPDX-License-Identifier: Apache-2.0

// silurus-bench: measures Silurus, always next to what it is compared with in the same run.

#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/clients.h"
#include "bench/durable.h"
#include "bench/fairness.h"
#include "bench/load.h"
#include "bench/modes.h"
#include "bench/outlive.h"
#include "bench/peers_command.h"
#include "bench/plan.h"
#include "bench/plot.h"
#include "bench/replicated/replicated.h"
#include "bench/report.h"
#include "bench/tree.h"

namespace silurus::bench {
namespace {

/// A subcommand: reads its own options (argv[0] is its name), returns the exit status.
struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(int argc, char** argv, const std::string& command_line);
};

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {"tree", "the tree against Boost.Geometry's rstar<16>, in one process", tree_command},
      {"modes", "tcp, messaging, offloading and adaptive access to a server", modes_command},
      {"clients", "many idle clients, a few busy ones, and what happens when some die",
       clients_command},
      {"fairness", "what the worst that clients can do costs another one", fairness_command},
      {"outlive", "what a client notices when its server dies, hangs, is replaced or is busy",
       outlive_command},
      {"peers", "PostGIS, Redis, SQLite, libspatialindex, GEOS and Boost, asked the same",
       peers_command},
      {"load", "what a server's way of waiting costs at less than full load", load_command},
      {"durable", "what it costs that nothing acknowledged is lost", durable_command},
      {"replicated", "durable inserts into three replicas, against etcd and one server",
       replicated_command},
      {"calibrate", "what Silurus' work costs a core of this machine, for plan", calibrate_command},
      {"plan", "what a cluster will do: what ships, over modelled cards, in virtual time",
       plan_command},
      {"plot", "draws what one of the others wrote with --json FILE", plot_command},
  };
  return all;
}

int usage(std::FILE* to, int status) {
  std::fprintf(to, "usage: silurus-bench COMMAND [OPTIONS]\n\ncommands:\n");
  for (const Command& command : commands()) {
    std::fprintf(to, "  %-10s %s\n", std::string(command.name).c_str(),
                 std::string(command.summary).c_str());
  }
  std::fprintf(to, "\nsilurus-bench COMMAND --help lists the options of one.\n");
  return status;
}

int run(int argc, char** argv) {
  const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
  if (argc < 2) return usage(stderr, 2);
  const std::string_view name = arguments[1];
  if (name == "--help" || name == "-h" || name == "help") return usage(stdout, 0);
  if (name == "--version" || name == "-V") {
    std::printf("silurus-bench %s\n", kVersion);
    return 0;
  }
  std::string line;
  for (const char* argument : arguments) line += (line.empty() ? "" : " ") + std::string(argument);
  for (const Command& command : commands()) {
    if (command.name == name) return command.run(argc - 1, argv + 1, line);
  }
  std::fprintf(stderr, "silurus-bench: unknown command '%s'\n", argv[1]);
  return usage(stderr, 2);
}

}  // namespace
}  // namespace silurus::bench

int main(int argc, char** argv) { return silurus::bench::run(argc, argv); }
