// SPDX-License-Identifier: Apache-2.0

#include "client/tool/key.h"

#include <cstdio>
#include <filesystem>

#include "access/key.h"

namespace silurus::tool {

Result<std::string> make_key(const KeyCommand& command) {
  const auto key = access::Key::make(command.name);
  if (!key) return fail(key.error());
  const std::string path = std::filesystem::absolute(command.file).lexically_normal().string();
  if (auto ok = key->write(path); !ok) return fail(ok.error());
  std::fprintf(stderr,
               "made %s, which clients name by SILURUS_KEY or ?key= in a URL; for a server of "
               "another host, copy it there (mode 0600)\n",
               path.c_str());
  return "[[principal]]\nkey = \"" + path + "\"\nrole = \"" + command.role + "\"\n";
}

}  // namespace silurus::tool
