// SPDX-License-Identifier: Apache-2.0

#include "readers/frames.h"

#include <cstdlib>

#include "datasets/helper.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"

// What a helper program for a foreign format says: a process whose heap is broken may send
// anything. Here the program is cat, and the input is what it sends. (A process for each execution:
// slower than other targets.)

namespace silurus::fuzz {
namespace {

using namespace datasets;
using readers::Frame;
using readers::FrameKind;

constexpr const char* kProgram = "cat";
constexpr const char* kFolder = "/usr/bin";

template <int D>
void try_entries(const std::string& path) {
  auto source = open_with_helper<D>({kProgram}, {.path = path});
  if (!source) return;
  std::vector<rtree::Entry<D>> batch(100);
  for (;;) {
    const auto count = (*source)->read(batch);
    SILURUS_CHECK((*source)->notes().size() <= readers::kMaxNotes);
    if (!count || *count == 0) break;
    SILURUS_CHECK(*count <= batch.size());
    for (const auto& entry : std::span(batch).first(*count)) {
      SILURUS_CHECK(rtree::check_box(entry.box));
    }
  }
}

void try_bytes(const std::string& path) {
  auto source = unpack_with_helper({kProgram}, path);
  if (!source) return;
  std::vector<char> into(1000);
  for (;;) {
    const auto count = (*source)->read(into);
    if (!count || *count == 0) break;
    SILURUS_CHECK(*count <= into.size());
    SILURUS_CHECK((*source)->progress().done <= readers::kThousandths);
  }
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  static const bool is_set = ::setenv("SILURUS_LIBEXEC", kFolder, 1) == 0;
  SILURUS_CHECK(is_set);
  static const MemoryFile file;
  file.hold(as_text(bytes));
  // By what it opens with, so that one process is enough.
  const auto code = Input(bytes).take<Frame>().code;
  if (code == readers::opened_code(0)) {
    try_bytes(file.path());
  } else if (code == readers::opened_code(3)) {
    try_entries<3>(file.path());
  } else {
    try_entries<2>(file.path());
  }
}

std::vector<std::string> seeds() {
  const auto opened = [](int dimensions) {
    return bytes_of(Frame{FrameKind::kOpened, readers::opened_code(dimensions), 3});
  };
  const std::string end = bytes_of(Frame{FrameKind::kEnd, 0, 0});
  const std::string failed = bytes_of(Frame{FrameKind::kFailed, 9, 5}) + "wrong";
  const rtree::Entry<2> flat{1, {{0, 0}, {1, 1}}};
  const rtree::Entry<3> solid{1, {{0, 0, 0}, {1, 1, 1}}};
  return {opened(2) + bytes_of(Frame{FrameKind::kEntries, 0, 2}, flat, flat) + end,
          opened(3) + bytes_of(Frame{FrameKind::kEntries, 0, 1}, solid) + failed,
          opened(2) + bytes_of(Frame{FrameKind::kNote, 2, 4}) + "note" +
              bytes_of(Frame{FrameKind::kNote, 3, 3}) + "why" +
              bytes_of(Frame{FrameKind::kSkipped, 0, 7}) +
              bytes_of(Frame{FrameKind::kEntries, 501, 1}, flat) + end,
          opened(0) + bytes_of(Frame{FrameKind::kBytes, 500, 4}) + "text" + end, failed};
}

}  // namespace silurus::fuzz
