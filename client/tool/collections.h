// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <string>
#include <vector>

#include "client/tool/arguments.h"
#include "client/tool/help.h"
#include "common/flags.h"
#include "common/result.h"
#include "silurus/client.h"

// The commands that list and change a server's collections.

namespace silurus::tool {

std::vector<CommandTable> collection_commands();

/// The command of that name; nothing: it is none of these.
Result<std::optional<Command>> parse_collections(const CommandTable& command,
                                                 std::span<const std::string> words,
                                                 const flags::Values& values);

/// {"collections": [...]}, as the server sends it, in that format.
std::string format_collections(const std::string& json, Format format);

template <int D>
Result<std::string> create_collection(Client<D>& client, const CreateCommand& command,
                                      Format format);
template <int D>
Result<std::string> change_collection(Client<D>& client, const ChangeCommand& command,
                                      Format format);

}  // namespace silurus::tool
