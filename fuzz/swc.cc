// SPDX-License-Identifier: Apache-2.0

#include "datasets/swc.h"

#include "datasets/formats.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"

// Shapes of neurons in SWC, of both dimensions, with and without skip_bad; and what format the
// first bytes of a file are. The first byte of an input chooses the options.

namespace silurus::fuzz {
namespace {

using namespace datasets;

template <int D>
void try_dimension(const std::string& path, bool skip_bad) {
  auto source = open_swc<D>(path, {.skip_bad = skip_bad});
  if (!source) return;
  std::vector<rtree::Entry<D>> batch(20);
  for (;;) {
    const auto count = (*source)->read(batch);
    if (!count) {
      SILURUS_CHECK(!count.error().message.empty());
      return;
    }
    if (*count == 0) break;
    for (const auto& entry : std::span(batch).first(*count)) {
      SILURUS_CHECK(rtree::check_box(entry.box));
    }
  }
  SILURUS_CHECK((*source)->first_skipped().empty() == ((*source)->skipped() == 0));
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto flags = input.take<std::uint8_t>();
  const std::string_view text = as_text(input.rest());
  static_cast<void>(format_of(text));
  static_cast<void>(check_is_text(text, "x"));
  static const MemoryFile file;
  file.hold(text);
  if ((flags & 2) == 0) {
    try_dimension<2>(file.path(), (flags & 1) != 0);
  } else {
    try_dimension<3>(file.path(), (flags & 1) != 0);
  }
}

std::vector<std::string> seeds() {
  return {std::string(1, '\0') + "# soma\n1 1 0 0 0 5 -1\n2 3 1.5 0 0 0.5 1\n3 3 2e1 0 0 .5 2\n",
          "\x03"
          "1\t1\t0\t0\t0\t5\t-1\nbad\n2 3 1 0 0 1 1\r\n",
          "\x01\x1e{\"type\": 1}", "\x01<kml>"};
}

}  // namespace silurus::fuzz
