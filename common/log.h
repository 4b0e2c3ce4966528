// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

namespace silurus::log {

/// Lines for the operator, to stderr: set-up, connections, refusals, shutdown. Never on the data
/// path (routine outcomes are counters). Thread-safe. The first place that decides that something
/// failed logs it or returns an Error, never both.
enum class Level { kDebug, kInfo, kWarning, kError, kOff };

/// Text: "2026-11-30T11:22:33.456Z info message". JSON: an object a line, with "time" (as there),
/// "level" and "message". Times are UTC.
enum class Format { kText, kJson };

void set_level(Level level);
void set_format(Format format);
void debug(std::string_view message);
void info(std::string_view message);
void warning(std::string_view message);
void error(std::string_view message);

/// The message as the inside of a JSON string: quotes, backslashes and control characters escaped,
/// bytes that are no UTF-8 replaced.
std::string escaped(std::string_view message);

}  // namespace silurus::log
