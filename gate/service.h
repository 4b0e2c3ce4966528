// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "gate/documents.h"
#include "gate/http.h"
#include "gate/http_server.h"
#include "gate/items.h"
#include "gate/metrics.h"
#include "gate/target.h"

namespace silurus::gate {

struct ServiceOptions {
  /// What links begin with, "https://maps.example.org"; empty: "http://" and the host that the
  /// client has named.
  std::string base_url = {};
  /// Hosts that a client may name, in small letters; empty: any. A gate on a loopback address takes
  /// its own names alone: a page of another site cannot reach it by a name that it has pointed at
  /// this machine (DNS rebinding).
  std::vector<std::string> hosts = {};
};

/// Answers requests: finds out what is asked for, and counts. Any thread.
class Service {
 public:
  Service(ServiceOptions options, HttpCounters& http) : options_(std::move(options)), http_(http) {}

  HttpAnswer answer(const HttpRequest& request, Source& source);
  GateCounters& counters() { return counters_; }

 private:
  HttpAnswer route(const HttpRequest& request, Source& source, Route& route);
  HttpAnswer answer_target(const Target& target, const HttpRequest& request, Source& source,
                           Route& route);
  HttpAnswer answer_collections_at(const Target& target, const HttpRequest& request, Source& source,
                                   Route& route);
  HttpAnswer answer_one(const std::string& base, const std::string& name,
                        const std::vector<Collection>& collections, Source& source, Form form);
  HttpAnswer answer_metrics(Source& source);
  HttpAnswer answer_ready(Source& source);

  const ServiceOptions options_;
  HttpCounters& http_;
  GateCounters counters_;
  Extents extents_;
};

}  // namespace silurus::gate
