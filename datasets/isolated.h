#pragma once

#include <functional>
#include <memory>
#include <string>

#include "datasets/source.h"

namespace silurus::datasets {

/// Runs a reader in a child process of its own and hands on what it reads, for libraries that crash
/// on damaged files (docs/decisions/0030): a crash, an endless loop or a heap gone wrong ends that
/// process, and becomes a kProtocol error that names the file. `open` runs in the child; what it
/// and its source return arrives here unchanged. The child ends with the source.
template <int D>
Result<std::unique_ptr<Source<D>>> isolate(
    const std::string& name, const std::function<Result<std::unique_ptr<Source<D>>>()>& open);

}  // namespace silurus::datasets
