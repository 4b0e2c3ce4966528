// SPDX-License-Identifier: Apache-2.0

#include "datasets/las.h"

#include "fuzz/memory_file.h"
#include "fuzz/target.h"

// Point clouds in LAS, of both dimensions. The first byte of an input chooses.

namespace silurus::fuzz {
namespace {

using namespace datasets;

template <int D>
void try_dimension(const std::string& path) {
  auto source = open_las<D>(path);
  if (!source) {
    SILURUS_CHECK(!source.error().message.empty());
    return;
  }
  static_cast<void>((*source)->notes());
  std::uint64_t read = 0;
  std::vector<rtree::Entry<D>> batch(20);
  for (;;) {
    const auto count = (*source)->read(batch);
    if (!count) return;
    if (*count == 0) break;
    for (const auto& entry : std::span(batch).first(*count)) {
      SILURUS_CHECK(rtree::check_box(entry.box) && entry.id == read++);
    }
  }
  SILURUS_CHECK(read == *(*source)->total_entries());
}

/// A file of format 0 with two points and a coordinate system.
std::string small_file(std::uint8_t minor) {
  const std::uint16_t header_size = minor == 4 ? 375 : 227;
  const std::string key =
      bytes_of(std::uint16_t{3072}, std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{25832});
  std::string file(header_size, '\0');
  const auto put = [&](std::size_t at, const std::string& bytes) {
    file.replace(at, bytes.size(), bytes);
  };
  put(0, "LASF");
  put(24, std::string("\x01", 1) + static_cast<char>(minor));
  put(94, bytes_of(header_size));
  put(96, bytes_of(static_cast<std::uint32_t>(header_size + 54 + key.size())));
  put(100, bytes_of(std::uint32_t{1}));
  put(105, bytes_of(std::uint16_t{20}));
  put(107, bytes_of(std::uint32_t{2}));
  put(131, bytes_of(0.01, 0.01, 0.01));
  if (minor == 4) put(247, bytes_of(std::uint64_t{2}));
  std::string note(54, '\0');
  note.replace(2, 15, "LASF_Projection");
  note.replace(18, 4, bytes_of(std::uint16_t{34735}, static_cast<std::uint16_t>(key.size())));
  return file + note + key + std::string(40, '\1');
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto flags = input.take<std::uint8_t>();
  static const MemoryFile file;
  file.hold(as_text(input.rest()));
  if ((flags & 1) == 0) {
    try_dimension<2>(file.path());
  } else {
    try_dimension<3>(file.path());
  }
}

std::vector<std::string> seeds() {
  return {std::string(1, '\0') + small_file(2), "\x01" + small_file(4)};
}

}  // namespace silurus::fuzz
