// SPDX-License-Identifier: Apache-2.0

#include "datasets/npy.h"

#include <algorithm>

#include "fuzz/memory_file.h"
#include "fuzz/target.h"

// Arrays of NumPy, of both dimensions, with and without skip_bad. The first byte of an input
// chooses; the second whether the rest is a file, or the text of a header that is put before data.

namespace silurus::fuzz {
namespace {

using namespace datasets;

template <int D>
void try_dimension(const std::string& path, bool skip_bad) {
  auto source = open_npy<D>(path, {.skip_bad = skip_bad});
  if (!source) {
    SILURUS_CHECK(!source.error().message.empty());
    return;
  }
  const auto total = (*source)->total_entries();
  std::uint64_t read = 0;
  std::vector<rtree::Entry<D>> batch(20);
  for (;;) {
    const auto count = (*source)->read(batch);
    if (!count) return;
    if (*count == 0) break;
    read += *count;
    for (const auto& entry : std::span(batch).first(*count)) {
      SILURUS_CHECK(rtree::check_box(entry.box));
    }
  }
  SILURUS_CHECK(!total || read == *total);
  static_cast<void>((*source)->description());
}

std::string array_of(std::string_view header, std::string_view data) {
  std::string bytes = "\x93NUMPY";
  bytes += '\x02';
  bytes += '\0';
  bytes += bytes_of(static_cast<std::uint32_t>(header.size()));
  return bytes + std::string(header) + std::string(data);
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto flags = input.take<std::uint8_t>();
  const std::string_view text = as_text(input.rest());
  static const MemoryFile file;
  if ((flags & 4) != 0) {
    const std::size_t end = std::min(text.find('}'), text.size() - (text.empty() ? 0 : 1)) + 1;
    const std::string_view header = text.substr(0, std::min(end, text.size()));
    file.hold(array_of(header, text.substr(header.size())));
  } else {
    file.hold(text);
  }
  if ((flags & 2) == 0) {
    try_dimension<2>(file.path(), (flags & 1) != 0);
  } else {
    try_dimension<3>(file.path(), (flags & 1) != 0);
  }
}

std::vector<std::string> seeds() {
  const std::string points = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }";
  const std::string boxes = "{'descr': '>f4', 'fortran_order': True, 'shape': (1, 4), }";
  const std::string records =
      "{'descr': [('id', '<u8'), (('t', 'x'), '<f4'), ('y', '|i1'), ('pad', '<U1', (2,))], "
      "'fortran_order': False, 'shape': (1,), }";
  const std::string data(24, '\0');
  return {std::string(1, '\0') + array_of(points, data.substr(0, 16)), "\x04" + points + data,
          "\x05" + boxes + data, "\x04" + records + data};
}

}  // namespace silurus::fuzz
