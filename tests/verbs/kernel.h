// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdio>
#include <string>
#include <utility>

#include "tests/support/patience.h"
#include "transport/verbs/queues.h"

namespace silurus::transport::verbs::testing {

/// What the kernel holds for this host's RDMA: "qp 3 cq 2 mr 5 ...".
inline std::string output_of(const char* command) {
  std::string text;
  if (FILE* pipe = popen(command, "r")) {
    std::array<char, 512> line;
    while (std::fgets(line.data(), line.size(), pipe) != nullptr) text += line.data();
    pclose(pipe);
  }
  return text;
}

inline std::string rdma_resources() { return output_of("rdma resource show rxe0"); }

/// The same, once it has stayed the same for a while: what ended connections had is destroyed a
/// moment after their end.
inline std::string settled_rdma_resources() {
  std::string last = rdma_resources();
  for (int looks_alike = 0; looks_alike < 4;) {
    testing_support::pace(kLongestRetirement);  // pacing: what is under way gets done
    std::string now = rdma_resources();
    looks_alike = now == last ? looks_alike + 1 : 0;
    last = std::move(now);
  }
  return last;
}

}  // namespace silurus::transport::verbs::testing
