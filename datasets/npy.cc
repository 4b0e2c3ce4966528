// SPDX-License-Identifier: Apache-2.0

#include "datasets/npy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "datasets/columns.h"
#include "datasets/npy_header.h"
#include "datasets/records.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kMaxHeader = 1 << 20;
constexpr double kExactInDouble = 9007199254740992.0;  // 2^53

/// A header, and where the data behind it begin.
struct Layout {
  NpyHeader header;
  std::uint64_t data_at = 0;
  std::uint64_t rows = 0;
};

/// Where a part of an entry (as Columns numbers them) is found.
struct Place {
  std::size_t stream = 0;
  std::size_t offset = 0;  // in the stream's record
  NpyType type = {};
};

tl::unexpected<Error> bad(const std::string& path, ErrorCode code, const std::string& what) {
  return fail(code, path + ": " + what);
}

Result<Layout> read_layout(const BinaryFile& file) {
  const auto damaged = [&](const std::string& what) {
    return bad(file.path(), ErrorCode::kProtocol, what + " (truncated or damaged?)");
  };
  std::array<std::byte, 12> start{};
  if (file.size() < start.size()) return damaged("too short for an array of NumPy");
  if (auto ok = file.read(0, start); !ok) return fail(ok.error());
  const auto version = std::to_integer<int>(start[6]);
  if (std::memcmp(start.data(), kMagic.data(), kMagic.size()) != 0 || version < 1 || version > 3) {
    return damaged("an array of NumPy in a format that is not known");
  }
  const std::size_t begin = version == 1 ? 10 : 12;
  const std::size_t size = version == 1 ? number_at<std::uint16_t>(start.data() + 8)
                                        : number_at<std::uint32_t>(start.data() + 8);
  if (size > kMaxHeader || begin + size > file.size()) {
    return damaged("a header of " + std::to_string(size) + " bytes");
  }
  std::string text(size, '\0');
  if (auto ok = file.read(begin, std::as_writable_bytes(std::span(text))); !ok) {
    return fail(ok.error());
  }
  auto header = parse_npy_header(text);
  if (!header) return bad(file.path(), header.error().code, header.error().message);
  return Layout{.header = std::move(*header), .data_at = begin + size};
}

/// Checks that the file is as long as the shape says; `columns`: of a row.
Status check_size(const BinaryFile& file, Layout& layout, std::uint64_t columns) {
  layout.rows = layout.header.shape[0];
  const std::uint64_t room = file.size() - layout.data_at;
  if (layout.rows <= room / layout.header.record_size / columns) return {};
  return bad(file.path(), ErrorCode::kProtocol,
             "has " + std::to_string(room / layout.header.record_size / columns) +
                 " rows, its header says " + std::to_string(layout.rows) +
                 " (truncated or damaged?)");
}

double real_at(const std::byte* at, const NpyType& type) {
  const auto as_double = [&]<typename T>(T) {
    return static_cast<double>(number_at<T>(at, type.is_swapped));
  };
  if (type.kind == 'f') return type.size == 4 ? as_double(float{}) : as_double(double{});
  const bool is_signed = type.kind == 'i';
  switch (type.size) {
    case 1:
      return is_signed ? as_double(std::int8_t{}) : as_double(std::uint8_t{});
    case 2:
      return is_signed ? as_double(std::int16_t{}) : as_double(std::uint16_t{});
    case 4:
      return is_signed ? as_double(std::int32_t{}) : as_double(std::uint32_t{});
    default:
      return is_signed ? as_double(std::int64_t{}) : as_double(std::uint64_t{});
  }
}

/// Nothing where there is no whole number from 0 on.
std::optional<std::uint64_t> id_at(const std::byte* at, const NpyType& type) {
  if (type.kind != 'f' && type.size == 8) {
    const auto bits = number_at<std::uint64_t>(at, type.is_swapped);
    if (type.kind == 'i' && static_cast<std::int64_t>(bits) < 0) return std::nullopt;
    return bits;
  }
  const double value = real_at(at, type);
  if (!(value >= 0 && value <= kExactInDouble) || std::trunc(value) != value) return std::nullopt;
  return static_cast<std::uint64_t>(value);
}

/// How an array becomes entries.
struct Plan {
  std::vector<Place> places = {};  // places of the parts: 0 is the id, then minima, then maxima
  bool has_id = false;
  bool is_point = true;
  std::string description = {};
};

template <int D>
Result<Plan> plan_records(const std::string& path, const NpyHeader& header) {
  std::vector<std::string> names;
  for (const NpyField& field : header.fields) names.push_back(field.name);
  const auto columns = Columns<D>::of_header(names);
  if (!columns) {
    const std::string& why = columns.error().message;  // without what only text files have
    return bad(path, ErrorCode::kProtocol, why.substr(0, why.find("; silurus load --columns")));
  }
  Plan plan{.has_id = columns->has_id(), .is_point = columns->is_point()};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (columns->part(i)) plan.description += (plan.description.empty() ? "" : ", ") + names[i];
  }
  plan.description =
      "fields " + plan.description + (plan.has_id ? "" : "; no id: numbered by row, from 0");
  plan.places.resize(Columns<D>::kParts);
  for (std::size_t i = 0; i < header.fields.size(); ++i) {
    const auto part = columns->part(i);
    if (!part) continue;
    const NpyField& field = header.fields[i];
    if (field.type.kind == 0 || field.count != 1) {
      return bad(path, ErrorCode::kUnsupported, columns->place(*part) + " is no number");
    }
    plan.places[*part] = {.offset = field.offset, .type = field.type};
  }
  return plan;
}

