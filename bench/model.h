// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

// What `silurus-bench plan` is told of machines, and `silurus-bench calibrate` of this one: small
// TOML files, checked on reading. An error names the file, the key and what is expected: a number
// that is missing, negative, not finite, out of its range, of the wrong type, or not known at all.

namespace silurus::bench {

/// Cards, network and hosts of a cluster (bench/models/*.toml). All hosts have the same card.
struct PlanModel {
  std::string name;  ///< name of the model in its file, for tables: "100 Gb/s InfiniBand"

  struct Network {
    double bytes_per_second = 0;       ///< rate of one card's port, each way
    double one_way_us = 0;             ///< from card to card, the switch included
    double packet_bytes = 0;           ///< what a packet carries at most
    double packet_overhead_bytes = 0;  ///< headers, checksums and gaps of each
  } network;
  struct Card {
    double cards = 1;  ///< in each server
    bool one_sided = false;
    double reads_per_second = 0;     ///< one-sided reads that one card answers
    double messages_per_second = 0;  ///< that one card sends and receives, together
    double read_us = 0;              ///< for a read to fetch from its host's memory
  } card;
  struct Host {
    double server_cores = 0;
    double core_speed = 1;  ///< a core's, where 1 is one of the machine that costs were measured on
  } host;
  /// What the transport costs a core. With `calibrated`, what `calibrate` measured of TCP.
  struct Cpu {
    bool calibrated = false;
    double send_ns = 0;      ///< handing over a message
    double receive_ns = 0;   ///< taking one
    double byte_ns = 0;      ///< sending or receiving, per byte
    double doorbell_ns = 0;  ///< ringing for any number of messages or reads
    double post_read_ns = 0;
    double complete_read_ns = 0;
  } cpu;
};

/// What Silurus' own work costs a core of the machine that was measured: what `calibrate` writes.
struct PlanCosts {
  std::string machine;  ///< "2 cores of AMD EPYC"

  struct Server {
    double sweep_ns = 0;    ///< one sweep of a worker that finds nothing
    double request_ns = 0;  ///< a search message in and its answer out, without tree or transport
    double result_ns = 0;   ///< each result in the answer, beside that
    double write_ns = 0;    ///< a write message in and its answer out
  } server;
  /// A range search of the tree: alone, and as one of several interleaved.
  struct Search {
    double search_ns = 0;  ///< each, its way down to the first leaf included
    double leaf_ns = 0;    ///< each leaf that is scanned
    double result_ns = 0;  ///< each entry found
  };
  Search search;
  Search interleaved;
  struct Writer {
    double operation_ns = 0;  ///< an insert
    double publish_ns = 0;    ///< a version
  } writer;
  struct Client {
    double request_ns = 0;  ///< a search message out and its answer in, without the transport
    double result_ns = 0;   ///< each result in the answer, beside that
  } client;
  Search offload;  ///< a search by one-sided reads, inner nodes cached
  struct Tcp {
    double send_ns = 0;
    double receive_ns = 0;
    double byte_ns = 0;
  } tcp;
  /// A look-up in a B+tree of 100 million keys, 16 to a node, as XStore's server holds.
  struct BTree {
    double lookup_ns = 0;
    double node_ns = 0;  ///< a search in one node that is near at hand
  } btree;
};

/// kNotFound or kIo (cannot be read), kProtocol (not TOML), kInvalidArgument (see above).
Result<PlanModel> read_model(const std::string& path);
Result<PlanCosts> read_costs(const std::string& path);
/// The same of a text; errors say that it is from `source`.
Result<PlanModel> parse_model(std::string_view text, const std::string& source);
Result<PlanCosts> parse_costs(std::string_view text, const std::string& source);

/// As parse_costs() reads them back.
std::string costs_toml(const PlanCosts& costs, const std::string& command);

}  // namespace silurus::bench
