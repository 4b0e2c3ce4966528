// SPDX-License-Identifier: Apache-2.0

#include "datasets/csv.h"

#include "common/units.h"
#include "fuzz/memory_file.h"
#include "fuzz/target.h"

// Text files of entries, of both dimensions, with and without skip_bad. What is read is written as
// CSV and must be read again as the same entries. The first byte of an input chooses the options.

namespace silurus::fuzz {
namespace {

using namespace datasets;

template <int D>
std::string csv_of(const std::vector<rtree::Entry<D>>& entries) {
  std::string text;
  for (const auto& entry : entries) {
    text += std::to_string(entry.id);
    for (const double value : entry.box.min) text += "," + format_number(value);
    for (const double value : entry.box.max) text += "," + format_number(value);
    text += "\n";
  }
  return text;
}

template <int D>
Result<std::vector<rtree::Entry<D>>> read(const MemoryFile& file, const CsvOptions& options) {
  auto source = open_csv<D>(file.path(), options);
  if (!source) return fail(source.error());
  std::vector<rtree::Entry<D>> entries;
  std::vector<rtree::Entry<D>> batch(20);
  for (;;) {
    const auto count = (*source)->read(batch);
    if (!count) return fail(count.error());
    if (*count == 0) break;
    entries.insert(entries.end(), batch.begin(),
                   batch.begin() + static_cast<std::ptrdiff_t>(*count));
  }
  static_cast<void>((*source)->description());
  SILURUS_CHECK((*source)->first_skipped().empty() == ((*source)->skipped() == 0));
  return entries;
}

template <int D>
void try_dimension(std::string_view text, const CsvOptions& options) {
  static const MemoryFile file;
  file.hold(text);
  const auto entries = read<D>(file, options);
  if (!entries) {
    SILURUS_CHECK(!entries.error().message.empty());
    return;
  }
  for (const auto& entry : *entries) SILURUS_CHECK(rtree::check_box(entry.box));
  if (entries->empty()) return;
  file.hold(csv_of<D>(*entries));
  const auto again = read<D>(file, {});
  SILURUS_CHECK(again && *again == *entries);
}

}  // namespace

void try_input(std::span<const std::byte> bytes) {
  Input input(bytes);
  const auto flags = input.take<std::uint8_t>();
  CsvOptions options{.skip_bad = (flags & 1) != 0};
  if ((flags & 4) != 0) options.columns = "ignore,id,x,y,...";
  const std::string_view text = as_text(input.rest());
  if ((flags & 8) != 0) options.columns = text.substr(0, text.find('\n'));
  if ((flags & 2) == 0) {
    try_dimension<2>(text, options);
  } else {
    try_dimension<3>(text, options);
  }
}

std::vector<std::string> seeds() {
  return {std::string(1, '\0') + "1,0,0,1,1\r\n2,0.5,-1e3,+2.35,7\n",
          "\x01id;lat;lon;name\n17.0;1;2;\"a \"\"b\"\"\nc\"\nbad;1;2;3\n",
          "\x02xmin\tymin\tzmin\txmax\tymax\tzmax\n0\t0\t0\t1\t1\t1\n",
          "\x04name,gid,x,y,z\na,1,2,3,4\n", "\x08id,y,x\n1,2,3\n"};
}

}  // namespace silurus::fuzz
