#pragma once

#include <array>
#include <cstdio>
#include <string>

namespace silurus::transport::verbs::testing {

/// What the kernel holds for this host's RDMA: "qp 3 cq 2 mr 5 ...".
inline std::string rdma_resources() {
  std::string text;
  if (FILE* pipe = popen("rdma resource show rxe0", "r")) {
    std::array<char, 512> line;
    while (std::fgets(line.data(), line.size(), pipe) != nullptr) text += line.data();
    pclose(pipe);
  }
  return text;
}

}  // namespace silurus::transport::verbs::testing
