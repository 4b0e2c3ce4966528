// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "bench/recorded.h"
#include "common/result.h"

namespace silurus::bench {

enum class PictureFormat { kSvg, kPng };
enum class PictureKind {
  kUsual,    ///< throughput against clients, or ratios
  kLatency,  ///< latency against clients (`plan`), or distributions of latencies
};

/// What gnuplot (5.4 or later) shall do to draw a run into the file `output`: throughput against
/// the number of clients, a line for each way, where rows are named .../WAY/clients=N (`modes`,
/// `plan`); else bars of all ratios, grouped and hatched; or latencies. Legible in
/// black and white; the command, the commit and the machine are below. Names of rows come from
/// outside: none is taken for a command. kInvalidArgument if no row can be drawn so, kTooLarge if
/// more would have to be told apart than there are marks.
Result<std::string> gnuplot_script(const Recorded& recorded, PictureFormat format,
                                   const std::string& output,
                                   PictureKind kind = PictureKind::kUsual);

/// Has gnuplot draw a run into that file, whole or not at all. kUnsupported if gnuplot is not
/// installed, kIo if it fails: the error says what it said.
Status draw(const Recorded& recorded, PictureFormat format, const std::string& output,
            PictureKind kind = PictureKind::kUsual);

/// The subcommand `silurus-bench plot`.
int plot_command(int argc, char** argv, const std::string& command_line);

}  // namespace silurus::bench
