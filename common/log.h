#pragma once

#include <string_view>

namespace silurus::log {

/// Lines for the operator, to stderr: set-up, connections, refusals, shutdown. Never on the data
/// path (routine outcomes are counters). Thread-safe. The first place that decides that something
/// failed logs it or returns an Error, never both.
enum class Level { kDebug, kInfo, kWarning, kError, kOff };

void set_level(Level level);
void debug(std::string_view message);
void info(std::string_view message);
void warning(std::string_view message);
void error(std::string_view message);

}  // namespace silurus::log
