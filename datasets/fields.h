// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace silurus::datasets {

// The fields of a line of text, and what they say: pure functions.

/// Text of a file as it may be shown on a terminal: short, and nothing but printable ASCII.
std::string shown(std::string_view text);

/// Without blanks and tabs at both ends.
std::string_view trimmed(std::string_view text);

/// The number that all of the text is, +2.35 and 1e6 too. Nothing if it is none. Infinite if a
/// double does not hold it.
std::optional<double> number_of(std::string_view text);

/// The id that all of the text is: a whole number from 0 to 2^64 - 1. Its fraction may be written
/// if it is 0 (17.0), and an exponent (1e6) up to 2^53, from where on a double is not exact.
std::optional<std::uint64_t> id_of(std::string_view text);

/// How a record was split.
struct Split {
  enum class Outcome : std::uint8_t {
    kGood,
    kOpenQuote,      ///< the record ends within quotes
    kTextAfterQuote  ///< text between a closing quote and the separator
  };
  Outcome outcome = Outcome::kGood;
  std::size_t count = 0;  ///< fields; if it is not good, the last one of them is the bad one
};

/// Splits a record at `separator` as RFC 4180 has it: a field that begins with a quote ends at the
/// next one, may hold separators, and "" is a quote in it. Blanks around a field do not count.
/// Calls take(index from 0, text) for each field; the texts are parts of `record` and of
/// `unquoted`, which keeps what quotes were taken out of, and are valid as long as these two are.
template <typename Take>
Split split_record(std::string_view record, char separator, std::string& unquoted, Take&& take) {
  const auto skip_blanks = [&] {
    while (!record.empty() && (record[0] == ' ' || (record[0] == '\t' && separator != '\t'))) {
      record.remove_prefix(1);
    }
  };
  unquoted.clear();
  unquoted.reserve(record.size());  // so that no text moves
  for (Split split;;) {
    const std::size_t index = split.count++;
    skip_blanks();
    if (!record.starts_with('"')) {
      const std::size_t end = record.find(separator);
      take(index, trimmed(record.substr(0, end)));
      if (end == std::string_view::npos) return split;
      record.remove_prefix(end + 1);
      continue;
    }
    const std::size_t begin = unquoted.size();
    for (;;) {
      record.remove_prefix(1);
      const std::size_t end = record.find('"');
      unquoted.append(record.substr(0, end));
      if (end == std::string_view::npos) {
        split.outcome = Split::Outcome::kOpenQuote;
        return split;
      }
      record.remove_prefix(end + 1);
      if (!record.starts_with('"')) break;
      unquoted += '"';
    }
    take(index, trimmed(std::string_view(unquoted).substr(begin)));
    skip_blanks();
    if (record.empty()) return split;
    if (record[0] != separator) {
      split.outcome = Split::Outcome::kTextAfterQuote;
      return split;
    }
    record.remove_prefix(1);
  }
}

}  // namespace silurus::datasets
