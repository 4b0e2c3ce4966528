// SPDX-License-Identifier: Apache-2.0

// The batch calls of the C++ client, for the program compare beside it, which asks the same of the
// same server: prints the seconds that each call took, one a line, when it is told its name on
// standard input.
//
//   silurus-python-peer URL BOXES QUERIES K       BOXES, QUERIES: files of doubles, rows of a box
//   or
//                                                 of a window (min, max)

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "silurus/client.h"

namespace {

using silurus::Box;
using silurus::Client;
using Clock = std::chrono::steady_clock;

std::vector<Box<2>> read_boxes(const char* path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  std::vector<Box<2>> boxes(static_cast<std::size_t>(file.tellg()) / sizeof(Box<2>));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(boxes.data()),
            static_cast<std::streamsize>(boxes.size() * sizeof(Box<2>)));
  return boxes;
}

/// Seconds that a call takes. What it returned is destroyed after that, as Python does with what it
/// no longer names.
template <typename Call>
double timed(Call&& call) {
  const auto begin = Clock::now();
  const auto answer = call();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (!answer) {
    std::fprintf(stderr, "%s\n", answer.error().message.c_str());
    std::exit(1);
  }
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s URL BOXES QUERIES K\n", argv[0]);
    return 2;
  }
  auto client = Client<2>::connect(argv[1]).value();
  std::vector<silurus::Entry<2>> entries;
  for (const Box<2>& box : read_boxes(argv[2])) entries.push_back({entries.size(), box});
  std::vector<silurus::RangeQuery<2>> ranges;
  std::vector<silurus::NearestQuery<2>> points;
  for (const Box<2>& window : read_boxes(argv[3])) {
    ranges.push_back({.window = window});
    points.push_back({.point = {window.min},
                      .k = static_cast<std::uint32_t>(std::strtoul(argv[4], nullptr, 10))});
  }
  for (std::string name; std::cin >> name;) {
    double seconds = 0;
    if (name == "range") seconds = timed([&] { return client.range_batch(ranges); });
    if (name == "nearest") seconds = timed([&] { return client.nearest_batch(points); });
    if (name == "load") seconds = timed([&] { return client.load(entries); });
    std::printf("%.9f\n", seconds);
    std::fflush(stdout);
  }
}
