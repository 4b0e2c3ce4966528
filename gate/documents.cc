// SPDX-License-Identifier: Apache-2.0

#include "gate/documents.h"

#include <array>

#include "common/json.h"
#include "gate/limits.h"
#include "gate/target.h"

namespace silurus::gate {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kCrs84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84";
constexpr const char* kCrs84h = "http://www.opengis.net/def/crs/OGC/0/CRS84h";
constexpr const char* kOpenApiType = "application/vnd.oai.openapi+json;version=3.0";
constexpr const char* kGeoJson = "application/geo+json";

Json link(const char* rel, const char* type, const std::string& href, const char* title = "") {
  Json json = {{"rel", rel}, {"type", type}, {"href", href}};
  if (title[0] != 0) json["title"] = title;
  return json;
}

HttpAnswer answer(const char* title, const Json& json, Form form,
                  const char* type = "application/json") {
  const std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (form == Form::kHtml) return as_page(title, text);
  HttpAnswer made;
  made.type = type;
  made.body = text;
  return made;
}

Json describe(const std::string& base, const Collection& collection,
              const std::optional<Area>& extent) {
  const std::string self = base + "/collections/" + percent_encoded(collection.name);
  const bool is_flat = collection.dimensions == 2;
  Json json = {
      {"id", collection.name},
      {"title", collection.name},
      {"description", std::to_string(collection.entries) + " boxes of " +
                          std::to_string(collection.dimensions) + " dimensions, as of version " +
                          std::to_string(collection.version)}};
  if (extent) {
    Json box = Json::array();
    const auto d_count = static_cast<std::size_t>(collection.dimensions);
    for (std::size_t d = 0; d < d_count; ++d) box.push_back(extent->min[d]);
    for (std::size_t d = 0; d < d_count; ++d) box.push_back(extent->max[d]);
    json["extent"] = {
        {"spatial", {{"bbox", Json::array({box})}, {"crs", is_flat ? kCrs84 : kCrs84h}}}};
  }
  json["itemType"] = "feature";
  json["crs"] = {is_flat ? kCrs84 : kCrs84h};
  json["links"] = {link("self", "application/json", self + "?f=json"),
                   link("alternate", "text/html", self + "?f=html"),
                   link("items", kGeoJson, self + "/items?f=json", "the entries"),
                   link("items", "text/html", self + "/items?f=html", "the entries")};
  if (is_flat) {
    json["links"].push_back({{"rel", "item"},
                             {"type", "application/vnd.mapbox-vector-tile"},
                             {"href", self + "/tiles/{z}/{x}/{y}"},
                             {"templated", true}});
  }
  return json;
}

Json parameter(const char* name, const char* description, const Json& schema) {
  return {{"name", name},      {"in", "query"},    {"description", description},
          {"required", false}, {"schema", schema}, {"style", "form"},
          {"explode", false}};
}

Json response(const char* description, const char* type) {
  return {{"description", description}, {"content", {{type, {{"schema", {{"type", "object"}}}}}}}};
}

Json operation(const std::string& id, const char* summary, const char* type,
               const Json& parameters) {
  Json with_form = parameters;
  with_form.push_back(
      parameter("f", "form of the answer", {{"type", "string"}, {"enum", {"json", "html"}}}));
  return {{"get",
           {{"operationId", id},
            {"summary", summary},
            {"parameters", with_form},
            {"responses",
             {{"200", response("the answer", type)},
              {"400", response("a parameter is wrong", "application/problem+json")},
              {"default", response("a problem (RFC 9457)", "application/problem+json")}}}}}};
}

Json item_parameters() {
  const Json numbers = {
      {"type", "array"}, {"minItems", 4}, {"maxItems", 6}, {"items", {{"type", "number"}}}};
  return {
      parameter("bbox", "entries whose box meets this one; west greater than east wraps", numbers),
      parameter(
          "limit", "entries of a page at most",
          {{"type", "integer"}, {"minimum", 1}, {"maximum", kMaxPage}, {"default", kDefaultPage}}),
      parameter("datetime", "the entries of the version that was the newest at this time",
                {{"type", "string"}}),
      parameter("version", "the entries of the version of this number, if it is kept",
                {{"type", "integer"}, {"minimum", 1}}),
      parameter("resultType", "hits: only how many there are",
                {{"type", "string"}, {"enum", {"hits", "results"}}}),
      parameter("page", "where a page begins: of a next link only", {{"type", "string"}})};
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char letter : text) {
    switch (letter) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += letter;
    }
  }
}

