// SPDX-License-Identifier: Apache-2.0

#include "client/tool/compact.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "common/clock.h"
#include "common/units.h"

namespace silurus::tool {
namespace {

constexpr auto kPause = std::chrono::milliseconds(5);

Error no_memory(const CompactAnswer& step, Nanoseconds patience) {
  return {
      ErrorCode::kOutOfMemory,
      "for " + format_duration(patience) +
          " the server had no memory free to pack nodes in: older versions take " +
          format_size(step.bytes_retired) + ", of which " + format_size(step.bytes_held) +
          " are held for readers (--retain of the server, answers that are being sent): wait "
          "for these, or start the server with a larger --memory; what was packed stays packed"};
}

}  // namespace

template <int D>
Status compact_tree(Client<D>& client, double fill, Nanoseconds patience, Progress& progress,
                    CompactReport& report) {
  const SystemClock clock;
  Nanoseconds moved = clock.now();
  CompactReport of_tree;
  for (std::uint64_t cursor = 0;;) {
    const auto step = client.compact(cursor, fill);
    if (!step) return fail(step.error());
    ++of_tree.steps;
    of_tree.saved_nodes += step->saved_nodes;
    of_tree.saved_bytes += step->saved_bytes;
    of_tree.nodes = step->nodes;
    of_tree.bytes = step->bytes;
    of_tree.bytes_retired = step->bytes_retired;
    of_tree.bytes_held = step->bytes_held;
    of_tree.version = step->version;
    if (step->is_done) break;
    const Nanoseconds now = clock.now();
    if (!step->must_wait || step->next != cursor) moved = now;
    cursor = step->next;
    if (!step->must_wait) {
      progress.say("packing nodes: " + std::to_string(std::lround(100 * step->share)) + " % done");
      continue;
    }
    ++of_tree.waits;
    if (now - moved >= patience) return fail(no_memory(*step, patience));
    std::this_thread::sleep_for(kPause);
  }
  report.version = report.steps == 0 ? of_tree.version : 0;
  report.steps += of_tree.steps;
  report.waits += of_tree.waits;
  report.saved_nodes += of_tree.saved_nodes;
  report.saved_bytes += of_tree.saved_bytes;
  report.nodes += of_tree.nodes;
  report.bytes += of_tree.bytes;
  report.bytes_retired += of_tree.bytes_retired;
  report.bytes_held += of_tree.bytes_held;
  return {};
}

template Status compact_tree(Client<2>&, double, Nanoseconds, Progress&, CompactReport&);
template Status compact_tree(Client<3>&, double, Nanoseconds, Progress&, CompactReport&);

}  // namespace silurus::tool
