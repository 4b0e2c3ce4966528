// SPDX-License-Identifier: Apache-2.0

#include "readers/request.h"

#include <array>
#include <utility>

namespace silurus::readers {
namespace {

constexpr std::array<std::pair<std::string_view, As>, 3> kForms = {
    {{"boxes", As::kBoxes}, {"points", As::kPoints}, {"segments", As::kSegments}}};

/// Takes an argument "name=value".
Status take_argument(std::string_view name, std::string_view value, Request& request) {
  if (name == "layer") {
    request.layer = value;
  } else if (name == "where") {
    request.where = value;
  } else if (name == "id") {
    request.id = value;
  } else if (name == "as") {
    const auto as = parse_as(value);
    if (!as) return fail(as.error());
    request.as = *as;
  } else if (name == "dimensions" && (value == "2" || value == "3")) {
    request.dimensions = value[0] - '0';
  } else if (name == "skip-bad" && value == "yes") {
    request.skip_bad = true;
  } else {
    return fail(ErrorCode::kInvalidArgument,
                "unknown argument " + std::string(name) + "=" + std::string(value));
  }
  return {};
}

}  // namespace

std::string_view name_of(As as) {
  for (const auto& [name, form] : kForms) {
    if (form == as) return name;
  }
  return {};
}

Result<As> parse_as(std::string_view name) {
  for (const auto& [known, form] : kForms) {
    if (known == name) return form;
  }
  return fail(ErrorCode::kInvalidArgument,
              "'" + std::string(name) + "' is none of boxes, points, segments");
}

std::vector<std::string> to_arguments(const Request& request) {
  std::vector<std::string> arguments = {request.path};
  if (request.dimensions != 2) {
    arguments.push_back("dimensions=" + std::to_string(request.dimensions));
  }
  if (!request.layer.empty()) arguments.push_back("layer=" + request.layer);
  if (!request.where.empty()) arguments.push_back("where=" + request.where);
  if (!request.id.empty()) arguments.push_back("id=" + request.id);
  if (request.as != As::kBoxes) arguments.push_back("as=" + std::string(name_of(request.as)));
  if (request.skip_bad) arguments.emplace_back("skip-bad=yes");
  return arguments;
}

Result<Request> parse_request(const std::vector<std::string>& arguments) {
  if (arguments.empty()) return fail(ErrorCode::kInvalidArgument, "no file is named");
  Request request{.path = arguments[0]};
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view argument = arguments[i];
    const std::size_t equals = argument.find('=');
    if (equals == std::string_view::npos) {
      return fail(ErrorCode::kInvalidArgument,
                  "'" + arguments[i] + "' is not of the form name=value");
    }
    const auto ok = take_argument(argument.substr(0, equals), argument.substr(equals + 1), request);
    if (!ok) return fail(ok.error());
  }
  return request;
}

}  // namespace silurus::readers
