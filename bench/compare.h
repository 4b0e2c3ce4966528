#pragma once

#include <cstdint>
#include <string>

#include "bench/report.h"
#include "common/result.h"

namespace silurus::bench {

struct CompareOptions {
  std::string server_url;  ///< of a running 2-D server with one-sided reads
  std::string tcp_url;     ///< of the same server, over TCP
  std::uint64_t queries = 20'000;
  double edge = 0.2;  ///< of windows, in the units of the data
  std::uint32_t k = 10;
  std::uint64_t seed = 1;
};

/// Asks the same queries in every way (four windows about places where there is something, to one
/// search for nearest neighbours), checks that all ways give the same answers, and prints one
/// table; adds rows compare/WAY. An answer that differs is an error.
Status run_compare(const CompareOptions& options, Report& report);

/// The subcommand `silurus-bench compare`.
int compare_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
