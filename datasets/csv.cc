// SPDX-License-Identifier: Apache-2.0

#include "datasets/csv.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "datasets/columns.h"
#include "datasets/fields.h"
#include "datasets/line_reader.h"

namespace silurus::datasets {
namespace {

using rtree::Entry;

/// In the order in which they are tried: a semicolon or a tab stands in a line of numbers for
/// nothing else, a comma may be in a text.
constexpr std::array<char, 3> kSeparators = {';', '\t', ','};

bool is_number(std::string_view text) { return number_of(text).has_value(); }

std::string counted_fields(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " field" : " fields");
}

/// A number with a comma where programs of many countries write one.
bool has_decimal_comma(std::string_view text) {
  std::string pointed(text);
  const std::size_t comma = pointed.find(',');
  if (comma == std::string::npos) return false;
  pointed[comma] = '.';
  return is_number(pointed);
}

template <int D>
class CsvSource final : public Source<D> {
 public:
  CsvSource(LineReader lines, std::optional<Columns<D>> given, bool skip_bad)
      : lines_(std::move(lines)), given_(std::move(given)), skip_bad_(skip_bad) {}

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
  Progress progress() const override { return lines_.progress(); }
  std::uint64_t skipped() const override { return skipped_; }
  std::string first_skipped() const override { return first_skipped_; }
  std::string description() const override {
    if (!columns_) return {};
    std::string text = columns_->description();
    if (separator_ == ';') text += "; separated by semicolons";
    if (separator_ == '\t') text += "; separated by tabs";
    return text;
  }

 private:
  using Part = std::optional<std::size_t>;

