// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <optional>
#include <string>

#include "common/result.h"
#include "replication/group/view.h"

// What a member of a static group keeps of its views in its data directory, and what it makes of
// what the others say (docs/decisions/0120).

namespace silurus::replication::group {

/// Makes it durable, in the place of what was there, as a whole or not at all.
using SavePersistedView = std::function<Status(const PersistedView&)>;

/// The file of that name in a member's data directory.
constexpr const char* kPersistedViewName = "member.view";

/// Nothing if there is no such file. kProtocol, and what to do, if its content is not what was
/// written.
Result<std::optional<PersistedView>> read_persisted_view(const std::string& path);
Status write_persisted_view(const std::string& path, const PersistedView& kept);

/// Whether a member that knows of one view may go on with another, of which it is told by the
/// member that leads. Else kConflict, and what to do: what the member has would be lost in that
/// group.
Status may_follow(const PersistedView& known, const PersistedView& told);

/// Whether a member may take the place of the one that led the last view that it knows of. Else
/// kConflict says what it may lack.
Status may_take_over(const PersistedView& known, MemberId self);

}  // namespace silurus::replication::group
