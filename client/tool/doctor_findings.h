// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/tool/doctor_facts.h"

// What follows from the facts: pure functions, facts in, findings out.

namespace silurus::tool::doctor {

enum class Verdict : std::uint8_t {
  kOk,
  kWarning,        ///< it works, but more slowly or with a risk
  kError,          ///< something that was asked for does not work
  kNotApplicable,  ///< the machine has no such thing, and needs none
};

/// One check.
struct Finding {
  std::string name;  ///< "huge-pages-shared", "port rxe0/1"
  Verdict verdict = Verdict::kOk;
  std::string found;
  std::string advice;  ///< the exact command or option; empty if there is nothing to do
};
using Findings = std::vector<Finding>;

/// Kernel, memory, limits, huge pages, CPUs. `rdma` decides what matters: without a card no memory
/// is locked.
Findings advise_machine(const MachineFacts& machine, const RdmaFacts& rdma);
/// Cards, their ports, GIDs and MTU.
Findings advise_rdma(const RdmaFacts& rdma);
Findings advise_persistent_memory(const PersistentMemoryFacts& memory);
Finding advise_socket(const SocketFacts& socket);

/// How many findings are errors.
std::size_t count_errors(const Findings& findings);

}  // namespace silurus::tool::doctor
