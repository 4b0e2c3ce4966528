// SPDX-License-Identifier: Apache-2.0

#include "gate/http.h"

#include <array>

#include "common/json.h"
#include "gate/limits.h"

namespace silurus::gate {
namespace {

constexpr std::array<std::pair<int, std::string_view>, 15> kReasons{{{200, "OK"},
                                                                     {204, "No Content"},
                                                                     {304, "Not Modified"},
                                                                     {400, "Bad Request"},
                                                                     {404, "Not Found"},
                                                                     {405, "Method Not Allowed"},
                                                                     {406, "Not Acceptable"},
                                                                     {408, "Request Timeout"},
                                                                     {410, "Gone"},
                                                                     {413, "Content Too Large"},
                                                                     {414, "URI Too Long"},
                                                                     {421, "Misdirected Request"},
                                                                     {431, "Header Too Large"},
                                                                     {501, "Not Implemented"},
                                                                     {503, "Service Unavailable"}}};

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return 400;
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kUnsupported:
      return 501;
    case ErrorCode::kUnavailable:
    case ErrorCode::kConnectionLost:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kNotPrimary:
    case ErrorCode::kMoved:
      return 503;
    default:
      return 500;
  }
}

}  // namespace

std::string_view reason_of(int status) {
  for (const auto& [known, reason] : kReasons) {
    if (known == status) return reason;
  }
  return "Internal Server Error";
}

HttpAnswer problem(int status, const std::string& detail, const std::string& parameter) {
  nlohmann::ordered_json json = {{"type", "about:blank"},
                                 {"title", reason_of(status)},
                                 {"status", status},
                                 {"detail", detail}};
  if (!parameter.empty()) json["parameter"] = parameter;
  HttpAnswer answer{.status = status,
                    .type = "application/problem+json",
                    .headers = {{"Cache-Control", "no-store"}},
                    .body = json_text(json) + "\n"};
  if (status == 503) answer.headers.emplace_back("Retry-After", std::to_string(kRetryAfterSeconds));
  return answer;
}

HttpAnswer problem(const Error& error) { return problem(status_of(error.code), error.message); }

}  // namespace silurus::gate
