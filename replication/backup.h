// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "common/result.h"
#include "replication/collections.h"
#include "replication/data_directory.h"
#include "replication/record.h"
#include "rtree/tree.h"

namespace silurus::replication {

/// Writes a data directory with one version of all collections: a consistent copy, taken while they
/// go on changing, that a server starts from. It is made beside `path` and gets its name when it is
/// whole, so a backup that was cut short is none (it leaves `path`.partial). kConflict if there is
/// something at `path` already; kNoSpace if its disk has too little room. `stamp`: not before the
/// version's. Set-up only; `held` holds the version meanwhile.
template <int D>
Status write_backup(const std::string& path, const rtree::Tree<D>& tree,
                    const typename Collections<D>::Held& held, Stamp stamp,
                    const DirectoryOptions& options, const std::stop_token& cancel = {});

}  // namespace silurus::replication
