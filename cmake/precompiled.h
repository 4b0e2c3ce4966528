// SPDX-License-Identifier: Apache-2.0

// What most translation units include, compiled once (cmake/silurus.cmake). Only headers of the
// standard library and of Debian's packages: a change in one of ours must not compile everything
// anew. Every file still includes what it uses.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <tl/expected.hpp>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>