template <int D>
Result<Plan> plan_rows(const std::string& path, const NpyHeader& header) {
  const std::uint64_t columns = header.shape[1];
  if (columns != D && columns != 2 * D) {
    return bad(path, ErrorCode::kUnsupported,
               "has rows of " + std::to_string(columns) + " numbers; a tree of " +
                   std::to_string(D) + " dimensions takes " + std::to_string(D) + " (points) or " +
                   std::to_string(2 * D) + " (boxes, minima first)");
  }
  const NpyType type = header.fields[0].type;
  if (type.kind == 0) return bad(path, ErrorCode::kUnsupported, "is no array of numbers");
  Plan plan{.is_point = columns == D};
  plan.description = std::string("rows of ") + (plan.is_point ? "points" : "boxes") +
                     ", ids are their numbers, from 0";
  plan.places.resize(1);
  for (std::size_t i = 0; i < columns; ++i) {
    plan.places.push_back(header.is_fortran_order ? Place{.stream = i, .type = type}
                                                  : Place{.offset = i * type.size, .type = type});
  }
  return plan;
}

template <int D>
class NpySource final : public Source<D> {
 public:
  NpySource(std::unique_ptr<BinaryFile> file, const Layout& layout, Plan plan, bool skip_bad)
      : file_(std::move(file)), rows_(layout.rows), plan_(std::move(plan)), skip_bad_(skip_bad) {
    const NpyHeader& header = layout.header;
    const bool is_one_stream = header.is_structured() || !header.is_fortran_order;
    const std::uint64_t columns = header.is_structured() ? 1 : header.shape[1];
    for (std::uint64_t i = 0; i < (is_one_stream ? 1 : columns); ++i) {
      streams_.emplace_back(*file_, layout.data_at + i * rows_ * header.record_size,
                            header.record_size * (is_one_stream ? columns : 1), rows_);
    }
    records_.resize(streams_.size());
  }

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && row_ < rows_) {
      for (std::size_t i = 0; i < streams_.size(); ++i) {
        auto record = streams_[i].next();
        if (!record) return failed(record.error());
        records_[i] = record->data();
      }
      const auto wrong = make(batch[count]);
      ++row_;
      if (wrong.empty()) {
        ++count;
        continue;
      }
      const std::string text = file_->path() + ": row " + std::to_string(row_ - 1) + ": " + wrong;
      if (!skip_bad_) return failed({ErrorCode::kProtocol, text});
      if (skipped_++ == 0) first_skipped_ = text;
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override {
    return skip_bad_ ? std::nullopt : std::optional(rows_);
  }
  Progress progress() const override { return {row_, rows_}; }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }
  std::string description() const override { return "NumPy: " + plan_.description; }

 private:
  tl::unexpected<Error> failed(const Error& error) {
    row_ = rows_;
    return fail(error);
  }

  /// What is wrong with the row; empty if nothing is.
  std::string make(Entry<D>& entry) const {
    entry.id = row_;
    if (plan_.has_id) {
      const Place& place = plan_.places[0];
      const auto id = id_at(records_[place.stream] + place.offset, place.type);
      if (!id) return "its id is no whole number from 0 to 2^64 - 1";
      entry.id = *id;
    }
    for (std::size_t d = 0; d < D; ++d) {
      entry.box.min[d] = number(1 + d);
      entry.box.max[d] = plan_.is_point ? entry.box.min[d] : number(1 + D + d);
    }
    const auto ok = rtree::check_box(entry.box);
    return ok ? "" : ok.error().message;
  }

  double number(std::size_t part) const {
    const Place& place = plan_.places[part];
    return real_at(records_[place.stream] + place.offset, place.type);
  }

  std::unique_ptr<BinaryFile> file_;
  std::uint64_t rows_;
  Plan plan_;
  bool skip_bad_;
  std::vector<Records> streams_;
  std::vector<const std::byte*> records_;  // the row at hand, in each stream
  std::uint64_t row_ = 0;
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_npy(const std::string& path, const NpyOptions& options) {
  auto opened = BinaryFile::open(path);
  if (!opened) return fail(opened.error());
  auto file = std::make_unique<BinaryFile>(std::move(*opened));
  auto layout = read_layout(*file);
  if (!layout) return fail(layout.error());
  const NpyHeader& header = layout->header;
  const std::size_t wanted = header.is_structured() ? 1 : 2;
  if (header.shape.size() != wanted) {
    return bad(path, ErrorCode::kUnsupported,
               "has " + std::to_string(header.shape.size()) + " dimensions; " +
                   (wanted == 1 ? "records have one"
                                : "numbers have two: rows, and columns of "
                                  "coordinates"));
  }
  auto plan = wanted == 1 ? plan_records<D>(path, header) : plan_rows<D>(path, header);
  if (!plan) return fail(plan.error());
  const std::uint64_t columns = wanted == 1 ? 1 : header.shape[1];
  if (auto ok = check_size(*file, *layout, columns); !ok) return fail(ok.error());
  return std::make_unique<NpySource<D>>(std::move(file), *layout, std::move(*plan),
                                        options.skip_bad);
}

template Result<std::unique_ptr<Source<2>>> open_npy<2>(const std::string&, const NpyOptions&);
template Result<std::unique_ptr<Source<3>>> open_npy<3>(const std::string&, const NpyOptions&);

}  // namespace silurus::datasets