  /// Reads one record; false if there was no entry in it.
  Result<bool> next(Entry<D>& entry) {
    const auto line = lines_.next();
    if (!line) return fail(line.error());
    if (line->is_end) {
      is_at_end_ = true;
      return false;
    }
    std::string_view text = line->text;
    if (lines_.line_number() == 1 && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    if (trimmed(text).empty()) return false;
    ++number_;
    Result<bool> got = line->is_too_long ? too_long()
                       : columns_        ? parse(text, entry)
                                         : begin(text, entry);
    is_first_ = false;
    if (got || !skip_bad_ || !is_readable_) return got;
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

  Result<bool> wrong_count(std::size_t count, const std::string& expected) const {
    return bad(counted_fields(count) + ", expected " + expected);
  }

  /// Splits a record, which goes on in the next lines if a quote is open; how many fields there
  /// are. What `take` is called with counts only once this has returned.
  template <typename Take>
  Result<std::size_t> split(std::string_view text, char separator, Take&& take) {
    for (;;) {
      const Split split = split_record(text, separator, unquoted_, take);
      if (split.outcome == Split::Outcome::kGood) return split.count;
      const std::string column = "column " + std::to_string(split.count) + ": ";
      if (split.outcome == Split::Outcome::kTextAfterQuote) {
        lines_.retreat();
        return bad(column + "text behind a closing quote, expected a separator");
      }
      const auto longer = lines_.extend();
      if (!longer) return fail(longer.error());
      if (longer->is_end || longer->is_too_long) {
        lines_.retreat();
        return bad(column + "a quote is opened and not closed");
      }
      text = longer->text;
      if (lines_.line_number() == 1 && text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    }
  }

  /// The fields of the line as far as it goes, for a look at it.
  std::vector<std::string> look(std::string_view text, char separator) {
    std::vector<std::string> fields;
    const Split split =
        split_record(text, separator, unquoted_,
                     [&](std::size_t, std::string_view field) { fields.emplace_back(field); });
    fields.resize(split.count);
    return fields;
  }

  /// The separator with which the first line is understood; else the most frequent one.
  char choose_separator(std::string_view text) {
    char most = ',';
    std::size_t most_fields = 1;
    for (const char separator : kSeparators) {
      const auto fields = look(text, separator);
      const bool is_understood =
          given_ ? given_->takes(fields.size())
                 : Columns<D>::of_header(fields) || Columns<D>::of_count(fields.size());
      if (fields.size() > 1 && is_understood) return separator;
      if (fields.size() > most_fields) most = separator;
      most_fields = std::max(most_fields, fields.size());
    }
    return most;
  }

  /// The first record decides what the columns are.
  Result<bool> begin(std::string_view text, Entry<D>& entry) {
    separator_ = choose_separator(text);
    std::vector<std::string> fields;
    const auto count = split(text, separator_, [&](std::size_t index, std::string_view field) {
      fields.resize(index);
      fields.emplace_back(field);
    });
    if (!count) return fail(count.error());
    if (is_first_ && is_header(fields)) {
      auto columns = given_ ? Result<Columns<D>>(*given_) : Columns<D>::of_header(fields);
      is_readable_ = columns.has_value();
      if (!columns) return bad(columns.error().message);
      columns_ = std::move(*columns);
      number_ = 0;
      return false;
    }
    auto columns = given_ ? given_ : Columns<D>::of_count(*count);
    if (!columns) {
      return wrong_count(*count, Columns<D>::expected_without_names() +
                                     ", or a header (or silurus load --columns)");
    }
    if (!columns->takes(*count)) return wrong_count(*count, columns->list());
    columns_ = std::move(columns);
    std::array<std::string_view, Columns<D>::kParts> parts;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (const Part part = columns_->part(i)) parts[*part] = fields[i];
    }
    auto parsed = parse_entry(parts, entry);
    if (!parsed) columns_.reset();  // the first good line decides
    return parsed;
  }

  /// A line whose names are understood, or one without a number in it. If the user has said what
  /// the columns are, only numbers in those count that are read.
  bool is_header(const std::vector<std::string>& fields) const {
    if (!given_) {
      return Columns<D>::of_header(fields) || std::ranges::none_of(fields, is_number);
    }
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (given_->part(i) && is_number(fields[i])) return false;
    }
    return true;
  }

  Result<bool> parse(std::string_view text, Entry<D>& entry) {
    std::array<std::string_view, Columns<D>::kParts> parts;
    const auto count = split(text, separator_, [&](std::size_t index, std::string_view field) {
      if (const Part part = columns_->part(index)) parts[*part] = field;
    });
    if (!count) return fail(count.error());
    if (!columns_->takes(*count)) {
      return wrong_count(*count, std::to_string(columns_->size()) + ": " + columns_->list());
    }
    return parse_entry(parts, entry);
  }

  tl::unexpected<Error> bad_field(std::size_t part, std::string_view text,
                                  const std::string& expected) const {
    return bad(columns_->place(part) + ": " + shown(text) + ", expected " + expected);
  }

  Result<bool> parse_entry(std::span<const std::string_view> parts, Entry<D>& entry) const {
    entry.id = number_;
    if (columns_->has_id()) {
      const auto id = id_of(parts[0]);
      if (!id) return bad_field(0, parts[0], "a whole number from 0 to 2^64 - 1");
      entry.id = *id;
    }
    for (std::size_t d = 0; d < D; ++d) {
      const auto low = parse_coordinate(1 + d, parts);
      if (!low) return fail(low.error());
      entry.box.min[d] = entry.box.max[d] = *low;
      if (columns_->is_point()) continue;
      const auto high = parse_coordinate(1 + D + d, parts);
      if (!high) return fail(high.error());
      entry.box.max[d] = *high;
      if (*low > *high) {
        return bad_field(1 + d, parts[1 + d],
                         "at most " + std::string(parts[1 + D + d]) + ", which is in " +
                             columns_->place(1 + D + d));
      }
    }
    return true;
  }

  Result<double> parse_coordinate(std::size_t part, std::span<const std::string_view> parts) const {
    const std::string_view text = parts[part];
    const auto value = number_of(text);
    if (!value) {
      return bad_field(part, text, has_decimal_comma(text) ? "a number with a point" : "a number");
    }
    if (std::isfinite(*value)) return *value;
    const bool is_word = text.find_first_of("nN") != std::string_view::npos;  // nan, inf
    return bad_field(part, text, is_word ? "a finite number" : "a number that fits a double");
  }

  LineReader lines_;
  std::optional<Columns<D>> given_;  // by the user
  bool skip_bad_;
  std::optional<Columns<D>> columns_;  // nothing until the first record decides
  char separator_ = ',';
  bool is_first_ = true;     // no record was read yet
  bool is_readable_ = true;  // the header is understood, or there is none
  bool is_at_end_ = false;
  std::uint64_t number_ = 0;  // number of the record, from 1 behind the header
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
  std::string unquoted_;  // what texts in quotes are
};

}  // namespace

template <int D>
Result<std::unique_ptr<Source<D>>> open_csv(const std::string& path, const CsvOptions& options) {
  std::optional<Columns<D>> columns;
  if (!options.columns.empty()) {
    auto given = Columns<D>::of_list(options.columns);
    if (!given) return fail(given.error());
    columns = std::move(*given);
  }
  auto lines = LineReader::open(path);
  if (!lines) return fail(lines.error());
  return std::make_unique<CsvSource<D>>(std::move(*lines), std::move(columns), options.skip_bad);
}

template Result<std::unique_ptr<Source<2>>> open_csv<2>(const std::string&, const CsvOptions&);
template Result<std::unique_ptr<Source<3>>> open_csv<3>(const std::string&, const CsvOptions&);

}  // namespace silurus::datasets
