// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "common/result.h"

namespace silurus::geometry {

/// Most bytes of an expression, and deepest nesting of parentheses and "not" in it.
inline constexpr std::size_t kMaxWhere = 4096;
inline constexpr int kMaxWhereDepth = 32;

/// A condition on the top-level properties of a record.
///
///   auto where = Where::parse("population > 100000 and kind in ('port', 'city')");
///   if (!where) return fail(where.error());  // "column 14: expected a value, got ..."
///   where->matches(nlohmann::json::parse(properties));
///
///   or         = and {"or" and}
///   and        = not {"and" not}
///   not        = "not" not | "(" or ")" | condition
///   condition  = value ("=" | "!=" | "<" | "<=" | ">" | ">=") value
///              | value ["not"] "in" "(" literal {"," literal} ")"
///              | value "is" ["not"] "null"
///   value      = name | literal
///   literal    = number | string | "true" | "false"
///
/// A name is of letters, digits and _ and begins with no digit, or stands in backquotes; a string
/// in single or double quotes. Such a quote is written twice inside. Words are in any case, names
/// as they are.
///
/// Three values, as in SQL: a comparison with a property that is null or missing is unknown, and so
/// is what "and", "or" and "not" cannot tell without it; an unknown whole does not match. Values of
/// different kinds (a number and a string, say) are no error: no comparison of them holds, "!="
/// neither. Arrays and objects compare with nothing. Numbers compare by value, integers up to 64
/// bits exactly; strings by their bytes; of true and false, only "=" and "!=" hold.
///
/// Immutable value, cheap to copy; any thread.
class Where {
 public:
  /// kInvalidArgument with the column (in bytes, from 1 on) and what was expected there; kTooLarge
  /// beyond a limit.
  static Result<Where> parse(std::string_view text);

  /// `properties` is an object; all else is taken for one without members.
  bool matches(const nlohmann::json& properties) const;

 private:
  friend class WhereParser;
  struct Node;
  explicit Where(std::shared_ptr<const Node> root) : root_(std::move(root)) {}

  std::shared_ptr<const Node> root_;
};

}  // namespace silurus::geometry
