// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gate/cells.h"
#include "gate/source.h"
#include "silurus/result.h"

// What a client asks for in the target of a request. Pure.

namespace silurus::gate {

/// Path and query of a request, decoded.
struct Target {
  std::vector<std::string> path;  ///< "/collections/default" has two; "/" has none
  std::vector<std::pair<std::string, std::string>> query;

  /// The value of a parameter; nothing if it is not given.
  std::optional<std::string_view> find(std::string_view name) const;
};

/// kInvalidArgument: it does not begin with '/', or %xx is none, or text is no UTF-8.
Result<Target> parse_target(std::string_view text);
/// Text as a part of a path or a query: all but letters, digits and "-._~" as %xx.
std::string percent_encoded(std::string_view text);

/// A parameter that is wrong.
struct WrongParameter {
  std::string name;
  std::string why;
};
template <typename T>
using Parsed = tl::expected<T, WrongParameter>;

/// Boxes of a `bbox` of four or six numbers: one, or two parts if it wraps around the meridian of
/// 180 degrees (its west is greater than its east). With two dimensions the heights of six numbers
/// are left out; with three and four numbers all heights are meant.
struct BoundingBox {
  std::vector<Area> parts;
};
Parsed<BoundingBox> parse_bbox(std::string_view text, int dimensions);

/// `limit`: a whole number from 1; nothing given: `otherwise`; above `most`: that.
Parsed<std::uint64_t> parse_limit(const Target& target, std::uint64_t otherwise,
                                  std::uint64_t most);

/// `datetime`: an instant of RFC 3339, or an interval, whose end counts; "..", and an interval that
/// is open at its end, mean now: 0.
Parsed<Moment> parse_datetime(std::string_view text);

/// The moment that `datetime` or `version` (the number of one) names; 0 if neither is given.
Parsed<Moment> parse_moment_of(const Target& target);

/// Where a page begins: what the `page` of a next link says. It names the version, so that all
/// pages are of the same one.
struct PageToken {
  Version version = 0;
  std::uint64_t matched = 0;  ///< entries of all pages
  std::uint64_t part = 0;     ///< number of a part of the bounding box
  Place place = {};
  friend bool operator==(const PageToken&, const PageToken&) = default;
};
std::string to_text(const PageToken& token);
Parsed<PageToken> parse_page(std::string_view text);

/// The first parameter that is none of `known`.
std::optional<WrongParameter> find_unknown(const Target& target,
                                           std::span<const std::string_view> known);

}  // namespace silurus::gate
