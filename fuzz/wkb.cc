// SPDX-License-Identifier: Apache-2.0

#include "readers/wkb.h"

#include <cmath>

#include "fuzz/target.h"

// Geometries in well-known binary, in all forms. The first byte of an input chooses the form and
// the dimensions.

namespace silurus::fuzz {
namespace {

using namespace readers;

template <int D>
void try_form(std::span<const std::byte> bytes, As as) {
  std::vector<rtree::Box<D>> boxes;
  const auto wrong = append_boxes_of_wkb<D>(bytes, as, boxes);
  SILURUS_CHECK(!wrong.empty() || !boxes.empty());
  SILURUS_CHECK(as != As::kBoxes || boxes.size() <= 1);
  for (const auto& box : boxes) SILURUS_CHECK(rtree::check_box(box));
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto flags = input.take<std::uint8_t>();
  const AlignedCopy copy(input.rest());
  const auto as = static_cast<As>((flags >> 1) % 3);
  static_cast<void>(is_curved_wkb(copy.bytes()));
  if ((flags & 1) == 0) {
    try_form<2>(copy.bytes(), as);
  } else {
    try_form<3>(copy.bytes(), as);
  }
}

std::vector<std::string> seeds() {
  const auto head = [](std::uint32_t type) { return "\x01" + bytes_of(type); };
  const std::string point = head(1) + bytes_of(1.0, 2.0);
  const std::string line_z = head(1002) + bytes_of(2u, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0);
  const std::string polygon = head(3) + bytes_of(1u, 4u, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0);
  return {std::string(1, '\0') + point, "\x05" + line_z, "\x02" + polygon,
          std::string(1, '\0') + head(7) + bytes_of(2u) + point + polygon,
          "\x02" + head(0x20000001) + bytes_of(4326u, std::nan(""), std::nan(""))};
}

}  // namespace silurus::fuzz
