// SPDX-License-Identifier: Apache-2.0

#include "datasets/npy_header.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include "datasets/fields.h"

namespace silurus::datasets {
namespace {

constexpr std::size_t kMaxFields = 4096;
constexpr std::size_t kMaxDimensions = 32;
constexpr std::size_t kMaxRecordBytes = 1 << 20;
constexpr std::size_t kBytesPerCharacter = 4;  // in NumPy's texts ("<U10")

/// Goes through a literal of Python from front to back. What does not fit is remembered as the
/// first error, after which everything else fails, too.
class Literal {
 public:
  explicit Literal(std::string_view text) : text_(text), left_(text) {}

  /// Whether that character is next; takes it.
  bool take(char wanted) {
    skip_blanks();
    if (!left_.starts_with(wanted)) return false;
    left_.remove_prefix(1);
    return true;
  }
  bool expect(char wanted) { return take(wanted) || wrong(std::string("expected ") + wanted); }
  bool is_next(char wanted) {
    skip_blanks();
    return left_.starts_with(wanted);
  }
  bool is_at_end() {
    skip_blanks();
    return left_.empty();
  }
  /// 'text' or "text", without escapes, which NumPy writes for characters beyond ASCII only.
  std::optional<std::string> text() {
    skip_blanks();
    const char quote = left_.empty() ? '\0' : left_[0];
    if (quote != '\'' && quote != '"') return wrong("expected a text"), std::nullopt;
    const std::size_t end = left_.find(quote, 1);
    if (end == std::string_view::npos) return wrong("a text does not end"), std::nullopt;
    std::string text(left_.substr(1, end - 1));
    left_.remove_prefix(end + 1);
    return text;
  }
  std::optional<std::uint64_t> whole() {
    skip_blanks();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), value);
    if (error != std::errc{}) return wrong("expected a whole number"), std::nullopt;
    left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
    take('L');  // as Python 2 wrote it
    return value;
  }
  std::optional<bool> boolean() {
    skip_blanks();
    for (const auto& [word, value] : {std::pair("True", true), std::pair("False", false)}) {
      if (!left_.starts_with(word)) continue;
      left_.remove_prefix(std::string_view(word).size());
      return value;
    }
    return wrong("expected True or False"), std::nullopt;
  }
  bool wrong(const std::string& what) {
    if (!error_) {
      error_ = Error{ErrorCode::kProtocol, what + " at character " +
                                               std::to_string(text_.size() - left_.size() + 1) +
                                               " of the header"};
    }
    return false;
  }
  void refuse(std::string what) {
    if (!error_) error_ = Error{ErrorCode::kUnsupported, std::move(what)};
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  void skip_blanks() {
    const std::size_t blanks = left_.find_first_not_of(" \t\r\n");
    left_.remove_prefix(blanks == std::string_view::npos ? left_.size() : blanks);
  }

  std::string_view text_;
  std::string_view left_;
  std::optional<Error> error_;
};

/// "<f8". Texts and other things have a size only.
bool parse_type(Literal& literal, const std::string& text, NpyType& type) {
  const std::string_view all = text;
  const bool has_order =
      all.starts_with('<') || all.starts_with('>') || all.starts_with('|') || all.starts_with('=');
  const std::string_view rest = all.substr(has_order ? 1 : 0);
  const char kind = rest.empty() ? '\0' : rest[0];
  if (kind == 'O') {
    literal.refuse("has objects of Python, which are not read");
    return false;
  }
  std::size_t size = 0;
  const std::string_view digits = rest.substr(rest.empty() ? 0 : 1);
  const std::size_t unit = std::min(
      digits.find('['), digits.size());  // end of the size; times have a unit behind it: "<M8[ns]"
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + unit, size);
  const bool is_sized = error == std::errc{} && end == digits.data() + unit;
  if (!is_sized || size > kMaxRecordBytes ||
      std::string_view("biufcmMSaUV").find(kind) == std::string_view::npos) {
    return literal.wrong("unknown type " + shown(text));
  }
  type.size = kind == 'U' ? size * kBytesPerCharacter : size;
  const bool is_whole = (kind == 'i' || kind == 'u') && std::has_single_bit(size) && size <= 8;
  if (is_whole || (kind == 'f' && (size == 4 || size == 8))) type.kind = kind;
  constexpr char kOtherOrder = std::endian::native == std::endian::little ? '>' : '<';
  type.is_swapped = all.starts_with(kOtherOrder);
  return true;
}

