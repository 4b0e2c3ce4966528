// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/peers/agreement.h"
#include "common/result.h"
#include "rtree/geometry.h"

namespace silurus::bench {

/// What is asked of all systems alike.
struct PeerQuery {
  rtree::Box<2> window;  ///< a search for neighbours: the point, as both corners
  std::uint32_t k = 0;   ///< that many nearest neighbours; 0: all in the window

  rtree::Point<2> point() const { return {window.min}; }
};

/// Ids; of neighbours nearest first.
using PeerAnswer = std::vector<std::uint64_t>;

/// A client of one system: a connection, or a call into a library. One thread.
class PeerSession {
 public:
  virtual ~PeerSession() = default;
  /// Sends queries, all at once if the system can; the queries stay until finish().
  virtual Status begin(std::span<const PeerQuery> queries) = 0;
  /// Waits for their answers, one each.
  virtual Status finish(std::span<PeerAnswer> answers) = 0;
};

/// What is to be known of a system before it is asked.
struct PeerTraits {
  std::string title;      ///< "Redis GEO 7.0.15"
  bool embedded = false;  ///< a library: no second process, one client, one query at a time
  bool pipelines = true;  ///< takes several queries of one client at once
  bool nearest = true;    ///< finds k nearest neighbours
  Rounding rounding = Rounding::kNone;
};

/// A system with boxes in it; what it runs ends with it.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual const PeerTraits& traits() const = 0;
  /// Once, before the first session.
  virtual Status load(std::span<const rtree::Entry<2>> entries) = 0;
  virtual Result<std::unique_ptr<PeerSession>> connect() = 0;
  /// CPU time that its own processes have used; 0 for a library, whose time is its caller's.
  virtual double cpu_seconds() const { return 0; }
};

/// Where a system that is started may live.
struct PeerPlace {
  std::string folder;     ///< exists; for its files and sockets
  std::vector<int> cpus;  ///< for its processes
};

/// A kind of system to compare with.
struct PeerKind {
  std::string name;  ///< "redis": of rows and options
  /// kUnsupported and kNotFound: it isn't installed, or this program was built without it.
  Result<std::unique_ptr<Peer>> (*start)(const PeerPlace& place);
};

/// All kinds there are, whether installed or not.
const std::vector<PeerKind>& peer_kinds();

// Each in a source file of its own, or in one that says that it is missing.
Result<std::unique_ptr<Peer>> start_boost(const PeerPlace& place);
Result<std::unique_ptr<Peer>> start_geos(const PeerPlace& place);
Result<std::unique_ptr<Peer>> start_postgis(const PeerPlace& place);
Result<std::unique_ptr<Peer>> start_redis(const PeerPlace& place);
Result<std::unique_ptr<Peer>> start_spatialindex(const PeerPlace& place);
Result<std::unique_ptr<Peer>> start_sqlite(const PeerPlace& place);

}  // namespace silurus::bench
