// SPDX-License-Identifier: Apache-2.0

#include "access/key.h"
#include "fuzz/target.h"

// The file of a key.

namespace silurus::fuzz {

void try_input(std::span<const std::byte> bytes) {
  const auto key = access::Key::parse(as_text(bytes), "key");
  if (!key) {
    SILURUS_CHECK(key.error().code == ErrorCode::kInvalidArgument);
    SILURUS_CHECK(key.error().message == printable(key.error().message));
    return;
  }
  const auto again = access::Key::parse(key->text(), "key");
  SILURUS_CHECK(again && again->label() == key->label());
}

std::vector<std::string> seeds() {
  const std::string secret(64, '7');
  return {"silurus-key alice " + secret + "\n", "# comment\n\n\tsilurus-key a.b-c_d " + secret};
}

}  // namespace silurus::fuzz
