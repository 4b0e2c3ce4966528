// SPDX-License-Identifier: Apache-2.0

#include "gate/service.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>

#include "common/clock.h"
#include "gate/client_source.h"
#include "gate/inspect.h"
#include "gate/limits.h"
#include "gate/pages.h"
#include "gate/tiles.h"

namespace silurus::gate {
namespace {

constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::array<std::string_view, 1> kFormOnly = {"f"};

/// The host of a Host field without its port, in small letters.
std::string name_of(std::string_view host) {
  const std::size_t bracket = host.find(']');
  const std::size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::string name(host.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  return name;
}

/// Whether a Host field can stand in a link: names, numbers, a port.
bool is_host(std::string_view host) {
  return !host.empty() && host.size() < 256 &&
         std::all_of(host.begin(), host.end(), [](unsigned char letter) {
           return std::isalnum(letter) != 0 ||
                  std::string_view(".-_:[]").find(static_cast<char>(letter)) !=
                      std::string_view::npos;
         });
}

/// The form that a client wants: by `f`, else by what it accepts.
Parsed<Form> form_of(const Target& target, const HttpRequest& request) {
  const auto text = target.find("f");
  if (!text) {
    const bool is_browser = request.accept.find("text/html") != std::string::npos &&
                            request.accept.find("json") == std::string::npos;
    return is_browser ? Form::kHtml : Form::kJson;
  }
  if (*text == "json") return Form::kJson;
  if (*text == "html") return Form::kHtml;
  return tl::unexpected<WrongParameter>(WrongParameter{"f", "it has to be json or html"});
}

HttpAnswer not_found() { return problem(404, "there is nothing at this path"); }

HttpAnswer wrong_parameter(const WrongParameter& wrong) {
  return problem(400, wrong.name + ": " + wrong.why, wrong.name);
}

/// The file of the page that is asked for, if one is. "/" is the page for browsers; the landing
/// page of the API is for programs, and for people who ask for it (`f=html`).
const WebFile* find_page(const Target& target, const HttpRequest& request) {
  if (target.path.size() > 1) return nullptr;
  if (!target.path.empty()) return find_web_file("/" + target.path[0]);
  const bool is_browser = request.accept.find("text/html") != std::string::npos;
  return is_browser && !target.find("f") ? find_web_file("/") : nullptr;
}

HttpAnswer answer_file(const WebFile& file) {
  HttpAnswer answer{.type = std::string(file.type), .body = std::string(file.text)};
  answer.headers = {{"Content-Security-Policy",
                     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                     "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                     "frame-ancestors 'none'"},
                    {"Referrer-Policy", "no-referrer"},
                    {"Cross-Origin-Opener-Policy", "same-origin"},
                    {"Cache-Control", "no-cache"},
                    {"Vary", "Accept"}};
  return answer;
}

HttpAnswer plain(int status, std::string text) {
  HttpAnswer answer{.status = status, .body = std::move(text)};
  answer.headers.emplace_back("Cache-Control", "no-store");
  return answer;
}

/// A page for people of a page of features, which is made whole: of few.
HttpAnswer items_page(const Target& target, const std::string& base, const Collection& collection,
                      Source& source, Extents& extents) {
  HttpAnswer answer = answer_items(target, base, collection, source, extents);
  if (answer.status != 200) return answer;
  if (answer.stream != nullptr) {
    return problem(400, "limit: a page for people has as many features as fit into one piece",
                   "limit");
  }
  return as_page("Entries of " + collection.name, answer.body);
}

}  // namespace

HttpAnswer Service::answer(const HttpRequest& request, Source& source) {
  const SystemClock clock;
  const Nanoseconds begun = clock.now();
  Route asked = Route::kOther;
  HttpAnswer answer = route(request, source, asked);
  counters_.put(&source, source.statistics());
  counters_.add(asked, answer.status, clock.now() - begun);
  return answer;
}

HttpAnswer Service::route(const HttpRequest& request, Source& source, Route& route) {
  const bool is_named =
      options_.hosts.empty() || std::find(options_.hosts.begin(), options_.hosts.end(),
                                          name_of(request.host)) != options_.hosts.end();
  if (!is_named) {
    return problem(421, "this gate does not serve the host that the request names (--host)");
  }
  const auto target = parse_target(request.target);
  if (!target) return problem(400, target.error().message);
  if (request.method != "GET") {
    HttpAnswer answer = problem(405, "only GET and HEAD are there");
    answer.headers.emplace_back("Allow", "GET, HEAD");
    return answer;
  }
  return answer_target(*target, request, source, route);
}

HttpAnswer Service::answer_target(const Target& target, const HttpRequest& request, Source& source,
                                  Route& route) {
  const std::string first = target.path.empty() ? "" : target.path[0];
  if (target.path.size() == 1) {
    route = Route::kHealth;
    if (first == "healthz") return plain(200, "ok\n");
    if (first == "readyz") return answer_ready(source);
    route = Route::kMetrics;
    if (first == "metrics") return answer_metrics(source);
  }
  if (const WebFile* file = find_page(target, request)) {
    route = Route::kPage;
    return answer_file(*file);
  }
  if (first == "cluster" && target.path.size() == 1) {
    route = Route::kPage;
    return answer_cluster(target, source);
  }
  route = Route::kDocuments;
  if (first == "collections") return answer_collections_at(target, request, source, route);
  if (target.path.size() > 1) return not_found();
  const auto form = form_of(target, request);
  if (!form) return wrong_parameter(form.error());
  if (const auto unknown = find_unknown(target, kFormOnly)) return wrong_parameter(*unknown);
  const std::string base = options_.base_url.empty() ? "http://" + request.host : options_.base_url;
  if (options_.base_url.empty() && !is_host(request.host)) {
    return problem(400, "the request names no host that a link can be made of");
  }
  if (first.empty()) return answer_landing(base, *form);
  if (first == "conformance") return answer_conformance(*form);
  if (first != "api") {
    route = Route::kOther;
    return not_found();
  }
  const auto collections = source.collections();
  if (!collections) return problem(collections.error());
  return answer_api(base, *collections, *form);
}

HttpAnswer Service::answer_collections_at(const Target& target, const HttpRequest& request,
                                          Source& source, Route& route) {
  const auto form = form_of(target, request);
  if (!form) return wrong_parameter(form.error());
  const std::string base = options_.base_url.empty() ? "http://" + request.host : options_.base_url;
  if (options_.base_url.empty() && !is_host(request.host)) {
    return problem(400, "the request names no host that a link can be made of");
  }
  const std::size_t depth = target.path.size();
  const std::string kind = depth > 2 ? target.path[2] : "";
  if (kind == "items") route = Route::kItems;
  if (kind == "tiles") route = Route::kTiles;
  if (depth <= 2) {
    if (const auto unknown = find_unknown(target, kFormOnly)) return wrong_parameter(*unknown);
    const auto collections = source.collections();
    if (!collections) return problem(collections.error());
    if (depth == 1) return answer_collections(base, *collections, *form);
    return answer_one(base, target.path[1], *collections, source, *form);
  }
  const auto found = source.find(target.path[1]);
  if (!found) return problem(found.error());
  if (kind == "items" && depth == 3) {
    return *form == Form::kHtml ? items_page(target, base, *found, source, extents_)
                                : answer_items(target, base, *found, source, extents_);
  }
  if (kind == "items" && depth == 4) {
    return problem(501,
                   "ids of this collection need not be unique, and there is no index of them: "
                   "search by bbox");
  }
  if (depth == 3) {
    route = Route::kPage;
    if (kind == "versions") return answer_versions(target, *found, source);
    if (kind == "ways") return answer_ways(target, *found, source);
    if (kind == "changes") return answer_changes(target, *found, source);
    route = Route::kDocuments;
  }
  if (kind == "tiles" && depth == 6) return answer_tile(target, request, *found, source);
  return not_found();
}

HttpAnswer Service::answer_one(const std::string& base, const std::string& name,
                               const std::vector<Collection>& collections, Source& source,
                               Form form) {
  for (const Collection& known : collections) {
    if (known.name != name) continue;
    const auto extent = extents_.of(source, known.name, known.dimensions, known.version);
    // Where no versions are kept, a writer may have been faster: then the extent is left out.
    return answer_collection(base, known, extent ? *extent : std::nullopt, form);
  }
  return problem(404, "there is no such collection");
}

HttpAnswer Service::answer_metrics(Source& source) {
  HttpAnswer answer =
      plain(200, render_metrics(source.server_statistics(), kDefaultCollection, http_, counters_));
  answer.type = kMetricsType;
  return answer;
}

HttpAnswer Service::answer_ready(Source& source) {
  const std::string why = not_ready_since(source.server_statistics());
  if (why.empty()) return plain(200, "ready\n");
  HttpAnswer answer = plain(503, "not ready: " + why + "\n");
  answer.headers.emplace_back("Retry-After", std::to_string(kRetryAfterSeconds));
  return answer;
}

}  // namespace silurus::gate
