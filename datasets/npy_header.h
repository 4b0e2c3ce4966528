// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace silurus::datasets {

/// A number in an array of NumPy: '<f8' is {'f', 8, false} on a little-endian machine.
struct NpyType {
  char kind = 0;  ///< 'f', 'i' or 'u'; 0: no number that is read (texts, complex numbers, times)
  std::size_t size = 0;
  bool is_swapped = false;
};

/// A field of a structured array; a plain one has one, without a name.
struct NpyField {
  std::string name = {};
  NpyType type = {};
  std::size_t count = 1;   ///< elements, if it is an array itself
  std::size_t offset = 0;  ///< in the record
};

/// What the header of a .npy file says (NumPy's NEP 1).
struct NpyHeader {
  std::vector<NpyField> fields;
  std::vector<std::uint64_t> shape;
  bool is_fortran_order = false;
  std::size_t record_size = 0;  ///< bytes of an element

  bool is_structured() const { return fields.size() != 1 || !fields[0].name.empty(); }
};

/// Parses the header's text, a literal of Python: "{'descr': '<f8', 'fortran_order': False,
/// 'shape': (100, 4), }". kProtocol says what is not understood; kUnsupported: objects, and records
/// in records. Pure; takes any text.
Result<NpyHeader> parse_npy_header(std::string_view text);

}  // namespace silurus::datasets
