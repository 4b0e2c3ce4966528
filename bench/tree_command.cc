#include <cstdio>
#include <cxxopts.hpp>
#include <string>

#include "bench/tree.h"

namespace silurus::bench {

int tree_command(int argc, char** argv, const std::string& command_line) {
  cxxopts::Options options("silurus-bench tree",
                           "Compares the tree with Boost.Geometry's rstar<16> in one process");
  options.add_options()("entries", "entries loaded",
                        cxxopts::value<std::uint64_t>()->default_value("2000000"))(
      "runs", "runs of each measurement", cxxopts::value<std::uint32_t>()->default_value("7"))(
      "seed", "of data and queries", cxxopts::value<std::uint64_t>()->default_value("1"))(
      "data", "uniform, roads or all", cxxopts::value<std::string>()->default_value("all"))(
      "no-fill", "leave out filling trees entry by entry")(
      "json", "write the rows to FILE", cxxopts::value<std::string>(), "FILE")("h,help", "this");
  try {
    const auto given = options.parse(argc, argv);
    if (given.count("help") != 0) {
      std::printf("%s", options.help().c_str());
      return 0;
    }
    const auto data = given["data"].as<std::string>();
    const auto runs = given["runs"].as<std::uint32_t>();
    if ((data != "uniform" && data != "roads" && data != "all") || runs == 0 || runs > 1000 ||
        given["entries"].as<std::uint64_t>() == 0 || !given.unmatched().empty()) {
      std::fprintf(stderr,
                   "silurus-bench tree: --data is uniform, roads or all; --runs is 1 to "
                   "1000; --entries at least 1; there are no other arguments\n");
      return 2;
    }
    const TreeBenchOptions chosen{.entries = given["entries"].as<std::uint64_t>(),
                                  .seed = given["seed"].as<std::uint64_t>(),
                                  .runs = runs,
                                  .uniform = data != "roads",
                                  .roads = data != "uniform",
                                  .fill_by_inserts = given.count("no-fill") == 0};
    Report report(command_line);
    Status done = run_tree(chosen, report);
    report.print_summary();
    if (done && given.count("json") != 0) done = report.write_json(given["json"].as<std::string>());
    if (!done) {
      std::fprintf(stderr, "silurus-bench tree: %s\n", done.error().message.c_str());
      return 1;
    }
    return 0;
  } catch (const cxxopts::exceptions::exception& error) {
    std::fprintf(stderr, "silurus-bench tree: %s\n", error.what());
    return 2;
  }
}

}  // namespace silurus::bench
