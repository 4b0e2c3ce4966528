// SPDX-License-Identifier: Apache-2.0

#include "gate/items.h"

#include <algorithm>
#include <array>
#include <cfloat>
#include <utility>
#include <vector>

#include "common/result.h"
#include "gate/geojson.h"
#include "gate/limits.h"

namespace silurus::gate {
namespace {

constexpr std::array<std::string_view, 7> kParameters = {
    "f", "bbox", "limit", "datetime", "version", "resultType", "page"};

/// What a page is of.
struct Page {
  Collection collection = {};
  std::vector<Area> parts;          ///< areas of the bounding box
  std::optional<Area> extent = {};  ///< box about all entries; nothing: there are none
  std::uint64_t limit = kDefaultPage;
  bool only_hits = false;  ///< nothing but their number
  PageToken begin = {};
  std::string link = {};  ///< address of the page itself, without `page`
};

bool meet(const Area& a, const Area& b) {
  for (std::size_t d = 0; d < 3; ++d) {
    if (a.min[d] > b.max[d] || b.min[d] > a.max[d]) return false;
  }
  return true;
}

/// What two boxes that meet have in common.
Area common_of(const Area& a, const Area& b) {
  Area area;
  for (std::size_t d = 0; d < 3; ++d) {
    area.min[d] = std::max(a.min[d], b.min[d]);
    area.max[d] = std::min(a.max[d], b.max[d]);
  }
  return area;
}

/// Makes the text of a page, entry by entry.
class ItemsStream : public BodyStream {
 public:
  explicit ItemsStream(Page page)
      : page_(std::move(page)),
        step_(std::clamp(page_.limit, kLeastCell, kMostCell)),
        part_(page_.begin.part) {
    begin_part(page_.begin.place);
  }

  Result<bool> next(Source& source, std::string& into) override {
    if (!is_begun_) into += R"({"type":"FeatureCollection","features":[)";
    is_begun_ = true;
    const std::size_t end = into.size() + kPieceBytes;
    if (page_.only_hits) {
      finish(into, false);
      return false;
    }
    while (into.size() < end) {
      const auto entry = next_entry(source);
      if (!entry) return fail(entry.error());
      if (*entry == nullptr || returned_ == page_.limit) {
        finish(into, *entry != nullptr);
        return false;
      }
      into += returned_ == 0 ? "\n" : ",\n";
      append_feature(into, **entry, page_.collection.dimensions);
      ++returned_;
      walk_->pop();
    }
    return true;
  }

 private:
  /// Walks the part from `place`, if it has anything in common with the data.
  void begin_part(const Place& place) {
    walk_.reset();
    if (part_ >= page_.parts.size() || !page_.extent) return;
    if (!meet(page_.parts[part_], *page_.extent)) return;
    const Grid grid(common_of(page_.parts[part_], *page_.extent), page_.collection.dimensions);
    walk_.emplace(page_.collection.name, grid, page_.begin.version, place, step_);
  }

  Result<const Entry<3>*> next_entry(Source& source) {
    while (part_ < page_.parts.size()) {
      while (walk_) {
        auto entry = walk_->peek(source);
        if (!entry) return entry;
        if (*entry == nullptr) break;
        // What reaches into the first part as well has been there.
        if (part_ == 0 || !meet((*entry)->box, page_.parts[0])) return entry;
        walk_->pop();
      }
      ++part_;
      begin_part(CellWalk::begin(page_.begin.matched, step_));
    }
    return nullptr;
  }

  void finish(std::string& into, bool has_more) const {
    into += "\n],\"numberMatched\":" + std::to_string(page_.begin.matched);
    into += ",\"numberReturned\":" + std::to_string(returned_);
    into += ",\"version\":" + std::to_string(page_.begin.version);
    into +=
        R"(,"links":[{"rel":"self","type":"application/geo+json","href":")" + page_.link + "\"}";
    if (has_more) {
      const PageToken token{.version = page_.begin.version,
                            .matched = page_.begin.matched,
                            .part = part_,
                            .place = walk_->place()};
      into += R"(,{"rel":"next","type":"application/geo+json","href":")" + page_.link +
              "&page=" + to_text(token) + "\"}";
    }
    into += "]}\n";
  }

  const Page page_;
  const std::uint64_t step_;
  std::uint64_t part_;
  std::optional<CellWalk> walk_;
  std::uint64_t returned_ = 0;
  bool is_begun_ = false;
};

HttpAnswer problem_of(const WrongParameter& wrong) {
  return problem(400, wrong.name + ": " + wrong.why, wrong.name);
}

HttpAnswer problem_at(const Error& error, const char* parameter) {
  if (!is_gone(error)) return problem(error);
  return problem(410, error.message + "; begin again without 'page'", parameter);
}