/// "(100, 4)", "(100,)" or "()".
bool parse_shape(Literal& literal, std::vector<std::uint64_t>& shape) {
  if (!literal.expect('(')) return false;
  while (!literal.take(')')) {
    const auto extent = literal.whole();
    if (!extent) return false;
    if (shape.size() == kMaxDimensions) return literal.wrong("too many dimensions");
    shape.push_back(*extent);
    if (!literal.take(',') && !literal.is_next(')')) return literal.expect(')');
  }
  return true;
}

/// "('x', '<f8')", "('x', '<f8', (3,))" or "(('title', 'x'), '<f8')".
bool parse_field(Literal& literal, NpyHeader& header) {
  if (!literal.expect('(')) return false;
  std::optional<std::string> name;
  if (literal.take('(')) {
    if (!literal.text() || !literal.expect(',') || !(name = literal.text()) ||
        !literal.expect(')')) {
      return false;
    }
  } else if (!(name = literal.text())) {
    return false;
  }
  if (!literal.expect(',')) return false;
  if (literal.is_next('[')) {
    literal.refuse("has records in records, which are not read");
    return false;
  }
  const auto type = literal.text();
  NpyField field{.name = *name, .offset = header.record_size};
  if (!type || !parse_type(literal, *type, field.type)) return false;
  if (literal.take(',') && !literal.is_next(')')) {
    std::vector<std::uint64_t> shape;
    if (!parse_shape(literal, shape)) return false;
    for (const std::uint64_t extent : shape) {
      if (extent > kMaxRecordBytes) return literal.wrong("a field is too large");
      field.count *= static_cast<std::size_t>(extent);
      if (field.count > kMaxRecordBytes) return literal.wrong("a field is too large");
    }
  }
  header.record_size += field.type.size * field.count;
  if (header.record_size > kMaxRecordBytes) return literal.wrong("a record is too large");
  header.fields.push_back(std::move(field));
  return literal.expect(')');
}

bool parse_descr(Literal& literal, NpyHeader& header) {
  header.fields.clear();
  header.record_size = 0;
  if (!literal.take('[')) {
    const auto type = literal.text();
    header.fields.emplace_back();
    if (!type || !parse_type(literal, *type, header.fields[0].type)) return false;
    header.record_size = header.fields[0].type.size;
    return true;
  }
  while (!literal.take(']')) {
    if (header.fields.size() == kMaxFields) return literal.wrong("too many fields");
    if (!parse_field(literal, header)) return false;
    if (!literal.take(',') && !literal.is_next(']')) return literal.expect(']');
  }
  return !header.fields.empty() || literal.wrong("there are no fields");
}

bool parse_members(Literal& literal, NpyHeader& header) {
  bool has_descr = false;
  bool has_shape = false;
  if (!literal.expect('{')) return false;
  while (!literal.take('}')) {
    const auto key = literal.text();
    if (!key || !literal.expect(':')) return false;
    if (*key == "descr") {
      if (!(has_descr = parse_descr(literal, header))) return false;
    } else if (*key == "shape") {
      header.shape.clear();
      if (!(has_shape = parse_shape(literal, header.shape))) return false;
    } else if (*key == "fortran_order") {
      const auto value = literal.boolean();
      if (!value) return false;
      header.is_fortran_order = *value;
    } else {
      return literal.wrong("unknown key " + shown(*key));
    }
    if (!literal.take(',') && !literal.is_next('}')) return literal.expect('}');
  }
  if (!has_descr || !has_shape) return literal.wrong("descr or shape is missing");
  if (header.record_size == 0) return literal.wrong("elements have no bytes");
  return literal.is_at_end() || literal.wrong("more than a dictionary");
}

}  // namespace

Result<NpyHeader> parse_npy_header(std::string_view text) {
  Literal literal(text);
  NpyHeader header;
  if (parse_members(literal, header) && !literal.error()) return header;
  return fail(*literal.error());
}

}  // namespace silurus::datasets
