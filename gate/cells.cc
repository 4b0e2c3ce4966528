// SPDX-License-Identifier: Apache-2.0

#include "gate/cells.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <tuple>

#include "common/result.h"
#include "gate/limits.h"

namespace silurus::gate {
namespace {

bool is_before(const Entry<3>& a, const Entry<3>& b) {
  return std::tie(a.id, a.box.min, a.box.max) < std::tie(b.id, b.box.min, b.box.max);
}

double middle(double low, double high) { return low + (high / 2 - low / 2); }

/// Doubles in their order as whole numbers, so that halving goes through all magnitudes.
std::uint64_t rank_of(double number) {
  const auto bits = std::bit_cast<std::uint64_t>(number);
  return (bits >> 63) != 0 ? ~bits : bits | (std::uint64_t{1} << 63);
}
double of_rank(std::uint64_t rank) {
  const bool is_positive = (rank >> 63) != 0;
  return std::bit_cast<double>(is_positive ? rank & ~(std::uint64_t{1} << 63) : ~rank);
}

Area everything() {
  Area all;
  all.min.fill(-DBL_MAX);
  all.max.fill(DBL_MAX);
  return all;
}

/// The greatest value of a side that all entries are beyond or at: of `lower` sides the largest x
/// such that no entry reaches below it, of upper ones the mirror image.
Result<double> find_side(Source& source, const std::string& collection, Version version, int d,
                         bool lower) {
  std::uint64_t least = rank_of(-DBL_MAX);
  std::uint64_t greatest = rank_of(DBL_MAX);
  while (least < greatest) {
    Area probe = everything();
    const std::uint64_t half = least + (greatest - least) / 2;
    // Is there an entry at or below `half` (or, of an upper side, above it)?
    if (lower) {
      probe.max[d] = of_rank(half);
    } else {
      probe.min[d] = of_rank(half + 1);
    }
    const auto found = source.range(collection, probe,
                                    {.shape = ResultShape::kCount, .limit = 1, .as_of = version});
    if (!found) return fail(found.error());
    if ((found->count > 0) == lower) {
      greatest = half;
    } else {
      least = half + 1;
    }
  }
  return of_rank(least);
}

}  // namespace

Area Grid::cell(std::uint64_t code, int depth) const {
  Area area = window_;
  for (int level = 0; level < depth; ++level) {
    const int d = level % dimensions_;
    const double half = middle(area.min[d], area.max[d]);
    const bool is_upper = ((code >> (kMaxDepth - 1 - level)) & 1) != 0;
    (is_upper ? area.min : area.max)[d] = half;
  }
  return area;
}

std::uint64_t Grid::code_of(const Area& box) const {
  Area area = window_;
  std::uint64_t code = 0;
  for (int level = 0; level < kMaxDepth; ++level) {
    const int d = level % dimensions_;
    const double half = middle(area.min[d], area.max[d]);
    const bool is_upper = std::max(box.min[d], window_.min[d]) >= half;
    code = code << 1 | (is_upper ? 1 : 0);
    (is_upper ? area.min : area.max)[d] = half;
  }
  return code;
}

bool is_place(const Place& place) {
  return place.depth >= 0 && place.depth <= kMaxDepth && place.code < kEndOfCodes &&
         place.code % codes_within(place.depth) == 0;
}

Place CellWalk::begin(std::uint64_t total, std::uint64_t step) {
  const auto cells =
      static_cast<std::uint64_t>(std::bit_width(total / std::max<std::uint64_t>(step / 2, 1)));
  return {
      .code = 0, .depth = static_cast<int>(std::min<std::uint64_t>(cells, kMaxDepth)), .skip = 0};
}

Result<const Entry<3>*> CellWalk::peek(Source& source) {
  while (at_.code < kEndOfCodes || is_held_) {
    if (!is_held_) {
      if (const Status ok = fetch(source); !ok) return fail(ok.error());
    }
    if (at_.skip < cell_.size()) return &cell_[at_.skip];
    advance(found_);
  }
  return nullptr;
}

void CellWalk::pop() { ++at_.skip; }

Place CellWalk::place() const { return at_; }

/// Whether halving a cell that has too many entries parts them: boxes that reach over both halves
/// are found in both, however often the cell is halved.
Result<bool> CellWalk::is_worth_splitting(Source& source, std::uint64_t code, int depth) {
  if (depth >= kMaxDepth) return false;
  const Search search{.shape = ResultShape::kCount, .as_of = version_};
  const auto all = source.range(collection_, grid_.cell(code, depth), search);
  if (!all) return fail(all.error());
  const std::uint64_t upper = code + codes_within(depth + 1);
  const auto first = source.range(collection_, grid_.cell(code, depth + 1), search);
  if (!first) return fail(first.error());
  const auto second = source.range(collection_, grid_.cell(upper, depth + 1), search);
  if (!second) return fail(second.error());
  return first->count + second->count <= all->count + all->count / 2;
}

/// Takes the cell of the place; halves it first while it has too many entries. A cell in which a
/// page ended is taken as it was then, so that what is skipped is the same.
Status CellWalk::fetch(Source& source) {
  for (;;) {
    Search search{.limit = 2 * step_ + 1, .as_of = version_};
    auto found = source.range(collection_, grid_.cell(at_.code, at_.depth), search);
    if (!found) return fail(found.error());
    if (found->count > 2 * step_) {
      bool splits = false;
      if (at_.skip == 0) {
        const auto worth = is_worth_splitting(source, at_.code, at_.depth);
        if (!worth) return fail(worth.error());
        splits = *worth;
      }
      if (splits) {
        ++at_.depth;
        continue;
      }
      search.limit = kMostInOnePlace + 1;
      found = source.range(collection_, grid_.cell(at_.code, at_.depth), search);
      if (!found) return fail(found.error());
      if (found->count > kMostInOnePlace) {
        return fail(ErrorCode::kTooLarge,
                    "more than " + std::to_string(kMostInOnePlace) + " entries lie in one place");
      }
    }
    found_ = found->count;
    cell_ = std::move(found->entries);
    std::erase_if(cell_, [&](const Entry<3>& entry) {
      const std::uint64_t code = grid_.code_of(entry.box);
      return code < at_.code || code - at_.code >= codes_within(at_.depth);
    });
    std::sort(cell_.begin(), cell_.end(), is_before);
    is_held_ = true;
    return {};
  }
}

/// To the next cell, which is larger if this one had few entries.
void CellWalk::advance(std::uint64_t found) {
  at_.code += codes_within(at_.depth);
  at_.skip = 0;
  const bool begins_larger = at_.depth > 0 && at_.code % codes_within(at_.depth - 1) == 0;
  if (begins_larger && found < step_ / 4) --at_.depth;
  is_held_ = false;
}

Result<std::optional<Area>> find_extent(Source& source, const std::string& collection,
                                        int dimensions, Version version) {
  const auto any = source.range(collection, everything(),
                                {.shape = ResultShape::kCount, .limit = 1, .as_of = version});
  if (!any) return fail(any.error());
  if (any->count == 0) return std::optional<Area>();
  Area extent;
  for (int d = 0; d < dimensions; ++d) {
    for (const bool lower : {true, false}) {
      const auto side = find_side(source, collection, version, d, lower);
      if (!side) return fail(side.error());
      (lower ? extent.min : extent.max)[d] = *side;
    }
  }
  return std::optional<Area>(extent);
}

}  // namespace silurus::gate
