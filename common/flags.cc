// SPDX-License-Identifier: Apache-2.0

#include "common/flags.h"

#include <algorithm>
#include <charconv>
#include <cxxopts.hpp>

#include "common/check.h"
#include "common/units.h"

namespace silurus::flags {
namespace {

/// Stands before an argument that would otherwise look like an option.
constexpr char kWordMark = '\x01';

constexpr std::size_t kHelpColumn = 28;
constexpr std::size_t kHelpWidth = 80;

tl::unexpected<Error> bad(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

bool is_switch(const Option& option) { return option.argument.empty(); }

/// The number of letters to insert, erase, change or swap with their neighbour.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::vector<std::size_t>> rows(from.size() + 1,
                                             std::vector<std::size_t>(to.size() + 1));
  for (std::size_t i = 0; i <= from.size(); ++i) {
    for (std::size_t j = 0; j <= to.size(); ++j) {
      if (i == 0 || j == 0) {
        rows[i][j] = i + j;
        continue;
      }
      const std::size_t change = from[i - 1] == to[j - 1] ? 0 : 1;
      rows[i][j] = std::min({rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1]) {
        rows[i][j] = std::min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[from.size()][to.size()];
}

/// Adds words to lines that begin at the column of the help, the first at that of the text's end.
void wrap(std::string& text, std::string_view words) {
  std::size_t column = text.size() - (text.rfind('\n') + 1);
  while (!words.empty()) {
    const std::string_view word = words.substr(0, words.find(' '));
    words.remove_prefix(std::min(words.size(), word.size() + 1));
    if (column > kHelpColumn && column + 1 + word.size() > kHelpWidth) {
      text += "\n" + std::string(kHelpColumn, ' ');
      column = kHelpColumn;
    }
    if (column > kHelpColumn) text += ' ';
    column += word.size() + (column > kHelpColumn ? 1 : 0);
    text += word;
  }
}

cxxopts::Options prepare(std::span<const Option> options) {
  cxxopts::Options prepared("");
  prepared.allow_unrecognised_options();
  for (const Option& option : options) {
    const auto value = cxxopts::value<std::string>();
    if (is_switch(option)) value->implicit_value("true");
    const std::string names =
        option.letter == 0 ? option.name : std::string(1, option.letter) + "," + option.name;
    prepared.add_options()(names, "", value);
  }
  return prepared;
}

/// The arguments, with a mark before those that are words although they begin with a minus.
std::vector<std::string> mark_words(std::span<const std::string> arguments) {
  std::vector<std::string> marked{"program"};
  bool only_words = false;
  for (const std::string& argument : arguments) {
    if (!only_words && argument == "--") {
      only_words = true;
      continue;
    }
    const bool negative = argument.starts_with('-') && as_number(argument);
    marked.push_back(only_words || negative ? kWordMark + argument : argument);
  }
  return marked;
}

std::string unmarked(const std::string& text) {
  return text.starts_with(kWordMark) ? text.substr(1) : text;
}

tl::unexpected<Error> unknown(const std::string& argument, std::span<const Option> options) {
  const std::string typed = argument.substr(0, argument.find('='));
  std::vector<std::string> names;
  for (const Option& option : options) names.push_back(option.name);
  const std::string bare = typed.substr(std::min(typed.size(), typed.find_first_not_of('-')));
  return bad("unknown option " + typed + suggestion(bare, names, spelled));
}

}  // namespace

std::string spelled(std::string_view name) {
  return (name.size() == 1 ? "-" : "--") + std::string(name);
}

std::string describe(std::span<const Option> options) {
  std::string text;
  for (const Option& option : options) {
    std::string line = option.letter != 0       ? "  -" + std::string(1, option.letter) + ", "
                       : option.name.size() > 1 ? "      "
                                                : "  ";
    line += spelled(option.name);
    if (!is_switch(option)) line += " " + option.argument;
    if (line.size() >= kHelpColumn) {
      text += line + '\n';
      line.clear();
    }
    line.resize(kHelpColumn, ' ');
    text += line;
    wrap(text,
         option.help + (option.fallback.empty() ? "" : " (default: " + option.fallback + ")"));
    text += '\n';
  }
  return text;
}

std::optional<std::string> nearest(std::string_view typed, std::span<const std::string> names) {
  const std::size_t tolerated = std::max<std::size_t>(1, typed.size() / 3);
  std::optional<std::string> best;
  std::size_t least = tolerated + 1;
  for (const std::string& name : names) {
    const bool begins = typed.size() > 1 && name.starts_with(typed);
    const std::size_t away = begins ? 1 : distance(typed, name);
    if (away < least && name.size() > 1) {
      least = away;
      best = name;
    }
  }
  return best;
}

std::string suggestion(std::string_view typed, std::span<const std::string> names,
                       const std::function<std::string(std::string_view)>& shown) {
  const auto name = nearest(typed, names);
  return name ? ": did you mean " + shown(*name) + "?" : "";
}

Values::Values(std::span<const Option> options)
    : options_(options.begin(), options.end()), given_(options.size()) {}

std::size_t Values::index_of(std::string_view name) const {
  const auto found = std::ranges::find(options_, name, &Option::name);
  SILURUS_CHECK(found != options_.end());
  return static_cast<std::size_t>(found - options_.begin());
}

Status Values::give(std::string_view name, std::string text, std::string place) {
  const std::size_t index = index_of(name);
  const Option& option = options_[index];
  Given& given = given_[index];
  if (is_switch(option) && text != "true" && text != "false") {
    return bad(place + ": '" + text + "' is neither true nor false");
  }
  if (!option.repeats) given.texts.clear();
  given.texts.push_back(std::move(text));
  given.place = std::move(place);
  return {};
}

void Values::complete(const Values& weaker) {
  for (std::size_t i = 0; i < options_.size(); ++i) {
    if (given_[i].texts.empty()) given_[i] = weaker.given_[weaker.index_of(options_[i].name)];
  }
}

bool Values::has(std::string_view name) const {
  const std::size_t index = index_of(name);
  const std::vector<std::string>& texts = given_[index].texts;
  return !texts.empty() && (!is_switch(options_[index]) || texts.front() == "true");
}

std::string Values::text(std::string_view name) const {
  const std::size_t index = index_of(name);
  const std::vector<std::string>& texts = given_[index].texts;
  return texts.empty() ? options_[index].fallback : texts.back();
}

std::vector<std::string> Values::all(std::string_view name) const {
  return given_[index_of(name)].texts;
}

std::string Values::place(std::string_view name) const {
  const std::string& place = given_[index_of(name)].place;
  return place.empty() ? spelled(name) : place;
}

Result<Values> parse(std::span<const Option> options, std::span<const std::string> arguments) {
  const std::vector<std::string> marked = mark_words(arguments);
  std::vector<const char*> argv;
  for (const std::string& argument : marked) argv.push_back(argument.c_str());
  Values values(options);
  try {
    cxxopts::Options prepared = prepare(options);
    const auto parsed = prepared.parse(static_cast<int>(argv.size()), argv.data());
    for (const auto& given : parsed.arguments()) {
      auto ok = values.give(given.key(), unmarked(given.value()), spelled(given.key()));
      if (!ok) return fail(ok.error());
    }
    for (const std::string& word : parsed.unmatched()) {
      if (word.size() > 1 && word.starts_with('-')) return unknown(word, options);
      values.words_.push_back(unmarked(word));
    }
  } catch (const cxxopts::exceptions::missing_argument&) {
    return bad(marked.back() + " needs a value");
  } catch (const cxxopts::exceptions::exception& error) {
    return bad(error.what());
  }
  return values;
}

std::optional<double> as_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least,
                                  std::uint64_t greatest) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= least &&
      value <= greatest) {
    return value;
  }
  return bad("'" + std::string(text) + "' is not a whole number from " + std::to_string(least) +
             " to " + std::to_string(greatest));
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

void Reader::size(std::string_view name, std::uint64_t& into) { read(name, parse_size, into); }
void Reader::duration(std::string_view name, Nanoseconds& into) {
  read(name, parse_duration, into);
}

void Reader::real(std::string_view name, double& into) {
  const auto parse_real = [](std::string_view text) -> Result<double> {
    if (const auto value = as_number(text)) return *value;
    return bad("'" + std::string(text) + "' is not a number");
  };
  read(name, parse_real, into);
}

void Reader::text(std::string_view name, std::string& into) {
  read(
      name, [](std::string_view text) { return Result<std::string>(text); }, into);
}

void Reader::refuse(std::string_view name, const std::string& why) {
  if (status_) status_ = bad(values_.place(name) + ": " + why);
}

}  // namespace silurus::flags
