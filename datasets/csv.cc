#include "datasets/csv.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <utility>

#include "datasets/line_reader.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;

constexpr std::size_t kMaxColumns = 7;
/// Fields of a line; a further one only says that there are too many.
struct Fields {
  std::array<std::string_view, kMaxColumns> at;
  std::size_t count = 0;
};

template <int D>
constexpr auto box_names() {
  if constexpr (D == 2) {
    return std::array<std::string_view, 5>{"id", "xmin", "ymin", "xmax", "ymax"};
  } else {
    return std::array<std::string_view, 7>{"id", "xmin", "ymin", "zmin", "xmax", "ymax", "zmax"};
  }
}
template <int D>
constexpr auto point_names() {
  if constexpr (D == 2) {
    return std::array<std::string_view, 3>{"id", "x", "y"};
  } else {
    return std::array<std::string_view, 4>{"id", "x", "y", "z"};
  }
}

std::string join(std::span<const std::string_view> names) {
  std::string text;
  for (const auto name : names) text.append(text.empty() ? "" : ",").append(name);
  return text;
}

/// Text of a file as it may be shown on a terminal: short, and nothing but printable ASCII.
std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShown = 40;
  std::string result = "\"";
  for (const char c : text.substr(0, kMaxShown)) {
    if (c >= ' ' && c <= '~') {
      result += c;
    } else {
      std::array<char, 8> escaped;
      std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned char>(c));
      result += escaped.data();
    }
  }
  return result + (text.size() > kMaxShown ? "...\"" : "\"");
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

/// Counts every field, keeps the first kMaxColumns.
Fields split(std::string_view line) {
  Fields fields;
  for (;;) {
    const std::size_t comma = line.find(',');
    if (fields.count < kMaxColumns) fields.at[fields.count] = trimmed(line.substr(0, comma));
    ++fields.count;
    if (comma == std::string_view::npos) return fields;
    line.remove_prefix(comma + 1);
  }
}

/// Out of a double's range counts, too.
bool is_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error != std::errc::invalid_argument && end == text.data() + text.size();
}

template <int D>
class CsvSource final : public Source<D> {
 public:
  CsvSource(LineReader lines, const CsvOptions& options)
      : lines_(std::move(lines)), options_(options) {}

