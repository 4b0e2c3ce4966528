// silurus-probe ADDRESS: whether this host's RDMA card does what Silurus assumes of it.

#include <cstdio>
#include <string>

#include "transport/probes/probe.h"

namespace silurus::bench {
namespace {

int run(int argc, char** argv) {
  if (argc != 2 || argv[1][0] == '-') {
    std::fprintf(
        stderr,
        "usage: silurus-probe ADDRESS   (an address of this host on the card to be probed)\n");
    return 2;
  }
  auto fabric = transport::make_fabric("rdma");
  if (!fabric) {
    std::fprintf(stderr, "silurus-probe: %s\n", fabric.error().message.c_str());
    return 1;
  }
  bool fine = true;
  for (const transport::probes::Probe& probe : transport::probes::all()) {
    const Status status = probe.run(**fabric, argv[1]);
    std::printf("%-8s %s  %s%s%s\n", probe.name, status ? "ok  " : "FAIL", probe.assumption,
                status ? "" : ": ", status ? "" : status.error().message.c_str());
    std::fflush(stdout);
    fine = fine && status;
  }
  return fine ? 0 : 1;
}

}  // namespace
}  // namespace silurus::bench

int main(int argc, char** argv) { return silurus::bench::run(argc, argv); }
