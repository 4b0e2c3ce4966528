// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace silurus::flags {

/// An option of a program. A program's options are a table of these:
///
///   const std::vector<Option> kOptions{
///       {.name = "memory", .argument = "SIZE", .help = "what the tree may take", .fallback =
///       "4G"},
///       {.name = "help", .letter = 'h', .help = "print this text"}};
///   const auto values = parse(kOptions, arguments);  // fails with a text for the user
///   Reader reader(*values);
///   reader.size("memory", options.memory_bytes);
///   if (!reader.status()) return fail(reader.status().error());
struct Option {
  std::string name;           ///< "memory" for --memory; one letter, "k", for an option that is -k
  char letter = 0;            ///< its short form: 'h' for -h; 0: none
  std::string argument = {};  ///< what the help calls its value: "SIZE"; empty: it is a switch
  std::string help = {};
  std::string fallback = {};  ///< its value if it is not given, as one would type it
  bool repeats = false;       ///< all its values count; of any other option the last one does
};

/// What a user types: "--memory", "-k".
std::string spelled(std::string_view name);

/// The part of a help text that lists options, wrapped at 80 columns, with their defaults.
std::string describe(std::span<const Option> options);

/// The name that is most like a mistyped one; nothing if none is much like it.
std::optional<std::string> nearest(std::string_view typed, std::span<const std::string> names);
/// ": did you mean --memory?", or nothing. Ends a message about an unknown name.
std::string suggestion(std::string_view typed, std::span<const std::string> names,
                       const std::function<std::string(std::string_view)>& shown);

/// What was given of a table of options, and where: on a command line, or in another source.
class Values {
 public:
  explicit Values(std::span<const Option> options);

  /// Takes a value that another source than the command line gives. `place` begins the messages
  /// about it ("a.toml:3: memory"). Takes the place of an earlier value unless the option repeats.
  /// Refuses a switch that is neither "true" nor "false". The option must be one of the table.
  Status give(std::string_view name, std::string text, std::string place);
  /// Takes from another source each option that is not given here.
  void complete(const Values& weaker);

  /// Whether an option was given; of a switch, whether it is on.
  bool has(std::string_view name) const;
  /// Its value, else its fallback, which may be empty.
  std::string text(std::string_view name) const;
  /// All values of an option that repeats.
  std::vector<std::string> all(std::string_view name) const;
  /// What begins a message about the option: where it was given.
  std::string place(std::string_view name) const;
  /// The arguments that are no options, in their order.
  const std::vector<std::string>& words() const { return words_; }
  const std::vector<Option>& options() const { return options_; }

 private:
  friend Result<Values> parse(std::span<const Option> options,
                              std::span<const std::string> arguments);
  struct Given {
    std::vector<std::string> texts;
    std::string place;
  };
  std::size_t index_of(std::string_view name) const;

  std::vector<Option> options_;
  std::vector<Given> given_;  ///< one for each option
  std::vector<std::string> words_;
};

/// Reads a command line without the program's name. Options may stand before and after words;
/// --name=value and --name value are the same; what reads as a number is a word, with or without a
/// minus; after "--" there are only words. An option given twice has its last value, so that a
/// script can put its user's options behind its own. kInvalidArgument names an option without its
/// value, and of an unknown one the option that is most like it.
Result<Values> parse(std::span<const Option> options, std::span<const std::string> arguments);

/// The number that all of the text is, with a sign or without; nothing if it is none.
std::optional<double> as_number(std::string_view text);
/// A whole number between two bounds; the error quotes the text and names them.
Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least,
                                  std::uint64_t greatest);
/// The parts of a text between commas, empty ones included.
std::vector<std::string> split(std::string_view text);

/// Names for values: {{"text", Format::kText}, {"json", Format::kJson}}.
template <typename T, std::size_t N>
using Names = std::array<std::pair<std::string_view, T>, N>;

/// The value that a name stands for; the error lists the names.
template <typename T, std::size_t N>
Result<T> parse_name(std::string_view text, const Names<T, N>& names) {
  std::string all;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  return fail(ErrorCode::kInvalidArgument, "'" + std::string(text) + "' is none of " + all);
}

/// Moves values to their places, and remembers the first error, whose message begins with where
/// the value was given. What is neither given nor has a fallback leaves its place as it is.
class Reader {
 public:
  explicit Reader(const Values& values) : values_(values) {}

  template <typename T>
  void number(std::string_view name, std::uint64_t least, std::uint64_t greatest, T& into) {
    read(
        name, [&](std::string_view text) { return parse_whole(text, least, greatest); }, into);
  }
  template <typename T, std::size_t N>
  void one_of(std::string_view name, const Names<T, N>& names, T& into) {
    read(
        name, [&](std::string_view text) { return parse_name(text, names); }, into);
  }
  void size(std::string_view name, std::uint64_t& into);
  void duration(std::string_view name, Nanoseconds& into);
  void real(std::string_view name, double& into);
  void text(std::string_view name, std::string& into);
  void toggle(std::string_view name, bool& into) { into = values_.has(name); }

  /// For any other type: `parse` makes a Result of the text.
  template <typename Parse, typename T>
  void read(std::string_view name, const Parse& parse, T& into) {
    const std::string given = values_.text(name);
    if (!status_ || (given.empty() && !values_.has(name))) return;
    auto value = parse(std::string_view(given));
    if (value) {
      into = static_cast<T>(std::move(*value));
    } else {
      refuse(name, value.error().message);
    }
  }
  /// Remembers that the value of an option makes no sense.
  void refuse(std::string_view name, const std::string& why);

  const Values& values() const { return values_; }
  const Status& status() const { return status_; }

 private:
  const Values& values_;
  Status status_;
};

}  // namespace silurus::flags