  Result<std::size_t> read(std::span<Entry<D>> batch) override {
    std::size_t count = 0;
    while (count < batch.size() && !is_at_end_) {
      auto got = next(batch[count]);
      if (!got) {
        is_at_end_ = true;
        return fail(got.error());
      }
      count += *got ? 1 : 0;
    }
    return count;
  }
  std::optional<std::uint64_t> total_entries() const override { return std::nullopt; }
  Progress progress() const override { return {lines_.bytes_read(), lines_.bytes_total()}; }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }

 private:
  /// Reads one line; false if there was no entry in it.
  Result<bool> next(Entry<D>& entry) {
    const auto line = lines_.next();
    if (!line) return fail(line.error());
    if (line->is_end) {
      is_at_end_ = true;
      return false;
    }
    Result<bool> got = line->is_too_long ? too_long() : parse(line->text, entry);
    if (got || !options_.skip_bad) return got;
    if (skipped_++ == 0) first_skipped_ = got.error().message;
    return false;
  }

  tl::unexpected<Error> bad(const std::string& what) const {
    return fail(ErrorCode::kProtocol,
                lines_.name() + ":" + std::to_string(lines_.line_number()) + ": " + what);
  }

  Result<bool> too_long() const {
    return bad("the line is longer than " + std::to_string(LineReader::kMaxLineBytes) + " bytes");
  }

  Result<bool> parse(std::string_view text, Entry<D>& entry) {
    if (lines_.line_number() == 1 && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    if (trimmed(text).empty()) return false;
    const Fields fields = split(text);
    if (columns_ == 0) {
      if (fields.count != kBoxNames.size() && fields.count != kPointNames.size()) {
        return wrong_count(fields.count, join(kBoxNames) + " or " + join(kPointNames));
      }
      const auto kept = std::span(fields.at).first(fields.count);
      const bool is_header = !is_header_past_ && std::none_of(kept.begin(), kept.end(), is_number);
      is_header_past_ = true;
      if (is_header) return parse_header(kept);
    }
    if (columns_ != 0 && fields.count != columns_) {
      return wrong_count(fields.count, join(names(columns_)));
    }
    auto parsed = parse_entry(fields, entry);
    if (parsed) columns_ = fields.count;  // the first good line decides
    return parsed;
  }

  Result<bool> wrong_count(std::size_t count, const std::string& expected) const {
    return bad(std::to_string(count) + (count == 1 ? " field" : " fields") + ", expected " +
               expected);
  }

  /// Any names will do, but ours must not stand in another order.
  Result<bool> parse_header(std::span<const std::string_view> header) {
    const auto expected = names(header.size());
    for (std::size_t i = 0; i < header.size(); ++i) {
      std::string name(header[i]);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      const auto place = std::find(expected.begin(), expected.end(), name);
      if (place != expected.end() && place - expected.begin() != static_cast<std::ptrdiff_t>(i)) {
        return bad("column " + std::to_string(i + 1) + " is " + shown(header[i]) +
                   "; the order must be " + join(expected));
      }
    }
    columns_ = header.size();
    return false;
  }

  Result<bool> parse_entry(const Fields& fields, Entry<D>& entry) const {
    const auto expected = names(fields.count);
    const std::string_view id = fields.at[0];
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), entry.id);
    if (error != std::errc{} || end != id.data() + id.size()) {
      return bad("id " + shown(id) + " is not a whole number from 0 to 2^64 - 1");
    }
    const bool is_point = fields.count == kPointNames.size();
    for (int d = 0; d < D; ++d) {
      auto low = parse_coordinate(fields.at[1 + d], expected[1 + d]);
      if (!low) return fail(low.error());
      entry.box.min[d] = entry.box.max[d] = *low;
      if (is_point) continue;
      auto high = parse_coordinate(fields.at[1 + D + d], expected[1 + D + d]);
      if (!high) return fail(high.error());
      entry.box.max[d] = *high;
      if (*low > *high) {
        return bad(std::string(expected[1 + d]) + " " + std::string(fields.at[1 + d]) +
                   " is above " + std::string(expected[1 + D + d]) + " " +
                   std::string(fields.at[1 + D + d]));
      }
    }
    return true;
  }

  Result<double> parse_coordinate(std::string_view text, std::string_view name) const {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const char* wrong = nullptr;
    if (error == std::errc::result_out_of_range) {
      wrong = " does not fit a double";
    } else if (error != std::errc{} || end != text.data() + text.size()) {
      wrong = " is not a number";
    } else if (!std::isfinite(value)) {
      wrong = ": coordinates must be finite";
    }
    if (wrong != nullptr) return bad(std::string(name) + " " + shown(text) + wrong);
    return value;
  }

  static std::span<const std::string_view> names(std::size_t columns) {
    if (columns == kPointNames.size()) return kPointNames;
    return kBoxNames;
  }

  static constexpr auto kBoxNames = box_names<D>();
  static constexpr auto kPointNames = point_names<D>();
  static_assert(kBoxNames.size() <= kMaxColumns);

  LineReader lines_;
  CsvOptions options_;
  std::size_t columns_ = 0;  // of every line; 0 until the first one decides
  bool is_header_past_ = false;
  bool is_at_end_ = false;
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_csv(const std::string& path, const CsvOptions& options) {
  auto lines = LineReader::open(path);
  if (!lines) return fail(lines.error());
  return std::make_unique<CsvSource<D>>(std::move(*lines), options);
}

template Result<std::unique_ptr<Source<2>>> open_csv<2>(const std::string&, const CsvOptions&);
template Result<std::unique_ptr<Source<3>>> open_csv<3>(const std::string&, const CsvOptions&);

}  // namespace silurus::datasets
