// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include "datasets/bytes.h"
#include "datasets/source.h"
#include "readers/request.h"

namespace silurus::datasets {

/// A program that reads foreign formats, and the Debian package that it is in.
struct Helper {
  const char* name;
  const char* package = "silurus-readers";
};

/// Has a helper program read a file, and hands on what it reads (readers/serve.h;
/// docs/decisions/0030). A crash, an endless loop or a heap gone wrong ends that process, and
/// becomes a kProtocol error that names the file. The process ends with the source. It is given no
/// descriptor but a pipe for its boxes and one for what it prints, which ends up in the error.
///
/// The program is looked for in the folder that $SILURUS_LIBEXEC names; without this variable in
/// ../libexec/silurus beside the folder of the running program, and where Silurus was configured to
/// be installed. kUnsupported says that it is not there or does not start, and what to install.
template <int D>
Result<std::unique_ptr<Source<D>>> open_with_helper(const Helper& helper, readers::Request request);

/// The same for a program that unpacks `file` (readers::serve_bytes()): hands on its bytes.
Result<std::unique_ptr<Bytes>> unpack_with_helper(const Helper& helper, const std::string& file);

}  // namespace silurus::datasets
