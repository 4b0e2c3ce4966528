// SPDX-License-Identifier: Apache-2.0

#include <string>

#include "bench/command_line.h"
#include "bench/tree.h"

namespace silurus::bench {

int tree_command(int argc, char** argv, const std::string& command_line) {
  TreeBenchOptions chosen;
  std::string data = "all";
  bool no_fill = false;
  CommandLine line("silurus-bench tree",
                   "Compares the tree with Boost.Geometry's rstar<16> in one process");
  line.option("entries", "entries loaded", chosen.entries);
  line.option("runs", "of each measurement", chosen.runs);
  line.option("seed", "of data and queries", chosen.seed);
  line.option("data", "uniform, roads or all", data);
  line.option("no-fill", "leave out filling trees entry by entry", no_fill);
  return line.measure(
      argc, argv, command_line,
      {.sensible =
           [&] {
             return (data == "uniform" || data == "roads" || data == "all") && chosen.runs > 0 &&
                    chosen.runs <= 1000 && chosen.entries > 0;
           },
       .rule = "--data is uniform, roads or all; --runs is 1 to 1000; --entries at least 1",
       .run =
           [&](Report& report) {
             chosen.uniform = data != "roads";
             chosen.roads = data != "uniform";
             chosen.fill_by_inserts = !no_fill;
             return run_tree(chosen, report);
           }});
}

}  // namespace silurus::bench
