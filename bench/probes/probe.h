#pragma once

#include <string>

#include "common/result.h"
#include "transport/fabric.h"

// What the contract assumes of an RDMA card (transport/CONTRACT.md), tried on this host's.

namespace silurus::bench {

/// A name, what it is that is assumed, and how it went: an error says what was seen instead.
struct Probe {
  const char* name;
  const char* assumption;
  Status (*run)(transport::Fabric& fabric, const std::string& host);
};

Status probe_words(transport::Fabric& fabric, const std::string& host);
Status probe_order(transport::Fabric& fabric, const std::string& host);
Status probe_messages(transport::Fabric& fabric, const std::string& host);
Status probe_mailbox(transport::Fabric& fabric, const std::string& host);
Status probe_rights(transport::Fabric& fabric, const std::string& host);

}  // namespace silurus::bench