/// Entries that reach into both parts of a bounding box that wraps: they lie across everything
/// between these, so one line there finds them.
Result<std::uint64_t> count_in_both(Source& source, const Page& page, Version version) {
  Area line = page.parts[0];
  line.min[0] = line.max[0] = page.parts[1].max[0];
  const auto found =
      source.range(page.collection.name, line, {.limit = kMostOverSeam + 1, .as_of = version});
  if (!found) return fail(found.error());
  if (found->count > kMostOverSeam) {
    return fail(ErrorCode::kTooLarge, "too many boxes reach around the bounding box");
  }
  return static_cast<std::uint64_t>(
      std::count_if(found->entries.begin(), found->entries.end(), [&](const Entry<3>& entry) {
        return meet(entry.box, page.parts[0]) && meet(entry.box, page.parts[1]);
      }));
}

/// Finds out the version and how many entries there are, for the first page.
Status count_matches(Source& source, Page& page, Moment as_of) {
  std::uint64_t matched = 0;
  Version version = 0;
  for (const Area& part : page.parts) {
    const auto found =
        source.range(page.collection.name, part,
                     {.shape = ResultShape::kCount, .as_of = version == 0 ? as_of : version});
    if (!found) return fail(found.error());
    matched += found->count;
    version = found->version;
  }
  if (page.parts.size() == 2) {
    const auto both = count_in_both(source, page, version);
    if (!both) return fail(both.error());
    matched -= *both;
  }
  page.begin = {.version = version, .matched = matched};
  page.begin.place = CellWalk::begin(matched, std::clamp(page.limit, kLeastCell, kMostCell));
  return {};
}

Parsed<Page> parse(const Target& target, const std::string& base, const Collection& collection) {
  if (const auto unknown = find_unknown(target, kParameters)) {
    return tl::unexpected<WrongParameter>(*unknown);
  }
  Page page;
  page.collection = collection;
  const auto limit = parse_limit(target, kDefaultPage, kMaxPage);
  if (!limit) return tl::unexpected<WrongParameter>(limit.error());
  page.limit = *limit;
  page.link = base + "/collections/" + percent_encoded(collection.name) +
              "/items?f=json&limit=" + std::to_string(page.limit);
  if (const auto text = target.find("bbox")) {
    auto bbox = parse_bbox(*text, collection.dimensions);
    if (!bbox) return tl::unexpected<WrongParameter>(bbox.error());
    page.parts = std::move(bbox->parts);
    page.link += "&bbox=" + percent_encoded(*text);
  } else {
    Area all;
    for (int d = 0; d < collection.dimensions; ++d) all.min[d] = -DBL_MAX, all.max[d] = DBL_MAX;
    page.parts = {all};
  }
  const auto type = target.find("resultType").value_or("results");
  if (type != "hits" && type != "results") {
    return tl::unexpected<WrongParameter>(
        WrongParameter{"resultType", "it has to be hits or results"});
  }
  page.only_hits = type == "hits";
  return page;
}

}  // namespace

Result<std::optional<Area>> Extents::of(Source& source, const std::string& collection,
                                        int dimensions, Version version) {
  {
    const std::lock_guard lock(mutex_);
    for (const Known& known : known_) {
      if (known.version == version && known.collection == collection) return known.extent;
    }
  }
  auto extent = find_extent(source, collection, dimensions, version);
  if (!extent) return extent;
  const std::lock_guard lock(mutex_);
  if (known_.size() == kKept) known_.pop_front();
  known_.push_back({collection, version, *extent});
  return extent;
}

HttpAnswer answer_items(const Target& target, const std::string& base, const Collection& collection,
                        Source& source, Extents& extents) {
  auto page = parse(target, base, collection);
  if (!page) return problem_of(page.error());
  const auto as_of = parse_moment_of(target);
  if (!as_of) return problem_of(as_of.error());
  for (const char* name : {"datetime", "version"}) {
    if (const auto text = target.find(name)) {
      page->link += "&" + std::string(name) + "=" + percent_encoded(*text);
    }
  }
  if (const auto text = target.find("page")) {
    const auto token = parse_page(*text);
    if (!token) return problem_of(token.error());
    page->begin = *token;
  } else if (const Status ok = count_matches(source, *page, *as_of); !ok) {
    if (ok.error().code == ErrorCode::kNotFound && *as_of != 0) {
      return problem(410, ok.error().message, target.find("version") ? "version" : "datetime");
    }
    return problem(ok.error());
  }
  if (!page->only_hits) {
    const auto extent =
        extents.of(source, collection.name, collection.dimensions, page->begin.version);
    if (!extent) return problem_at(extent.error(), "page");
    page->extent = *extent;
  }
  const std::string version = std::to_string(page->begin.version);
  HttpAnswer answer{.type = "application/geo+json", .headers = {{"Silurus-Version", version}}};
  answer.stream = std::make_unique<ItemsStream>(std::move(*page));
  // The first piece now, so that what fails at once can be told.
  const auto more = answer.stream->next(source, answer.body);
  if (!more) return problem_at(more.error(), "page");
  if (!*more) answer.stream.reset();
  return answer;
}

}  // namespace silurus::gate
