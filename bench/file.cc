// SPDX-License-Identifier: Apache-2.0

#include "bench/file.h"

#include <cerrno>
#include <fstream>

namespace silurus::bench {

Result<std::string> read_file(const std::string& path, std::size_t most) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(errno_error(ErrorCode::kNotFound, "cannot open " + path, errno));
  std::string text(most + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return fail(errno_error(ErrorCode::kIo, "cannot read " + path, errno));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > most) {
    return fail(ErrorCode::kTooLarge, path + ": over " + std::to_string(most) + " bytes");
  }
  return text;
}

}  // namespace silurus::bench
