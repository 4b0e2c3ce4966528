// SPDX-License-Identifier: Apache-2.0

#include "client/tool/records.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "geometry/geojson.h"
#include "geometry/record.h"
#include "geometry/wkb.h"
#include "geometry/wkt.h"
#include "silurus/geometry.h"

namespace silurus::tool {
namespace {

/// The word, or what is in the file that it names; `what` names it in errors.
Result<std::string> content_of(const std::string& word, const std::string& what) {
  if (word.empty() || word.front() != '@') return word;
  std::ifstream file(word.substr(1), std::ios::binary);
  std::string content{std::istreambuf_iterator<char>(file), {}};
  if (file.is_open() && !file.bad()) return content;
  return fail(ErrorCode::kNotFound, what + ": cannot read " + word.substr(1));
}

Result<geometry::Geometry> geometry_of(const std::string& wkb) {
  return geometry::read_wkb(std::as_bytes(std::span(wkb)), geometry::Checks::kForm);
}

}  // namespace

Result<Record> record_of(const std::string& geometry, const std::string& properties) {
  Record record;
  const auto geometry_text = content_of(geometry, "--geometry");
  if (!geometry_text) return fail(geometry_text.error());
  if (!geometry_text->empty()) {
    auto read = geometry_of_text(*geometry_text);
    if (!read) return fail(read.error().code, "--geometry: " + read.error().message);
    record.geometry = std::move(*read);
  }
  auto properties_text = content_of(properties, "--properties");
  if (!properties_text) return fail(properties_text.error());
  record.properties = std::move(*properties_text);
  return record;
}

std::string record_as_json(const Record& record) {
  if (record.empty()) return "null";
  const auto geometry = geometry_of(record.geometry);
  return R"({"geometry": )" +
         (record.geometry.empty() || !geometry ? "null" : geometry::write_geojson(*geometry)) +
         R"(, "properties": )" + (record.properties.empty() ? "null" : record.properties) + "}";
}

std::string record_as_text(const Record& record) {
  std::string text;
  const auto geometry = geometry_of(record.geometry);
  if (!record.geometry.empty() && geometry) text += " " + geometry::write_wkt(*geometry);
  if (!record.properties.empty()) text += " " + record.properties;
  return text;
}

template <int D>
std::string format_features(const GetAnswer<D>& found, Features features) {
  const bool is_one = features == Features::kCollection;
  std::string text = is_one ? R"({"type":"FeatureCollection","features":[)" : "";
  for (std::size_t i = 0; i < found.entries.size(); ++i) {
    geometry::Record record;
    const Record& told = found.records[i];
    auto geometry = geometry_of(told.geometry);
    record.geometry = told.geometry.empty() || !geometry
                          ? geometry::geometry_of(found.entries[i].box)
                          : std::move(*geometry);
    if (!told.properties.empty()) record.properties = told.properties;
    text += (is_one && i != 0 ? "," : "") + geometry::to_feature(found.entries[i].id, record) +
            (is_one ? "" : "\n");
  }
  return text + (is_one ? "]}\n" : "");
}

template std::string format_features(const GetAnswer<2>&, Features);
template std::string format_features(const GetAnswer<3>&, Features);

}  // namespace silurus::tool