/// JSON for a page: what is a link there is one here.
std::string with_links(std::string_view json) {
  std::string out;
  for (std::size_t at = 0; at < json.size();) {
    const std::size_t begin = json.find("\"http", at);
    const std::size_t end = begin == std::string_view::npos ? begin : json.find('"', begin + 1);
    if (end == std::string_view::npos) {
      append_escaped(out, json.substr(at));
      break;
    }
    append_escaped(out, json.substr(at, begin + 1 - at));
    const std::string_view url = json.substr(begin + 1, end - begin - 1);
    out += "<a href=\"";
    append_escaped(out, url);
    out += "\">";
    append_escaped(out, url);
    out += "</a>";
    at = end;
  }
  return out;
}

}  // namespace

HttpAnswer answer_landing(const std::string& base, Form form) {
  const Json json = {
      {"title", "Silurus"},
      {"description", "Boxes of a spatial index, as features (OGC API Features) and tiles"},
      {"links",
       {link("self", "application/json", base + "/?f=json", "this document"),
        link("alternate", "text/html", base + "/?f=html", "this document as a page"),
        link("service-desc", kOpenApiType, base + "/api", "the API"),
        link("service-doc", "text/html", base + "/api?f=html", "the API as a page"),
        link("conformance", "application/json", base + "/conformance", "what is kept to"),
        link("data", "application/json", base + "/collections", "the collections")}}};
  return answer("Silurus", json, form);
}

HttpAnswer answer_conformance(Form form) {
  const std::string features = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/";
  const Json json = {
      {"conformsTo",
       {features + "core", features + "oas30", features + "geojson", features + "html"}}};
  return answer("Conformance", json, form);
}

HttpAnswer answer_api(const std::string& base, const std::vector<Collection>& collections,
                      Form form) {
  Json paths = {
      {"/", operation("getLandingPage", "what there is", "application/json", Json::array())},
      {"/conformance",
       operation("getConformance", "what is kept to", "application/json", Json::array())},
      {"/collections",
       operation("getCollections", "the collections", "application/json", Json::array())}};
  for (const Collection& collection : collections) {
    const std::string path = "/collections/" + percent_encoded(collection.name);
    paths[path] =
        operation("describe." + collection.name, "a collection", "application/json", Json::array());
    paths[path + "/items"] =
        operation("getFeatures." + collection.name, "its entries", kGeoJson, item_parameters());
  }
  const Json json = {
      {"openapi", "3.0.3"},
      {"info",
       {{"title", "Silurus"}, {"version", SILURUS_VERSION}, {"license", {{"name", "Apache-2.0"}}}}},
      {"servers", {{{"url", base}}}},
      {"paths", paths}};
  return answer("The API", json, form, kOpenApiType);
}

HttpAnswer answer_collections(const std::string& base, const std::vector<Collection>& collections,
                              Form form) {
  Json list = Json::array();
  for (const Collection& collection : collections) {
    list.push_back(describe(base, collection, std::nullopt));
  }
  const Json json = {{"links",
                      {link("self", "application/json", base + "/collections?f=json"),
                       link("alternate", "text/html", base + "/collections?f=html"),
                       link("service-desc", kOpenApiType, base + "/api", "the API")}},
                     {"collections", list}};
  return answer("Collections", json, form);
}

HttpAnswer answer_collection(const std::string& base, const Collection& collection,
                             const std::optional<Area>& extent, Form form) {
  return answer(collection.name.c_str(), describe(base, collection, extent), form);
}

HttpAnswer as_page(const std::string& title, const std::string& json) {
  HttpAnswer made;
  made.type = "text/html; charset=utf-8";
  made.headers = {{"Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}};
  made.body = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; font-size: .85rem; }
</style>
<title>)";
  append_escaped(made.body, title);
  made.body += "</title>\n<main>\n<h1>";
  append_escaped(made.body, title);
  made.body += "</h1>\n<pre tabindex=\"0\">" + with_links(json) + "</pre>\n</main>\n</html>\n";
  return made;
}

}  // namespace silurus::gate
